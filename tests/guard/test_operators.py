"""A device that falls silent holds the arm; two that hold at once hold it too."""

import numpy as np

from robot_agent.guard.operators import hear
from robot_agent.guard.state import OperatorInput
from tests.guard.paper_arm import MS, TICK_NS, PaperArm, make_action

AGE_NS = 200 * MS


def one(source: str, stamp_ms: int, deadman: bool = True) -> OperatorInput:
    return OperatorInput(np.zeros(6), None, deadman, stamp_ms * MS, source)


def test_a_device_that_vanishes_in_use_holds_the_arm_against_the_policy():
    arm = PaperArm()
    arm.run(make_action(0.02))
    last = arm.operate(0.02)
    arm.ticks(9, operator=last)
    assert arm.state.controller == "operator"
    arm.ticks(3, operator=last)
    assert (arm.state.controller, arm.state.hold_causes) == ("none", ("operator_lost",))
    target = arm.command.joints_rad.copy()
    for _ in range(300):  # six seconds of a policy that would like to go on
        arm.tick(arm.propose(make_action(0.02)), operator=last)
    assert arm.state.hold_causes == ("operator_lost",)
    assert np.array_equal(arm.command.joints_rad, target)
    assert "Bring it back" in arm.state.changes[-1] or arm.state.mode == "hold"


def test_a_device_that_comes_back_at_rest_gives_the_arm_to_the_policy_after_a_second():
    arm = PaperArm()
    arm.run(make_action(0.02))
    last = arm.operate(0.02)
    arm.ticks(15, operator=last)
    for k in range(60):
        operator = arm.operate(deadman=False)
        arm.tick(arm.propose(make_action(0.02)), operator=operator)
        if k == 40:
            assert arm.state.hold_causes == ("operator_lost",)
    assert arm.state.controller == "policy"


def test_a_device_that_comes_back_held_takes_over_at_once():
    arm = PaperArm()
    arm.ticks(15, operator=arm.operate(0.02))
    assert arm.state.hold_causes == ("operator_lost",)
    arm.ticks(1, operator=arm.operate(0.02))
    assert arm.state.controller == "operator"
    assert not arm.state.hold_causes


def test_a_device_that_lets_go_and_then_vanishes_changes_nothing():
    arm = PaperArm()
    arm.ticks(3, operator=arm.operate(0.02))
    released = arm.operate(deadman=False)
    arm.ticks(100, operator=released)
    assert not arm.state.hold_causes
    arm.tick(arm.propose(make_action(0.02)), operator=released)
    assert arm.state.controller == "policy"


def test_a_device_that_never_had_control_cannot_hold_the_arm():
    arm = PaperArm()
    old = arm.operate(0.02, stamp_ns=arm.now_ns - 10**9)
    arm.tick(arm.propose(make_action(0.02)), operator=old)
    assert arm.state.controller == "policy"


def test_two_held_deadmen_hold_the_arm_until_one_lets_go():
    arm = PaperArm()
    arm.ticks(2, operator=arm.operate(0.02))
    for _ in range(30):
        arm.tick(operator=arm.operate(0.02, rivals=("keyboard",)))
    assert arm.state.hold_causes == ("two_operators",)
    assert arm.state.mode == "hold"
    still = arm.command.joints_rad.copy()
    for _ in range(40):
        arm.tick(operator=arm.operate(0.02))
    assert np.array_equal(arm.command.joints_rad, still)
    for _ in range(30):
        arm.tick(operator=arm.operate(0.02))
    assert not arm.state.hold_causes
    assert arm.state.accepted_this_tick or arm.state.mode == "active"


def test_one_held_device_counts_whatever_others_say_at_rest():
    heard, _ = hear({}, one("gamepad", 0), 0, AGE_NS)
    heard, chosen = hear(heard, one("keyboard", 20, deadman=False), 20 * MS, AGE_NS)
    assert (chosen.source, chosen.rivals) == ("gamepad", ())


def test_two_held_devices_are_rivals_until_one_is_stale():
    heard, _ = hear({}, one("gamepad", 0), 0, AGE_NS)
    heard, chosen = hear(heard, one("keyboard", 20), 20 * MS, AGE_NS)
    assert (chosen.source, chosen.rivals) == ("keyboard", ("gamepad",))
    heard, chosen = hear(heard, one("keyboard", 240), 240 * MS, AGE_NS)
    assert (chosen.source, chosen.rivals) == ("keyboard", ())
    assert list(heard) == ["keyboard"], "a loss is forgotten when another takes over"


def test_a_device_at_rest_does_not_hide_that_the_other_was_lost():
    heard, _ = hear({}, one("gamepad", 0), 0, AGE_NS)
    _, chosen = hear(heard, one("keyboard", 900, deadman=False), 900 * MS, AGE_NS)
    assert (chosen.source, chosen.deadman) == ("gamepad", True)


def test_a_flood_of_names_is_bounded_and_keeps_the_newest():
    heard = {}
    for k in range(1000):
        heard, chosen = hear(heard, one(f"device {k}", k, deadman=False), k * MS, AGE_NS)
        assert chosen.source == f"device {k}"
    assert len(heard) == 8
    assert TICK_NS == 20 * MS
