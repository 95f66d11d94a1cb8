"""The simulated robot moves only through its guard."""

import numpy as np
import pytest

from robot_agent.sim.robot import SimRobot
from robot_agent.sim.scenes import HOME


@pytest.fixture(scope="module")
def robot():
    return SimRobot(HOME)


def test_what_is_sent_is_bounded_whatever_is_asked(robot):
    robot.reset(0)
    before = robot.world.tool_m
    sent = robot.execute(np.array([5.0, 0, 0, 0, 0, 0, 1.0]))
    assert np.abs(sent[:3]).max() <= 0.05 + 1e-9
    assert np.linalg.norm(robot.world.tool_m - before) < 0.06


def test_an_action_that_is_not_finite_holds_the_arm(robot):
    robot.reset(0)
    before = robot.world.joints_rad
    sent = robot.execute(np.full(7, np.nan))
    assert np.array_equal(sent[:6], np.zeros(6))
    assert np.abs(robot.world.joints_rad - before).max() < 2e-3


def test_a_step_moves_the_tool_by_about_what_was_sent(robot):
    robot.reset(0)
    before = robot.state()
    for _ in range(3):
        sent = robot.execute(np.array([0.02, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]))
        assert sent[0] == pytest.approx(0.02, abs=1e-6)
    assert robot.state()[0] - before[0] == pytest.approx(0.06, abs=0.012)


def test_the_state_is_bridges_own(robot):
    robot.reset(4)
    state = robot.state()
    assert state[:3] == pytest.approx(robot.world.tool_m, abs=1e-6)
    assert np.abs(state[3:6]).max() < 0.02, "starts pointing down, which is zero"
    assert state[6] == pytest.approx(1.0, abs=0.05)
