"""Ages and plausibility, each at its edge and just past it; nothing in the future is fresh."""

import numpy as np
import pytest

from robot_agent.core.errors import InputError
from robot_agent.guard.state import initial_state
from tests.guard.paper_arm import (
    MS,
    START_NS,
    TICK_NS,
    WORK_RAD,
    PaperArm,
    make_action,
    make_measured,
)


def _at_age(age_ns: int) -> PaperArm:
    """Return an arm ticked once while its joint states are `age_ns` old."""
    arm = PaperArm()
    arm.now_ns = START_NS + age_ns - TICK_NS
    arm.tick(measured=make_measured(WORK_RAD, START_NS))
    return arm


def test_joint_states_stop_the_arm_just_past_a_quarter_second():
    assert _at_age(250 * MS).state.latched == ()
    arm = _at_age(250 * MS + 1)
    assert arm.state.latched == ("driver_silent",)
    assert arm.command.gripper_pwm == 0.0


def test_without_joint_states_nothing_is_sent_and_silence_latches():
    arm = PaperArm()
    arm.ticks(12, arm.propose(make_action(0.02)), measured=None)
    assert arm.commands == [None] * 12
    assert arm.state.counters.accepted == 0
    assert arm.state.latched == ()
    assert arm.tick(measured=None).latched == ("driver_silent",)
    assert arm.command is None


def test_a_silent_driver_can_be_reset_only_when_it_speaks_again():
    arm = _at_age(300 * MS)
    stale = make_measured(WORK_RAD, START_NS)
    assert arm.reset("driver_silent", measured=stale).latched == ("driver_silent",)
    assert arm.state.counters.refused_resets == 1
    assert arm.reset("driver_silent").latched == ()


@pytest.mark.parametrize("future_ns", [100 * MS, 100 * MS + 1])
def test_joint_states_from_the_future_are_not_believed(future_ns):
    arm = PaperArm()
    stamp_ns = START_NS + TICK_NS + future_ns
    arm.tick(measured=make_measured(WORK_RAD + 0.01, stamp_ns))
    past = future_ns > 100 * MS
    assert arm.state.latched == (("bad_joint_states",) if past else ())


@pytest.mark.parametrize(
    "joints",
    [
        None,
        [0.1] * 6,
        np.ones(5),
        np.ones((6, 1)),
        np.ones(6, int),
        np.full(6, np.nan),
        "six",
        np.array([0.1, 0.1, np.inf, 0, 0, 0]),
        np.array([0.0, 0.0, 1.8, 0.0, 0.0, 0.0]),
    ],
)
def test_joint_states_that_cannot_be_true_stop_the_arm_and_are_not_used(joints):
    arm = PaperArm()
    before = arm.state.joint_target
    arm.tick(measured=make_measured(joints, START_NS + TICK_NS))
    assert arm.state.latched == ("bad_joint_states",)
    assert (arm.command.joints_rad == before).all()
    assert arm.command.gripper_pwm == 0.0


@pytest.mark.parametrize("finger", [np.nan, np.inf, None, "wide", 1.0])
def test_a_finger_that_is_no_position_stops_the_arm(finger):
    arm = PaperArm()
    arm.tick(measured=make_measured(WORK_RAD, START_NS + TICK_NS, finger))
    assert arm.state.latched == ("bad_joint_states",)


def test_a_jump_stops_the_arm_just_past_what_the_motors_can_do():
    limit = 3.1415 * 0.02 * 1.5 + 0.1
    for sign in (-1.0, 1.0):
        for extra, latched in ((-1e-9, ()), (1e-9, ("bad_joint_states",))):
            arm = PaperArm()
            joints_rad = WORK_RAD.copy()
            joints_rad[3] += sign * (limit + extra)
            arm.tick(measured=make_measured(joints_rad, START_NS + TICK_NS))
            assert arm.state.latched == latched


def test_one_or_two_readings_of_zeros_are_skipped_and_the_third_stops():
    arm = PaperArm()
    for count in (1, 2, 3):
        arm.tick(measured=make_measured(np.zeros(6), arm.now_ns + TICK_NS))
        assert arm.state.latched == (("bad_joint_states",) if count == 3 else ())
        assert (arm.command.joints_rad == arm.state.joint_target).all()
        assert (arm.state.measured.joints_rad == WORK_RAD).all()


def test_the_same_zero_reading_counts_once_and_a_good_one_clears_the_count():
    arm = PaperArm()
    zeros = make_measured(np.zeros(6), START_NS + TICK_NS)
    arm.ticks(5, measured=zeros)
    assert arm.state.num_zero_frames == 1
    assert arm.tick().num_zero_frames == 0


def test_an_older_reading_than_the_last_is_not_looked_at():
    arm = PaperArm()
    arm.tick()
    arm.tick(measured=make_measured(np.full(6, np.nan), START_NS))
    assert arm.state.latched == ()


def test_the_policy_is_silent_just_past_a_quarter_second():
    for age_ns, held in ((250 * MS, False), (250 * MS + 1, True)):
        arm = PaperArm()
        arm.tick(arm.propose(make_action(0.02)))
        arm.tick(policy_alive_ns=arm.now_ns + TICK_NS - age_ns)
        assert ("policy_silent" in arm.state.hold_causes) == held


@pytest.mark.parametrize("alive_ns", [None, START_NS + 10**12])
def test_no_heartbeat_and_one_from_the_future_are_silence(alive_ns):
    arm = PaperArm()
    arm.tick(arm.propose(make_action(0.02)))
    assert arm.tick(policy_alive_ns=alive_ns).hold_causes == ("policy_silent",)


def test_an_idle_guard_does_not_miss_a_policy():
    arm = PaperArm()
    arm.heartbeat = False
    assert arm.ticks(50).mode == "idle"


def test_a_step_in_force_runs_dry_just_past_a_tenth_of_a_second():
    arm = PaperArm()
    arm.tick(arm.propose(make_action(0.02), life_ms=200))
    arm.ticks(15)
    assert arm.now_ns == arm.state.expires_ns + 100 * MS
    assert arm.state.mode == "active"
    target = arm.state.joint_target
    assert arm.tick().hold_causes == ("starved",)
    assert (arm.state.joint_target == target).all()
    assert arm.tick(arm.propose(make_action(0.02))).accepted_this_tick


def test_a_far_deadline_does_not_keep_a_step_in_force():
    arm = PaperArm()
    arm.tick(arm.propose(make_action(0.02), deadline_ns=2**62))
    arm.ticks(30)
    assert arm.state.mode == "active"
    assert arm.tick().hold_causes == ("starved",)


@pytest.mark.parametrize("joints", [np.full(6, np.nan), np.zeros(5), [[0.0] * 6]])
def test_a_guard_is_not_armed_on_joints_that_are_no_joints(joints):
    with pytest.raises(InputError, match=r"measured\.joints_rad"):
        initial_state(make_measured(joints, 0))


def test_a_guard_is_not_armed_on_a_finger_that_is_no_number():
    with pytest.raises(InputError, match=r"measured\.finger_m"):
        initial_state(make_measured(WORK_RAD, 0, np.nan))
