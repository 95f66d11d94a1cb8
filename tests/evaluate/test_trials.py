"""One simulated trial: what the guard did is counted, and a latched stop is an abort."""

import numpy as np
import pytest

from robot_agent.core.types import Chunk
from robot_agent.evaluate.trials import run_trial
from robot_agent.sim.play import hand_for
from robot_agent.sim.robot import SimRobot
from robot_agent.sim.scenes import CELL_SCENES, HOME
from robot_agent.sim.tasks import OPEN as OPEN_TWIN

OPEN = "open the drawer"


class OneAction:
    """Sends the same number along x for ever."""

    version = "one"

    def __init__(self, value):
        self._value = value

    def reset(self, instruction, seed):
        pass

    def act(self, observation):
        actions = np.zeros((5, 7))
        actions[:, 0], actions[:, 6] = self._value, 1.0
        return Chunk(actions, self.version, 1, observation.stamp_ns)


@pytest.fixture(scope="module")
def robot():
    made = SimRobot(HOME)
    yield made
    made.world.close()


def test_a_stop_that_the_guard_latches_ends_the_trial_as_an_abort(robot):
    trial = run_trial(robot, OneAction(float("nan")), HOME, OPEN, 50_000, max_steps=20)
    assert trial.outcome == "abort"
    assert trial.reason == ", ".join(robot.guard.state.latched) != ""
    assert trial.steps < 20
    after = run_trial(robot, OneAction(0.0), HOME, OPEN, 50_000, max_steps=3)
    assert (after.outcome, after.reason, after.steps) == ("failure", "", 3)


def test_steps_that_the_guard_changed_are_safety_events(robot):
    calm = run_trial(robot, OneAction(0.005), HOME, OPEN, 50_000, max_steps=3)
    hasty = run_trial(robot, OneAction(0.09), HOME, OPEN, 50_000, max_steps=3)
    assert (calm.safety_events, calm.outcome) == (0, "failure")
    assert hasty.safety_events == 3


class Scripted:
    """The scripted hand as a policy; it looks at the simulator's state, one action at a time."""

    version = "scripted"

    def __init__(self, robot, scene, task, seed):
        rng = np.random.default_rng(seed)
        self._hand, self._robot = hand_for(scene.varied(rng), task, rng), robot

    def reset(self, instruction, seed):
        pass

    def act(self, observation):
        action = self._hand.act(self._robot.world.truth)
        return Chunk(action[None], self.version, 1, observation.stamp_ns)


def test_a_trial_of_the_twin_goes_on_after_success_and_its_last_moment_counts():
    scene, task, seed = CELL_SCENES["drawer"], OPEN_TWIN, 2_000_001
    robot = SimRobot(scene)
    hand = Scripted(robot, scene, task, seed)
    executed = []
    trial = run_trial(robot, hand, scene, OPEN, seed, on_step=executed.append)
    assert trial.outcome == "success"
    assert len(executed) == task.max_steps
    assert 5 < trial.steps < task.max_steps, "steps until success came to stay"
    early = run_trial(robot, hand, scene, OPEN, seed, max_steps=2)
    assert (early.outcome, early.steps) == ("failure", 2)
    robot.world.close()
