"""A file may tighten a limit to any value below its ceiling, and never loosen it."""

import dataclasses

import numpy as np
import pytest

from robot_agent.core import wx250s
from robot_agent.core.config import build
from robot_agent.core.errors import ConfigError
from robot_agent.guard.limits import BOX_CEILING, CEILINGS, GuardConfig, to_ns

_NUMBERS = [
    f.name for f in dataclasses.fields(GuardConfig) if not f.name.endswith(("low_m", "high_m"))
]


def _just_past(value: float, up: bool) -> float:
    if isinstance(value, int):
        return value + (1 if up else -1)
    return float(np.nextafter(value, np.inf if up else -np.inf))


def test_every_number_has_a_ceiling_except_the_box_tolerances_own_box():
    assert sorted(_NUMBERS) == sorted(CEILINGS)


@pytest.mark.parametrize("name", sorted(CEILINGS))
def test_a_limit_may_be_at_its_ceiling_and_not_past_it(name):
    low, high, unit = CEILINGS[name]
    for edge, up in ((low, False), (high, True)):
        GuardConfig(**{name: edge})
        with pytest.raises(ValueError, match="is outside") as caught:
            GuardConfig(**{name: _just_past(edge, up)})
        text = str(caught.value)
        assert text.startswith(f"{name}=")
        assert f"[{low}, {high}] {unit}" in text


@pytest.mark.parametrize("name", sorted(CEILINGS))
def test_a_limit_that_is_not_a_number_is_refused(name):
    with pytest.raises(ValueError, match=name):
        GuardConfig(**{name: float("nan")})


@pytest.mark.parametrize("axis", range(3))
def test_the_box_stays_inside_its_ceiling(axis):
    low, high = list(BOX_CEILING[0]), list(BOX_CEILING[1])
    GuardConfig(box_low_m=tuple(low), box_high_m=tuple(high))
    low[axis] -= 1e-9
    with pytest.raises(ValueError, match=rf"box_low_m\[{axis}\]"):
        GuardConfig(box_low_m=tuple(low))
    high[axis] += 1e-9
    with pytest.raises(ValueError, match=rf"box_high_m\[{axis}\]"):
        GuardConfig(box_high_m=tuple(high))


def test_a_box_cannot_be_inside_out():
    with pytest.raises(ValueError, match=r"box_high_m\[1\]"):
        GuardConfig(box_low_m=(0.1, 0.1, 0.02), box_high_m=(0.4, 0.0, 0.3))


def test_yaml_that_loosens_the_tool_speed_names_value_and_ceiling():
    with pytest.raises(ConfigError) as caught:
        build(GuardConfig, {"max_tool_speed_mps": 0.6}, "agent.yaml.guard")
    wanted = "agent.yaml.guard: max_tool_speed_mps=0.6 is outside [0.01, 0.5] m/s"
    assert str(caught.value) == wanted


def test_named_poses_stay_legal():
    config = GuardConfig()
    for pose_rad in (wx250s.SLEEP_RAD, wx250s.NEUTRAL_RAD):
        assert (pose_rad >= wx250s.JOINT_LOWER_RAD + config.joint_margin_rad).all()
        assert (pose_rad <= wx250s.JOINT_UPPER_RAD - config.joint_margin_rad).all()
        points = wx250s.body_points(pose_rad)
        assert (points["tool"] >= config.box_low_m).all()
        assert (points["tool"] <= config.box_high_m).all()
        for name in ("wrist", "elbow"):
            assert (points[name] >= config.body_low_m).all()
            assert (points[name] <= config.body_high_m).all()


def test_seconds_become_whole_nanoseconds():
    assert [to_ns(s) for s in (0.02, 0.25, 0.1, 0.0, 60.0)] == [
        20_000_000,
        250_000_000,
        100_000_000,
        0,
        60_000_000_000,
    ]


def test_limits_per_step_follow_from_speeds():
    config = GuardConfig(max_tool_speed_mps=0.1, max_joint_speed_radps=1.0)
    assert config.max_translation_m == pytest.approx(0.02)
    assert config.max_joint_step_rad == pytest.approx(0.2)
    assert GuardConfig(table_height_m=0.1, table_margin_m=0.02).floor_m == pytest.approx(0.12)
