"""Every failure of the arm that software can see, in virtual time: the reaction, and when exactly.

The letters are those of the catalogue of failures. `tests/ros/test_arm_failures.py` shows the same
over DDS in real processes, where a busy machine adds its own delays.
"""

import numpy as np
import pytest

from robot_agent.core import wx250s
from robot_agent.core.errors import ArmFaultError
from robot_agent.guard.limits import GuardConfig, at_most_its_speed
from robot_agent.ros import arm_setup
from tests.sim.emulated_robot import ON_ARM, EmulatedRobot

WORK_M = (0.26, 0.0, 0.2)
TICK_S = 0.02
SIDE = (0.0, 0.012, 0.0)
CASES = [
    # row, component, kind, argument, cause, within [s], action while it happens
    ("A1", "elbow", "overload", 0.0, "motor_error", 1.5, None),
    ("A1", "elbow", "encoder", 0.0, "motor_error", 1.5, None),
    ("A1", "waist", "shock", 0.0, "motor_error", 1.5, None),
    ("A1", "wrist_rotate", "overheat", 0.0, "motor_error", 1.5, None),
    ("A1", "gripper", "brownout", 0.0, "motor_error", 1.5, None),
    ("A1", "shoulder_shadow", "overheat", 0.0, "motor_error", 1.5, None),
    ("A1", "wrist_rotate", "off", 0.0, "motor_missing", 1.5, None),
    ("A1", "elbow_shadow", "off", 0.0, "motor_missing", 1.5, None),
    ("A2", "elbow", "heat", 66.0, "motor_warm", 1.5, None),
    ("A2", "gripper", "heat", 68.0, "overheated", 1.5, None),
    ("A6", "waist", "wall", 0.02, "contact", 1.5, SIDE),
    ("A6", "waist", "stuck", 0.0, "contact", 1.5, SIDE),
    ("A8", "bus", "off", 0.0, "bad_joint_states", 0.06, None),
    ("A8", "bus", "disconnect", 0.0, "bad_joint_states", 0.06, None),
    ("A8", "bus", "garbage", 0.0, "bad_joint_states", 0.06, None),
    ("A8", "bus", "wrong", 0.0, "bad_joint_states", 2 * TICK_S, None),
    ("A8", "bus", "stuck", 0.0, "stale_joint_states", 1.5, SIDE),
    ("A9", "driver", "off", 0.0, "driver_silent", 0.25 + TICK_S, None),
    ("A11", "gripper", "stuck", 0.0, "gripper_overload", 2.0, "close"),
    ("A13", "supply", "wrong", 10.2, "low_voltage", 1.5, None),
    ("A13", "supply", "wrong", 9.8, "brown_out", 1.5, None),
    ("A14", "forearm_roll", "wrong", 0.5, "bad_joint_states", 2 * TICK_S, None),
    ("A16", "wrist_angle", "limp", 0.0, "torque_lost", 1.5, None),
]


@pytest.fixture
def robot() -> EmulatedRobot:
    robot = EmulatedRobot()
    robot.to(WORK_M)
    assert robot.state.latched == ()
    assert robot.state.mode == "active"
    robot.listen()
    return robot


@pytest.mark.parametrize(
    ("row", "component", "kind", "argument", "cause", "within_s", "action"),
    CASES,
    ids=[f"{case[0]}-{case[1]}-{case[2]}" for case in CASES],
)
def test_a_failure_gives_its_reaction_in_time(
    robot, row, component, kind, argument, cause, within_s, action
):
    if action == "close":
        robot.action[6] = 0.0
    elif action is not None:
        robot.action[:3] = action
    robot.inject(component, kind, argument)
    began_s = robot.now_s
    robot.run(within_s + 0.01)
    assert cause in robot.heard, robot.heard
    assert robot.heard[cause] - began_s <= within_s + 1e-9
    if robot.state.latched:
        held = robot.state.joint_target
        robot.run(1.0)
        assert (robot.state.joint_target == held).all()


@pytest.mark.parametrize(
    ("component", "kind", "argument"),
    [("bus", "intermittent", 4.0), ("bus", "delayed", 0.03), ("bus", "slow", 0.1)],
)
def test_what_is_only_untidy_stops_nothing(robot, component, kind, argument):
    robot.inject(component, kind, argument)
    robot.action[:3] = SIDE
    robot.run(2.0)
    assert robot.state.latched == ()


def test_a_second_jam_of_the_gripper_stops_and_a_person_ends_it(robot):
    robot.inject("gripper", "stuck")
    robot.action[6] = 0.0
    robot.run(2.0)
    assert robot.state.latched == ()
    assert robot.command.gripper_pwm == 0.0
    robot.action[6] = 1.0
    robot.run(0.2)
    robot.action[6] = 0.2
    robot.run(2.0)
    assert robot.state.latched == ("gripper_jam",)
    robot.inject("gripper", "ok")
    robot.run(0.2, reset="gripper_jam")
    assert robot.state.latched == ()


def test_a_held_object_is_held_without_overload_and_its_loss_is_told(robot):
    robot.inject("object", "wrong", 0.022)
    robot.action[6] = 0.0
    robot.run(20.0)
    assert robot.heard == {}
    assert robot.command.gripper_pwm == -ON_ARM.grip_pwm
    assert robot.servos.value("gripper", "Hardware_Error_Status") == 0
    robot.inject("object", "ok")
    robot.run(0.5)
    assert "object_dropped" in robot.heard


def test_contact_is_relaxed_and_the_push_is_bounded(robot):
    """A6: the target goes to where the arm is; what it pushed with before is bounded."""
    robot.inject("waist", "wall", 0.02)
    robot.action[:3] = SIDE
    push_ma_s = 0.0
    for _ in range(150):
        robot.run(0.01)
        push_ma_s += abs(robot.arm.efforts()[0]) * 0.01
    assert "contact" in robot.state.latched
    assert push_ma_s < 700.0
    robot.run(0.5)
    assert abs(robot.arm.efforts()[0]) < 100.0
    robot.inject("waist", "ok")
    robot.run(0.1, reset="contact")
    assert robot.state.latched == ()


@pytest.mark.parametrize("reach_m", [0.15, 0.26, 0.36, 0.44])
def test_contact_is_found_at_any_reach(reach_m):
    """The lead is bounded in metres: far from the base it is a small angle."""
    robot = EmulatedRobot()
    robot.to((reach_m, 0.0, 0.2))
    robot.listen()
    robot.inject("waist", "wall", 0.02)
    robot.action[:3] = SIDE
    began_s = robot.now_s
    robot.run(1.5)
    assert robot.heard["contact"] - began_s < 1.2


@pytest.mark.parametrize("ceiling_mps", [0.05, 0.1, 0.25, 0.5])
def test_no_point_of_the_arm_is_faster_than_the_ceiling(ceiling_mps):
    """Steps as large as the Box allows, in every direction, with turns of the hand."""
    limits = GuardConfig(max_tool_speed_mps=ceiling_mps, max_following_rad=0.3)
    robot = EmulatedRobot(at_most_its_speed(limits))
    robot.to(WORK_M)
    robot.listen()
    rng = np.random.default_rng(5)
    for _ in range(30):
        direction = rng.uniform(-1.0, 1.0, 6) * ([0.05] * 3 + [0.25] * 3)
        for _ in range(3):
            robot.action[:6] = direction
            robot.run(0.2)
    assert robot.state.latched == ()
    assert 0.3 * ceiling_mps < robot.peak_mps <= ceiling_mps


def test_a_reboot_is_refused_unless_the_arm_is_at_rest(robot):
    robot.inject("elbow", "shock")
    robot.run(0.05)
    with pytest.raises(ArmFaultError, match=r"a reboot drops torque.*lower it to its rest pose"):
        arm_setup.reboot(robot.driver, robot.contract)
    robot.servos.torque(wx250s.JOINT_NAMES, is_on=False)
    robot.run(5.0)  # lowered by hand
    arm_setup.reboot(robot.driver, robot.contract)
    assert arm_setup.inspect(robot.driver, robot.contract) == ()


def test_torque_and_mode_are_touched_at_rest_only(robot):
    robot.servos.torque(("waist",), is_on=False)
    with pytest.raises(ArmFaultError, match="torque is off, and changing that lets the arm fall"):
        arm_setup.prepare(robot.driver, robot.contract)
    robot.servos.torque(("waist",), is_on=True)
    robot.servos.modes["waist"] = "velocity"
    with pytest.raises(ArmFaultError, match="in mode 'velocity', and changing that"):
        arm_setup.prepare(robot.driver, robot.contract)
    assert robot.servos.value("waist", "Torque_Enable") == 1
