"""Contact, stale readings and joints past their limits: stopped in time, and nothing else is."""

import numpy as np
import pytest

from robot_agent.core import wx250s
from robot_agent.guard.limits import EFFORT_CAPS_MA, GuardConfig
from robot_agent.guard.state import Measured
from robot_agent.guard.strain import has_left
from tests.guard.paper_arm import PaperArm, make_action, make_measured

SIDE = make_action(0.0, 0.03)
ON_ARM = GuardConfig(max_following_rad=0.15)


def _drive(arm: PaperArm, steps: int, measured_rad: np.ndarray | None = None) -> int | None:
    """Drive aside for some steps and return the tick at which the arm stopped, or None."""
    for step in range(steps):
        for tick in range(10):
            inputs = {}
            if measured_rad is not None:
                inputs["measured"] = make_measured(measured_rad.copy(), arm.now_ns + 20_000_000)
            arm.tick(arm.propose(SIDE) if tick == 0 else None, **inputs)
            if arm.state.latched:
                return step * 10 + tick
    return None


def test_an_arm_that_follows_is_not_stopped():
    arm = PaperArm(ON_ARM)
    arm.follow = 0.12  # slower than any servo
    assert _drive(arm, 8) is None


def test_an_arm_that_creeps_at_a_wall_is_stopped_as_contact_and_relaxes():
    arm = PaperArm(ON_ARM)
    arm.follow = 0.01
    assert _drive(arm, 8) is not None
    assert arm.state.latched == ("contact",)
    assert np.abs(arm.command.joints_rad - arm.state.measured.joints_rad).max() < 1e-9


def test_readings_that_repeat_while_the_arm_should_move_are_stale():
    arm = PaperArm(GuardConfig(max_following_rad=0.3))
    still = arm.joints_rad.copy()
    assert _drive(arm, 10, still) is not None
    assert arm.state.latched == ("stale_joint_states",)


def test_readings_that_repeat_at_rest_are_fine():
    arm = PaperArm(ON_ARM)
    arm.follow = 0.0
    arm.ticks(500)
    assert arm.state.latched == ()


@pytest.mark.parametrize("joint", range(6))
def test_effort_over_its_cap_for_100_ms_stops(joint):
    for over, ticks, is_stopped in ((1.0, 20, True), (1.0, 5, False), (-1.0, 20, False)):
        arm = PaperArm()
        effort = np.zeros(7)
        effort[joint] = -(EFFORT_CAPS_MA[joint] + over)
        for _ in range(ticks):
            stamp_ns = arm.now_ns + 20_000_000
            arm.tick(measured=Measured(arm.joints_rad, 0.03, stamp_ns, None, effort))
        assert (arm.state.latched == ("contact",)) == is_stopped


def test_a_joint_measured_past_its_hard_limit_stops():
    pose = wx250s.NEUTRAL_RAD.copy()
    pose[4] = wx250s.JOINT_UPPER_RAD[4] + 0.03
    arm = PaperArm(joints_rad=pose)
    arm.tick()
    assert arm.state.latched == ("joint_outside",)


@pytest.mark.parametrize(("top_m", "is_left"), [(0.09, True), (0.11, False)])
def test_a_body_far_outside_its_box_stops_an_active_arm(top_m, is_left):
    """The tool stands at 0.15 m; 5 cm over the box's top are tolerated."""
    arm = PaperArm(GuardConfig(box_high_m=(0.48, 0.30, top_m)))
    assert has_left(arm.config, make_measured(arm.joints_rad, 0)) == is_left
    arm.follow = 0.0
    arm.run(make_action(0.0))
    assert (arm.state.latched == ("workspace_left",)) == is_left
