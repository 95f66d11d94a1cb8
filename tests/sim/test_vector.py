"""Robots in processes do what they do alone, and a death is reported."""

import numpy as np
import pytest

from robot_agent.core.errors import InputError, SimulationError
from robot_agent.sim.bench import bench_sim
from robot_agent.sim.household import scene_named
from robot_agent.sim.robot import SimRobot
from robot_agent.sim.scenes import HOME, NOVEL
from robot_agent.sim.vector import VectorSim

SCENES = [HOME, NOVEL["kitchen"], scene_named("farmhouse@real")]
SEEDS = [5, 6, 7]


@pytest.fixture(scope="module")
def sim():
    with VectorSim(3, processes=2, size_px=64) as made:
        yield made


def test_each_robot_does_what_it_does_alone(sim):
    rng = np.random.default_rng(0)
    actions = rng.uniform(-0.02, 0.02, (6, 3, 7))
    start = sim.reset(SCENES, ["open", "close", "open"], SEEDS)
    assert not start.sent.any()
    moments = [start, *(sim.step(action) for action in actions)]
    for index, (scene, seed) in enumerate(zip(SCENES, SEEDS, strict=True)):
        robot = SimRobot(scene)
        robot.reset(seed, "open", scene)
        for moment, action in zip(moments, [None, *actions], strict=True):
            if action is not None:
                assert np.array_equal(robot.execute(action[index]), moment.sent[index])
            assert np.array_equal(robot.state(), moment.states[index])
            assert np.array_equal(robot.world.render(64, 64), moment.images[index])
        robot.world.close()
    assert not np.array_equal(moments[0].images, moments[-1].images), "an old moment was changed"


def test_success_is_of_each_robots_own_task(sim):
    wide = [scene_named("home")] * 3
    found = sim.reset(wide, ["open", "close", "open"], SEEDS)
    assert found.successes.tolist() == [0.0, 0.0, 0.0]
    assert found.successes.shape == (3,)


def test_wrong_numbers_are_told(sim):
    with pytest.raises(InputError, match=r"actions have shape \(2, 7\), must be \(3, 7\)"):
        sim.step(np.zeros((2, 7)))
    with pytest.raises(InputError, match="2 seeds for 3 robots: must be one of each"):
        sim.reset(SCENES, ["open"] * 3, [1, 2])
    with pytest.raises(InputError, match="4 processes for 3 robots: must be from 1 to 3"):
        VectorSim(3, processes=4)


def test_a_scene_that_is_refused_leaves_the_processes_alive(sim):
    with pytest.raises(SimulationError, match="task 'open' is of no use in cell 'sink'"):
        sim.reset([*SCENES[:2], scene_named("cafe_sink")], ["open"] * 3, SEEDS)
    assert sim.reset(SCENES, ["open"] * 3, SEEDS).images.any()


def test_a_dead_process_is_reported():
    with VectorSim(1, processes=1, size_px=32) as lonely:
        lonely._workers[0][1].kill()
        with pytest.raises(SimulationError, match="a simulating process does not answer"):
            lonely.reset([HOME], ["open"], [0])


def test_the_benchmark_counts_steps_of_both_runners():
    heard = []
    found = bench_sim(HOME, seconds=0.1, processes=1, robots=2, on_result=heard.append)
    assert heard == ["one process", "1 processes"]
    for name in ("one_process", "vector"):
        assert found[name]["steps"] >= 2
        speed = found[name]["steps_per_s"]
        assert found[name]["times_real_time"] == pytest.approx(speed * 0.2)
    assert set(found["one_process"]["ms"]) == {"guard_and_physics", "picture"}


def test_robots_that_are_left_out_of_a_step_stay_as_they_are(sim):
    start = sim.reset(SCENES, ["open", "close", "open"], SEEDS)
    down = np.tile([0.0, 0.0, -0.02, 0.0, 0.0, 0.0, 1.0], (3, 1))
    moved = sim.step(down, [1])
    same = [np.array_equal(moved.images[i], start.images[i]) for i in range(3)]
    assert same == [True, False, True]
    assert np.array_equal(moved.states[[0, 2]], start.states[[0, 2]])
    table, drawer = moved.progress[:2], moved.progress[2]
    assert ((table > 0.2) & (table < 0.8)).all(), "table drawers start half open"
    assert drawer < 0.05, "the twin's is opened from where it is closed"
