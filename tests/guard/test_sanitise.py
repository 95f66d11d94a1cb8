"""What is not seven real finite numbers of a possible size never gets further."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from robot_agent.guard.limits import GuardConfig
from robot_agent.guard.sanitise import clip_to_box, sanitise
from tests.guard.paper_arm import make_action

_CONFIG = GuardConfig()
_AXES = [(axis, 3 * (0.05 if axis < 3 else 0.25)) for axis in range(6)]


@pytest.mark.parametrize(
    "proposed",
    [
        None,
        0.0,
        "seven",
        [0.0] * 7,
        (0.0,) * 7,
        np.zeros(6),
        np.zeros(8),
        np.zeros((1, 7)),
        np.zeros(0),
        np.zeros(()),
        np.zeros(7, bool),
        np.zeros(7, complex),
        np.zeros(7, object),
        np.full(7, "0"),
        np.zeros(7, "datetime64[s]"),
        {"action": 1},
    ],
)
def test_what_is_not_seven_real_numbers_is_malformed(proposed):
    assert sanitise(proposed) == (None, "malformed")


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64, np.uint8])
def test_any_real_type_is_read(dtype):
    action, cause = sanitise(np.zeros(7, dtype))
    assert cause is None
    assert action.dtype == np.float64


@pytest.mark.parametrize("axis", range(7))
@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_refused_on_every_axis(axis, value):
    action = make_action()
    action[axis] = value
    assert sanitise(action)[1] == "non_finite"


def test_a_nan_with_a_payload_is_refused():
    action = make_action()
    action[2] = np.array(0xFFF800000000BEEF, np.uint64).view(np.float64)
    assert sanitise(action)[1] == "non_finite"


@pytest.mark.skipif(
    np.finfo(np.longdouble).max == np.finfo(np.float64).max, reason="no long double"
)
def test_a_long_double_that_overflows_is_refused():
    action = np.zeros(7, np.longdouble)
    action[0] = np.longdouble("1e4000")
    assert sanitise(action)[1] == "non_finite"


@pytest.mark.parametrize(("axis", "edge"), _AXES)
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_three_boxes_are_large_and_a_hair_more_is_huge(axis, edge, sign):
    action = make_action()
    action[axis] = sign * edge
    assert sanitise(action)[1] is None
    action[axis] = sign * np.nextafter(edge, 1.0)
    assert sanitise(action)[1] == "huge_action"


@pytest.mark.parametrize(("edge", "away"), [(-0.5, -1.0), (1.5, 2.0)])
def test_a_gripper_far_outside_is_huge(edge, away):
    assert sanitise(make_action(gripper=edge))[1] is None
    assert sanitise(make_action(gripper=float(np.nextafter(edge, away))))[1] == "huge_action"


def test_the_proposers_array_is_not_shared():
    proposed = make_action(0.01)
    action, _ = sanitise(proposed)
    proposed[0] = np.nan
    assert action[0] == 0.01


def test_an_action_inside_the_box_is_not_touched():
    action = make_action(0.01, -0.02, 0.03, 0.25, -0.25, 0.1, gripper=0.5)
    clipped, changes = clip_to_box(_CONFIG, action)
    assert (clipped == action).all()
    assert changes == ()


def test_a_step_at_the_limit_stays_and_a_longer_one_keeps_its_direction():
    assert clip_to_box(_CONFIG, make_action(0.05))[1] == ()
    clipped, changes = clip_to_box(_CONFIG, make_action(0.06, 0.03, 0.0))
    assert np.linalg.norm(clipped[:3]) == pytest.approx(0.05)
    assert clipped[0] == pytest.approx(2 * clipped[1])
    assert changes[0] == "step 0.060 m is over 0.05 m: shortened"
    assert changes[1] == "tool speed 0.34 m/s is over 0.25 m/s: shortened"


def test_rotation_is_clipped_per_axis_and_the_gripper_to_its_ends():
    clipped, changes = clip_to_box(_CONFIG, make_action(0, 0, 0, 0.3, -0.5, 0.1, gripper=1.2))
    assert clipped.tolist() == [0, 0, 0, 0.25, -0.25, 0.1, 1.0]
    assert changes == (
        "turn 0.500 rad is over 0.25 rad: clipped",
        "gripper 1.20 is outside [0, 1]: clipped",
    )


@given(hnp.arrays(np.float64, 7, elements=st.floats(width=64)))
def test_whatever_passes_is_inside_the_box_after_clipping_and_clipping_twice_changes_nothing(
    array,
):
    action, cause = sanitise(array)
    if cause is None:
        clipped, _ = clip_to_box(_CONFIG, action)
        assert (np.abs(clipped[:3]) <= 0.05 + 1e-12).all()
        assert (np.abs(clipped[3:6]) <= 0.25).all()
        assert 0.0 <= clipped[6] <= 1.0
        assert np.linalg.norm(clipped[:3]) <= 0.05 + 1e-12
        again, _ = clip_to_box(_CONFIG, clipped)
        assert np.allclose(again, clipped, rtol=0, atol=1e-15)


@given(hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(max_dims=3, max_side=8)))
def test_any_array_is_judged_without_an_exception(array):
    action, cause = sanitise(array)
    assert cause in (None, "malformed", "non_finite", "huge_action")
    assert (cause is not None) or np.isfinite(action).all()
