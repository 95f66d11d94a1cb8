"""Operator over policy, bumpless both ways; a proposal counts once and only while it is fresh."""

import numpy as np
import pytest

from tests.guard.paper_arm import MS, START_NS, TICK_NS, PaperArm, make_action


def _moving() -> PaperArm:
    arm = PaperArm()
    arm.run(make_action(0.02))
    arm.tick(arm.propose(make_action(0.02)))
    assert arm.state.controller == "policy"
    return arm


def test_the_operator_takes_over_within_a_tick_and_without_a_jump():
    arm = _moving()
    measured = arm.joints_rad.copy()
    arm.tick(arm.propose(make_action(0.02)), operator=arm.operate())
    assert arm.state.controller == "operator"
    assert np.abs(arm.command.joints_rad - measured).max() < 1e-12
    assert arm.state.counters.dropped_held == 1


def test_the_operators_step_starts_from_the_measured_pose():
    arm = _moving()
    for _ in range(9):
        arm.tick(operator=arm.operate())
    before_m = arm.tool_m
    operator = arm.operate(0.0, 0.02)
    arm.tick(operator=operator)
    assert arm.state.accepted_this_tick
    assert arm.command.weights_version == "joystick"
    step_m = arm.command.tool_target[:3, 3] - before_m
    assert np.allclose(step_m, [0.0, 0.02, 0.0], atol=1e-9)
    arm.ticks(5, operator=operator)
    assert arm.state.counters.accepted == 3


def test_the_operator_steps_at_five_hertz():
    arm = PaperArm()
    for _ in range(50):
        arm.tick(operator=arm.operate(0.001))
    assert arm.state.counters.accepted == 5


def test_the_gripper_stays_when_the_operator_does_not_move_it():
    arm = PaperArm()
    arm.run(make_action(0.01, gripper=0.2))
    arm.ticks(30, operator=arm.operate(0.01))
    assert arm.state.gripper_target == 0.2
    arm.tick(operator=arm.operate(0.01, gripper=0.9))
    assert arm.state.gripper_target == 0.9


@pytest.mark.parametrize(("age_ms", "in_control"), [(199, True), (200, False), (-100, True)])
def test_a_deadman_holds_less_than_a_fifth_of_a_second(age_ms, in_control):
    arm = PaperArm()
    arm.tick(operator=arm.operate(stamp_ns=arm.now_ns + TICK_NS - age_ms * MS))
    assert (arm.state.controller == "operator") == in_control


@pytest.mark.parametrize("changes", [{"deadman": False}, {"deadman": 1}, {"stamp_ns": 2**62}])
def test_without_a_held_and_believable_deadman_the_operator_has_no_control(changes):
    arm = PaperArm()
    arm.tick(operator=arm.operate(0.02, **changes))
    assert arm.state.controller == "none"


def test_on_release_the_arm_holds_until_the_policy_has_seen_the_new_scene():
    arm = _moving()
    arm.ticks(5, operator=arm.operate(0.0, 0.02))
    measured = arm.joints_rad.copy()
    old = arm.propose(make_action(0.03))
    arm.tick(old)
    assert np.abs(arm.command.joints_rad - measured).max() < 1e-12
    assert arm.state.mode == "idle"
    released_ns = arm.now_ns
    assert arm.state.resume_after_ns == released_ns
    arm.tick(arm.propose(make_action(0.03), stamp_ns=released_ns))
    assert arm.state.counters.dropped_late >= 1
    assert not arm.state.accepted_this_tick
    arm.ticks(10)
    before_m = arm.tool_m
    arm.tick(arm.propose(make_action(0.03), stamp_ns=released_ns + 1))
    assert arm.state.accepted_this_tick
    assert np.allclose(arm.command.tool_target[:3, 3] - before_m, [0.03, 0, 0], atol=1e-9)


def test_the_policys_holds_do_not_hinder_the_operator():
    arm = PaperArm()
    arm.tick(arm.propose(make_action(float("nan"))))
    assert arm.state.hold_causes == ("non_finite",)
    for _ in range(10):
        arm.tick(operator=arm.operate(0.02))
    assert arm.state.accepted_this_tick


def test_the_operators_own_nonsense_is_refused():
    arm = PaperArm()
    arm.tick(operator=arm.operate(float("nan")))
    assert arm.state.hold_causes == ("non_finite",)
    arm.ticks(15, operator=arm.operate(delta=[0.0] * 6))
    assert "malformed" in arm.state.hold_causes


def test_the_same_proposal_counts_once():
    arm = PaperArm()
    proposal = arm.propose(make_action(0.02))
    arm.ticks(10, proposal)
    assert arm.state.counters.accepted == 1
    assert arm.state.counters.dropped_duplicate == 0


@pytest.mark.parametrize("sequence", [0, 1])
def test_a_duplicate_or_older_sequence_is_dropped_and_counted(sequence):
    arm = PaperArm()
    arm.run(make_action(0.02))
    arm.tick(arm.propose(make_action(0.02), sequence=sequence))
    assert arm.state.counters.accepted == 1
    assert arm.state.counters.dropped_duplicate == 1


def test_proposals_that_come_too_fast_wait_their_turn():
    arm = PaperArm()
    for _ in range(50):
        arm.tick(arm.propose(make_action(0.01)))
    assert arm.state.counters.accepted == 7  # ticks 1, 9, 17 ... of 50: one in 0.16 s


@pytest.mark.parametrize(
    ("late_ns", "taken", "held"),
    [(0, True, False), (1, False, False), (100 * MS, False, False), (100 * MS + 1, False, True)],
)
def test_a_late_proposal_is_dropped_and_a_very_late_one_holds(late_ns, taken, held):
    arm = PaperArm()
    arm.tick(arm.propose(make_action(0.02), deadline_ns=arm.now_ns + TICK_NS - late_ns))
    assert arm.state.accepted_this_tick == taken
    assert arm.state.hold_causes == (("stale_proposal",) if held else ())
    assert arm.state.counters.dropped_late == (0 if taken else 1)


def test_an_observation_that_is_seconds_old_makes_a_proposal_stale():
    for age_ns, taken in ((5_000 * MS, True), (5_000 * MS + 1, False)):
        arm = PaperArm()
        arm.tick(arm.propose(make_action(0.02), stamp_ns=START_NS + TICK_NS - age_ns))
        assert arm.state.accepted_this_tick == taken


def test_a_stamp_from_the_future_is_refused_just_past_a_tenth_of_a_second():
    for ahead_ns, taken in ((100 * MS, True), (100 * MS + 1, False)):
        arm = PaperArm()
        arm.tick(arm.propose(make_action(0.02), stamp_ns=START_NS + TICK_NS + ahead_ns))
        assert arm.state.accepted_this_tick == taken
        assert arm.state.hold_causes == (() if taken else ("future_stamp",))


@pytest.mark.parametrize("field", ["sequence", "stamp_ns", "deadline_ns"])
@pytest.mark.parametrize("value", [None, 1.0, float("nan"), "1", True])
def test_a_proposal_without_integer_stamps_is_malformed(field, value):
    arm = PaperArm()
    arm.tick(arm.propose(make_action(0.02), **{field: value}))
    assert arm.state.hold_causes == ("malformed",)


def test_what_is_no_proposal_is_malformed():
    arm = PaperArm()
    assert arm.tick("move!").hold_causes == ("malformed",)


def test_a_restarted_policy_may_count_from_one_again_but_not_replay():
    arm = PaperArm()
    arm.sequence = 1_000
    arm.run(make_action(0.02))
    replay = arm.propose(make_action(0.02), sequence=5, deadline_ns=2**60)
    arm.heartbeat = False
    arm.ticks(20)
    assert "policy_silent" in arm.state.hold_causes
    silent_until_ns = arm.now_ns
    arm.heartbeat = True
    arm.ticks(50)
    arm.tick(replay)
    assert not arm.state.accepted_this_tick
    assert replay.stamp_ns < silent_until_ns
    arm.tick(arm.propose(make_action(0.02), sequence=6))
    assert arm.state.accepted_this_tick
