"""Late policies in virtual time: who starves, and that no latency is the ordinary trial."""

import numpy as np
import pytest

from robot_agent.act.execution import MODES, ExecutionConfig
from robot_agent.core.types import Chunk, Observation
from robot_agent.evaluate.late import LatencyConfig, run_late_trial, starvation
from robot_agent.evaluate.late_table import LateConfig, starved_ticks, successes
from robot_agent.evaluate.trials import run_trial
from robot_agent.sim.robot import SimRobot
from robot_agent.sim.scenes import HOME

PUBLISHED = LatencyConfig(median_s=0.3, sigma=0.5)


class Playing:
    """Actions drawn from a picture's own noise and the seed: every step of a trial shows."""

    version = "playing"

    def reset(self, instruction: str, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def act(self, observation: Observation) -> Chunk:
        actions = np.zeros((5, 7))
        actions[:, :3] = self._rng.uniform(-0.02, 0.02, (5, 3)) + observation.joints_rad[:3] * 0.01
        return Chunk(actions, self.version, 1, observation.stamp_ns)


@pytest.mark.parametrize("mode", MODES[1:])
def test_modes_that_infer_beside_the_tick_starve_under_one_percent(mode: str) -> None:
    counted = starvation(ExecutionConfig(mode=mode), PUBLISHED, chunk=8, steps=2_000, seed=0)
    assert counted.share < 0.01
    assert counted.dropped > 300, "what came too late was dropped"


def test_a_known_latency_is_begun_for_in_time_and_no_earlier() -> None:
    """0.3 s is two steps: nothing starves, and a chunk is executed to its last action but one."""
    known = LatencyConfig(median_s=0.3, sigma=0.0)
    chosen, eager = (
        starvation(
            ExecutionConfig(mode="asynchronous", refill=refill), known, chunk=8, steps=600, seed=0
        )
        for refill in (0, 8)
    )
    assert (chosen.starved, eager.starved) == (0, 0)
    assert chosen.dropped < 0.5 * eager.dropped, "fewer chunks, so fewer late beginnings of them"


def test_pictures_are_looked_at_as_often_as_the_robots_loop_looks() -> None:
    """An inference of 0.3 s that begins whenever the last has ended begins every 0.3 s."""
    known = LatencyConfig(median_s=0.3, sigma=0.0)
    execution = ExecutionConfig(mode="asynchronous", refill=8)
    counted = starvation(execution, known, chunk=8, steps=600, seed=0)
    assert 1.2 < counted.dropped / 600 < 1.7, "asked on the grid alone it would drop one a step"


@pytest.mark.parametrize("horizon", [1, 2])
def test_a_synchronous_policy_that_looks_as_often_starves_more_than_half(horizon: int) -> None:
    execution = ExecutionConfig(horizon=horizon)
    assert starvation(execution, PUBLISHED, chunk=8, steps=2_000, seed=0).share > 0.5


def test_without_latency_nothing_starves() -> None:
    for mode in MODES:
        counted = starvation(
            ExecutionConfig(mode=mode), LatencyConfig(median_s=0.0), chunk=5, steps=500, seed=0
        )
        assert (counted.ticks, counted.starved) == (500, 0)


def test_synchronous_without_latency_is_the_ordinary_trial() -> None:
    robot = SimRobot(HOME)
    ordinary = run_trial(robot, Playing(), HOME, "open the drawer", 11)
    pose = robot.state()
    late = run_late_trial(
        robot,
        Playing(),
        HOME,
        "open the drawer",
        11,
        execution=ExecutionConfig(),
        latency=LatencyConfig(median_s=0.0),
    )
    assert (late.trial.success, late.trial.steps) == (ordinary.success, ordinary.steps)
    assert np.array_equal(robot.state(), pose)
    assert late.starved == 0
    robot.world.close()


def test_a_late_arm_holds_still_and_takes_longer() -> None:
    robot = SimRobot(HOME)
    late = run_late_trial(
        robot,
        Playing(),
        HOME,
        "open the drawer",
        11,
        execution=ExecutionConfig(),
        latency=LatencyConfig(median_s=0.5, sigma=0.0),
    )
    chunks = -(-late.trial.steps // 5)
    assert late.starved == 3 * (chunks - 1), "0.5 s is three ticks of holding before a chunk"
    robot.world.close()


def test_the_table_has_every_cell_and_compares_the_same_starts() -> None:
    config = LateConfig(
        modes=("synchronous", "asynchronous"), latencies_ms=(300,), trials=2, steps=200
    )
    starved = starved_ticks(config)
    assert set(starved) == {"5", "8"}
    assert set(starved["8"]["300"]) == {
        "synchronous, looks every 1",
        "synchronous, looks every 2",
        "synchronous",
        "asynchronous",
    }
    cells: list[str] = []
    found = successes(config, load_playing, on_cell=cells.append)
    assert len(cells) == 3
    assert set(found) == {"synchronous", "asynchronous"}
    assert found["synchronous"]["0"]["against_undelayed"]["difference"] == 0.0
    assert found["asynchronous"]["300"]["trials"] == 2


def load_playing(name: str) -> Playing:
    del name
    return Playing()
