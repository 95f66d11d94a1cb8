"""Compares where the arm is with where it should be by now: contact, a dead bus, limits; pure."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from robot_agent.core import wx250s
from robot_agent.core.types import FloatArray
from robot_agent.guard.limits import EFFORT_CAPS_MA, GuardConfig, to_ns
from robot_agent.guard.screen import outside_m

if TYPE_CHECKING:
    from robot_agent.guard.state import Measured

_TAU_S = 0.12
"""A joint behind the streaming profile (250 ms) has gone most of its way after two of these."""
_MOVING_RAD = 0.05
"""A joint this far from its target moves, unless nothing is read any more."""
_LEAN_SHARE, _LEAN_S = 0.6, 0.5
"""An arm that leans on something with this share of the following error this long has met it: the
lead is so short on a real arm that the whole of it may never come. The lead is bounded in metres,
so far from the base an angle says little: there `max_lean_m` counts."""
_DROOP_RAD = 0.02
"""A servo under its load lags by as much, and such an error is not worth a closer look."""
_REPEATS_S = 0.15
"""Readings of an arm that strains do not repeat this long, unless they are no readings."""
_SLACK_RAD = 0.02
"""How far past a hard limit an encoder may read."""
_LOW = (wx250s.JOINT_LOWER_RAD - _SLACK_RAD).tolist()
_HIGH = (wx250s.JOINT_UPPER_RAD + _SLACK_RAD).tolist()


@dataclass(frozen=True, eq=False)
class Strain:
    """What is remembered between ticks."""

    expected_rad: FloatArray | None = None
    """Where the joints should be by now: the targets, through the servos' lag."""
    strained_ns: int | None = None
    """Since when a joint lags or pushes too much."""
    leaning_ns: int | None = None
    """Since when a joint lags by a share of that and does not catch up."""
    moved_ns: int = -1
    """When the readings last differed from those before."""
    readings: tuple[float, ...] = ()
    seen_ns: int = 0
    """Time of the tick before."""


def watch(
    config: GuardConfig, strain: Strain, now_ns: int, measured: "Measured", target_rad: FloatArray
) -> tuple[Strain, tuple[str, ...]]:
    """Return the new memory and the causes to stop on.

    The following error is taken against where the target should have led by now, not against the
    target itself: a stream at 5 Hz is always ahead of the arm. On a stop the target relaxes to the
    measured pose, so that the arm does not push on.

    Cost: about 0.01 ms.
    """
    joints = tuple(measured.joints_rad.tolist())
    # A motor that is blocked pushes harder; a driver that repeats itself repeats its efforts too.
    readings = joints if measured.effort is None else (*joints, *measured.effort.tolist())
    expected = strain.expected_rad
    if expected is None:
        expected = measured.joints_rad
    dt_s = min(max(now_ns - strain.seen_ns, 0) * 1e-9, 1.0)
    expected = expected + (target_rad - expected) * (dt_s / (_TAU_S + dt_s))
    error_rad = float(np.abs(expected - measured.joints_rad).max())
    is_strained = error_rad > config.max_following_rad or _is_pushing(config, measured)
    strained_ns = (strain.strained_ns or now_ns) if is_strained else None
    is_leaning = error_rad > config.max_following_rad * _LEAN_SHARE or (
        error_rad > _DROOP_RAD
        and wx250s.longest_way_m(expected, measured.joints_rad) > config.max_lean_m
    )
    leaning_ns = (strain.leaning_ns or now_ns) if is_leaning else None
    moved_ns = strain.moved_ns if readings == strain.readings else now_ns
    is_ahead = float(np.abs(target_rad - measured.joints_rad).max()) > _MOVING_RAD
    moved_ns = moved_ns if is_ahead else now_ns
    causes = []
    still_s = (now_ns - moved_ns) * 1e-9
    if still_s >= config.stale_s or (is_strained and still_s >= _REPEATS_S):
        causes.append("stale_joint_states")
    elif _lasts(strained_ns, now_ns, config.strain_s) or _lasts(leaning_ns, now_ns, _LEAN_S):
        causes.append("contact")
    if not all(low <= q <= high for q, low, high in zip(joints, _LOW, _HIGH, strict=True)):
        causes.append("joint_outside")
    return Strain(expected, strained_ns, leaning_ns, moved_ns, readings, now_ns), tuple(causes)


def has_left(config: GuardConfig, measured: "Measured") -> bool:
    """Return whether a body point is measured far outside its box."""
    for name, point in wx250s.body_points(measured.joints_rad).items():
        is_tool = name == "tool"
        low = np.array(config.box_low_m if is_tool else config.body_low_m)
        high = np.array(config.box_high_m if is_tool else config.body_high_m)
        if outside_m(point, low, high) > config.max_outside_m:
            return True
    return False


def _lasts(since_ns: int | None, now_ns: int, limit_s: float) -> bool:
    return since_ns is not None and now_ns - since_ns >= to_ns(limit_s)


def _is_pushing(config: GuardConfig, measured: "Measured") -> bool:
    """Return whether a joint's effort is over its cap."""
    if measured.effort is None:
        return False
    efforts = np.abs(measured.effort[:6]).tolist()
    caps = zip(efforts, EFFORT_CAPS_MA, strict=True)
    return any(effort > cap * config.effort_share for effort, cap in caps)
