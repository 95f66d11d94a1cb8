"""The table of causes: every row makes sense, and the strongest reaction wins in every mixture."""

import itertools

import pytest

from robot_agent.guard.guard import step
from robot_agent.guard.reactions import REACTIONS, strength, strongest
from robot_agent.guard.transitions import hold, stop
from tests.guard.paper_arm import TICK_NS, PaperArm, make_action, make_measured

_STOPS = [c for c, row in REACTIONS.items() if row.kind == "stop"]
_HOLDS = [c for c, row in REACTIONS.items() if row.kind == "hold"]


def test_rows_are_consistent():
    for cause, row in REACTIONS.items():
        assert row.cause == cause
        assert (row.kind == "stop") == (row.clear == "reset")
        assert row.says[0].isupper()
        assert row.says.endswith(".")
        if row.kind == "stop":
            assert row.scope == "any"
            assert "reset" in row.says.lower()


def test_the_strongest_reaction_wins_in_every_mixture_of_up_to_three():
    for causes in itertools.chain(*(itertools.permutations(REACTIONS, n) for n in (1, 2, 3))):
        chosen = strongest(causes)
        assert chosen is not None
        assert chosen.cause in causes
        assert strength(chosen) == max(strength(REACTIONS[cause]) for cause in causes)
        assert (chosen.kind == "stop") == any(cause in _STOPS for cause in causes)


def test_no_cause_asks_for_no_reaction():
    assert strongest(()) is None


@pytest.mark.parametrize("cause", _STOPS)
def test_every_stop_latches_for_good_and_goes_only_by_its_own_name(cause):
    arm = PaperArm()
    arm.run(make_action(0.02))
    arm.state = stop(arm.state, (cause,))
    target = arm.state.joint_target
    arm.ticks(500, arm.propose(make_action(0.02)), operator=arm.operate(0.02))
    assert arm.state.latched == (cause,)
    assert arm.state.mode == "stopped"
    assert (arm.state.joint_target == target).all()
    for other in (*_STOPS, "all", ""):
        if other != cause:
            assert arm.reset(other).latched == (cause,)
    assert arm.reset(cause).latched == ()
    assert arm.state.mode == "idle"


@pytest.mark.parametrize("cause", _STOPS)
def test_a_stop_relaxes_or_stays_as_its_row_says(cause):
    arm = PaperArm()
    arm.tick(arm.propose(make_action(0.04)))
    before = arm.state.joint_target
    measured = arm.state.measured.joints_rad
    state = stop(arm.state, (cause,))
    wanted = measured if REACTIONS[cause].target == "measured" else before
    assert (state.joint_target == wanted).all()
    assert (before != measured).any()


@pytest.mark.parametrize("cause", _HOLDS)
def test_a_hold_relaxes_or_stays_as_its_row_says_and_keeps_the_gripper(cause):
    arm = PaperArm()
    arm.tick(arm.propose(make_action(0.04, gripper=0.25)))
    before = arm.state.joint_target
    measured = arm.state.measured.joints_rad
    state = hold(arm.state, cause)
    wanted = measured if REACTIONS[cause].target == "measured" else before
    assert (state.joint_target == wanted).all()
    assert state.gripper_target == 0.25
    assert state.sent.tolist() == [0, 0, 0, 0, 0, 0, 0.25]


@pytest.mark.parametrize("cause", _HOLDS)
def test_a_hold_ends_as_its_row_says(cause):
    arm = PaperArm()
    arm.run(make_action(0.02))
    arm.state = hold(arm.state, cause)
    arm.tick(arm.propose(make_action(0.02)))
    is_next = REACTIONS[cause].clear == "next"
    assert arm.state.accepted_this_tick == is_next
    if not is_next:
        arm.ticks(48)
        assert arm.state.hold_causes == (cause,)
        arm.tick()
        assert arm.state.hold_causes == ()
        assert arm.state.mode == "idle"
        assert arm.tick(arm.propose(make_action(0.02))).accepted_this_tick


def test_holding_twice_does_not_follow_the_arm():
    arm = PaperArm()
    arm.tick(arm.propose(make_action(0.04)))
    first = hold(arm.state, "non_finite")
    moved = make_measured(arm.joints_rad + 0.01, arm.now_ns + TICK_NS)
    arm.state = first
    assert (arm.tick(measured=moved).joint_target == first.joint_target).all()
    assert (hold(arm.state, "malformed").joint_target == first.joint_target).all()


def test_step_is_the_function_that_the_paper_arm_drives():
    assert step.__module__ == "robot_agent.guard.guard"
