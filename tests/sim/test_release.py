"""A7: somebody is caught; the arm backs off on a local command only, slowly and a little."""

import numpy as np
import pytest

from robot_agent.core import wx250s
from tests.guard import checker
from tests.sim.emulated_robot import EmulatedRobot

SIDE = (0.0, 0.012, 0.0)


def _way_m(before_rad: np.ndarray, after_rad: np.ndarray) -> float:
    points = checker.points(np.stack([before_rad, after_rad]))
    return max(float(np.linalg.norm(rows[1] - rows[0])) for rows in points.values())


@pytest.fixture
def caught() -> EmulatedRobot:
    """An arm that pushed its side against something and stopped."""
    robot = EmulatedRobot()
    robot.to((0.26, 0.0, 0.2))
    robot.inject("waist", "wall", 0.02)
    robot.action[:3] = SIDE
    robot.run(2.0)
    assert robot.state.latched == ("contact",)
    robot.arm.walls["waist"] = (-np.inf, robot.arm.walls["waist"][1])  # on one side only
    robot.listen()
    return robot


def test_nothing_moves_before_a_person_asks(caught):
    before_rad = caught.arm.joints_rad.copy()
    caught.run(1.0)
    assert _way_m(before_rad, caught.arm.joints_rad) < 1e-3


def test_the_arm_goes_back_the_way_it_came_at_most_20_mm_at_50_mm_a_second(caught):
    before_rad, seen = caught.arm.joints_rad.copy(), []
    caught.asks_for_release = True
    for _ in range(300):
        caught.run(0.01)
        seen.append(_way_m(before_rad, caught.arm.joints_rad))
    assert 0.015 < seen[-1] <= max(seen) <= 0.020
    assert caught.arm.joints_rad[0] < before_rad[0] - 0.04, "away from the wall"
    assert caught.peak_mps <= 0.050
    assert caught.state.latched == ("contact",), "a release is no reset"
    assert caught.command.gripper_pwm >= 0.0


def test_it_stops_when_the_person_lets_go_and_goes_on_when_asked_again(caught):
    before_rad = caught.arm.joints_rad.copy()
    caught.asks_for_release = True
    caught.run(0.3)
    caught.asks_for_release = False
    caught.run(0.5)
    part_rad = caught.arm.joints_rad.copy()
    caught.run(0.5)
    assert 0.002 < _way_m(before_rad, part_rad) < 0.016
    assert _way_m(part_rad, caught.arm.joints_rad) < 1e-4
    caught.asks_for_release = True
    caught.run(3.0)
    assert _way_m(before_rad, caught.arm.joints_rad) <= 0.020


def test_an_arm_that_is_held_from_the_other_side_too_does_not_push_there(caught):
    wall = float(caught.arm.joints_rad[0])
    caught.arm.walls["waist"] = (wall - 0.002, wall + 0.002)
    caught.asks_for_release = True
    caught.run(3.0)
    assert _way_m(caught.arm.joints_rad, caught.state.joint_target) <= 0.008
    assert abs(caught.arm.efforts()[0]) < 300.0


@pytest.mark.parametrize("fault", [("elbow", "shock"), ("bus", "off"), ("wrist_angle", "limp")])
def test_an_arm_that_cannot_be_trusted_stays(caught, fault):
    caught.inject(*fault)
    caught.run(1.0)
    held_rad = caught.state.joint_target.copy()
    caught.asks_for_release = True
    caught.run(1.0)
    assert (caught.state.joint_target == held_rad).all()


def test_after_the_reset_the_way_back_is_used_up_and_a_new_contact_brings_a_new_one(caught):
    caught.asks_for_release = True
    caught.run(2.0)
    caught.asks_for_release = False
    caught.action[:] = [0.0] * 6 + [1.0]
    caught.run(0.1, reset="contact")
    assert caught.state.latched == ()
    assert caught.state.retreat is None
    caught.action[:3] = SIDE
    caught.run(3.0)
    assert caught.state.latched == ("contact",)
    before_rad = caught.arm.joints_rad.copy()
    caught.asks_for_release = True
    caught.run(1.0)
    assert _way_m(before_rad, caught.arm.joints_rad) > 0.01


def test_a_stop_that_somebody_asked_for_without_contact_gives_no_way_back():
    robot = EmulatedRobot()
    robot.to((0.26, 0.0, 0.2))
    robot.faults.inject("supply", "wrong", 9.0, 0)
    robot.run(1.0)
    assert robot.state.latched == ("brown_out",)
    robot.asks_for_release = True
    held_rad = robot.state.joint_target.copy()
    robot.run(1.0)
    assert (robot.state.joint_target == held_rad).all()
    assert np.abs(held_rad).max() < wx250s.JOINT_UPPER_RAD.max()
