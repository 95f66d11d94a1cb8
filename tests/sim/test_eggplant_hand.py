"""The hand at the sink: it grasps by friction, tries again after a drop, and misses on purpose."""

import numpy as np
import pytest

from robot_agent.sim.attempt import attempt
from robot_agent.sim.demonstrator import Style
from robot_agent.sim.eggplant_hand import EggplantHand, is_held
from robot_agent.sim.robot import SimRobot
from robot_agent.sim.scenes import CELL_SCENES
from robot_agent.sim.tasks import TO_BASKET, TO_SINK, TWIN, is_inside

SEED = 3_100_000


@pytest.fixture(scope="module")
def robot():
    made = SimRobot(CELL_SCENES["sink"])
    yield made
    made.world.close()


def lift(robot, seed, style):
    """Run a clean hand until the eggplant is 3 cm up; return the hand."""
    robot.reset(seed, "to_basket")
    start_m = robot.world.truth.object_m[2]
    hand = EggplantHand(TO_BASKET, style)
    for _ in range(40):
        robot.execute(hand.act(robot.world.truth))
        if robot.world.truth.object_m[2] > start_m + 0.03:
            return hand
    raise AssertionError("never lifted")


def test_a_held_eggplant_neither_slips_nor_shakes(robot):
    lift(robot, SEED, Style())
    hold = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    robot.execute(hold)
    robot.execute(hold)
    before = robot.world.truth
    for _ in range(25):
        robot.execute(hold)
    after = robot.world.truth
    in_hand = [t.T_base_tool[:3, :3].T @ (t.object_m - t.tool_m) for t in (before, after)]
    assert np.linalg.norm(in_hand[1] - in_hand[0]) < 0.003, "slips in 5 s"
    assert after.object_speed_mps < 0.005
    assert is_held(after)


def test_open_fingers_let_go(robot):
    lift(robot, SEED + 1, Style())
    robot.execute(np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]))
    robot.execute(np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]))
    truth = robot.world.truth
    assert not is_held(truth)
    assert is_inside(truth, "sink"), "falls back where it was"


def test_after_a_drop_the_hand_tries_again(robot):
    hand = lift(robot, SEED + 2, Style())
    robot.execute(np.array([0.0, 0.0, 0.01, 0.0, 0.0, 0.0, 1.0]))
    assert not is_held(robot.world.truth)
    for _ in range(60):
        robot.execute(hand.act(robot.world.truth))
    assert TO_BASKET.is_solved(robot.world.truth)


@pytest.mark.parametrize("aim_m", [(0.0, 0.06, 0.0), (0.0, 0.0, 0.05)], ids=["beside", "above"])
def test_a_hand_that_aims_wrong_closes_on_nothing(robot, aim_m):
    robot.reset(SEED + 3, "to_sink")
    start_m = robot.world.truth.object_m
    hand = EggplantHand(TO_SINK, Style(aim_m=aim_m))
    closed = 0
    for _ in range(40):
        robot.execute(hand.act(robot.world.truth))
        closed += robot.world.truth.finger_m < 0.0165
        assert not is_held(robot.world.truth)
    assert closed >= 1
    assert robot.world.truth.object_m[2] < start_m[2] + 0.01


@pytest.mark.slow
@pytest.mark.parametrize("task", TWIN, ids=lambda task: task.name)
def test_demonstrators_solve_their_tasks(task):
    own = SimRobot(CELL_SCENES[task.cell])
    found = [attempt(own, CELL_SCENES[task.cell], task, SEED + index) for index in range(8)]
    own.world.close()
    assert sum(one.is_success for one in found) >= 7
    assert len({one.first_step for one in found}) > 2, "every episode is the same"
