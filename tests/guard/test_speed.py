"""A proposal may ask for less speed than the limits allow, and never for more."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_agent.guard.limits import CEILINGS, GuardConfig, slowed
from tests.guard.paper_arm import PaperArm, make_action

_SCALED = ("max_step_m", "max_step_rad", "max_tool_speed_mps", "max_joint_speed_radps")


@given(st.floats(min_value=1e-6, max_value=1e6))
def test_no_limit_ever_rises(speed):
    config = GuardConfig()
    tighter = slowed(config, speed)
    for field in dataclasses.fields(GuardConfig):
        before, after = getattr(config, field.name), getattr(tighter, field.name)
        if field.name in _SCALED:
            assert after == pytest.approx(max(CEILINGS[field.name][0], min(1.0, speed) * before))
            assert after <= before
        else:
            assert after == before


def test_limits_that_are_at_their_lowest_stay():
    lowest = GuardConfig(**{name: CEILINGS[name][0] for name in _SCALED})
    assert slowed(lowest, 0.1) == lowest


@pytest.mark.parametrize("speed", [0.2, 0.5, 1.0])
def test_a_step_is_at_most_its_share_and_keeps_its_direction(speed):
    arm = PaperArm()
    action = make_action(0.04, 0.03, 0.0, 0.0, 0.2, 0.0)
    arm.tick(arm.propose(action, speed=speed))
    assert arm.state.accepted_this_tick
    sent_m = float(np.linalg.norm(arm.state.sent[:3]))
    assert sent_m <= speed * arm.config.max_translation_m + 1e-9
    assert arm.state.sent[1] / arm.state.sent[0] == pytest.approx(0.75, abs=0.05)
    assert abs(arm.state.sent[4]) <= speed * arm.config.max_step_rad + 1e-9


def test_asking_for_more_than_all_changes_nothing():
    fast, plain = PaperArm(), PaperArm()
    action = make_action(0.05, 0.0, 0.01)
    fast.tick(fast.propose(action, speed=9.0))
    plain.tick(plain.propose(action))
    assert (fast.state.joint_target == plain.state.joint_target).all()


@pytest.mark.parametrize("speed", [0.0, -0.5, math.nan, math.inf, None, "fast"])
def test_a_speed_that_is_none_is_refused(speed):
    arm = PaperArm()
    arm.tick(arm.propose(make_action(0.01), speed=speed))
    assert not arm.state.accepted_this_tick
    assert "malformed" in arm.state.hold_causes


def test_the_operator_is_as_fast_as_ever():
    slow, plain = PaperArm(), PaperArm()
    slow.tick(slow.propose(make_action(), speed=0.1))
    plain.tick(plain.propose(make_action()))
    for arm in (slow, plain):
        arm.ticks(9)
        arm.tick(operator=arm.operate(0.04))
        assert arm.state.controller == "operator"
    assert (slow.state.sent == plain.state.sent).all()
    assert slow.state.sent[0] > 0.1 * slow.config.max_translation_m
