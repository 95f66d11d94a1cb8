"""Watches the age and plausibility of what the guard is told; names causes, decides nothing."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from robot_agent.core import wx250s
from robot_agent.core.types import NUM_JOINTS
from robot_agent.guard.limits import GuardConfig, to_ns
from robot_agent.guard.state import GuardInputs, GuardState, Measured

_LIMIT_SLACK_RAD = 0.1
"""Measured joints farther than this past a hard limit cannot be true."""
_RAW_ZERO_SLACK_RAD = 1e-3
_LOWER = (wx250s.JOINT_LOWER_RAD - _LIMIT_SLACK_RAD).tolist()
_UPPER = (wx250s.JOINT_UPPER_RAD + _LIMIT_SLACK_RAD).tolist()


@dataclass(frozen=True, eq=False)
class Reading:
    """What the newest joint states are worth."""

    measured: Measured
    """The newest believable joint states."""
    num_zero_frames: int
    seen_stamp_ns: int
    causes: tuple[str, ...] = ()
    """Causes to stop on."""


def read_joints(
    config: GuardConfig, state: GuardState, inputs: GuardInputs, now_ns: int
) -> Reading:
    """Return the newest believable joint states, and the causes to stop on.

    After a failed read the driver publishes raw position 0 of every motor, which is -pi in
    radians, or zeros: such a reading is skipped, and repeated it stops the arm. A reading that is
    not newer than the last good one is not looked at.

    Source: interbotix_xs_driver, xs_driver.cpp (a failed sync read only logs) and
    dynamixel-workbench, convertValue2Radian (raw 0 is min_radian).
    """
    reading = Reading(state.measured, state.num_zero_frames, state.seen_stamp_ns)
    measured = inputs.measured
    if measured is not None and measured.stamp_ns > state.measured.stamp_ns:
        if measured.stamp_ns > now_ns + to_ns(config.max_future_s):
            reading = replace(reading, causes=("bad_joint_states",))
        else:
            reading = _judge(config, state, measured)
    if now_ns - reading.measured.stamp_ns > to_ns(config.max_measured_age_s):
        reading = replace(reading, causes=("driver_silent", *reading.causes))
    return reading


def _judge(config: GuardConfig, state: GuardState, measured: Measured) -> Reading:
    old, zeros, stamp_ns = state.measured, state.num_zero_frames, measured.stamp_ns
    if _is_failed_read(measured.joints_rad):
        zeros += stamp_ns > state.seen_stamp_ns
        causes = ("bad_joint_states",) if zeros >= config.max_zero_frames else ()
        return Reading(old, zeros, stamp_ns, causes)
    joints = _six_numbers(measured.joints_rad)
    if joints is None or not _is_finite(measured.finger_m):
        return Reading(old, zeros, stamp_ns, ("bad_joint_states",))
    if _is_jump(config, old, measured, joints):
        return Reading(old, zeros, stamp_ns, ("bad_joint_states",))
    return Reading(measured, 0, stamp_ns)


def _is_failed_read(joints: Any) -> bool:
    """Return whether every joint reads raw 0, as zeros or as -pi."""
    if not isinstance(joints, np.ndarray) or joints.shape != (NUM_JOINTS,):
        return False
    if joints.dtype.kind != "f":
        return False
    first = float(joints[0])
    is_raw_zero = first == 0.0 or abs(first + np.pi) < _RAW_ZERO_SLACK_RAD
    return is_raw_zero and bool((joints == first).all())


def _six_numbers(joints: Any) -> list[float] | None:
    """Return the joints as six floats inside the possible range, or None."""
    if not isinstance(joints, np.ndarray) or joints.shape != (NUM_JOINTS,):
        return None
    if joints.dtype.kind != "f":
        return None
    numbers: list[float] = joints.tolist()
    for value, low, high in zip(numbers, _LOWER, _UPPER, strict=True):
        if not low <= value <= high:
            return None
    return numbers


def _is_finite(value: Any) -> bool:
    """Return whether a finger position is a number of metres at all."""
    return isinstance(value, float | int | np.floating) and -1.0 < float(value) < 1.0


def _is_jump(config: GuardConfig, before: Measured, after: Measured, joints: list[float]) -> bool:
    dt_s = (after.stamp_ns - before.stamp_ns) * 1e-9
    limit = config.max_jump_speed_radps * dt_s * 1.5 + config.jump_margin_rad
    pairs = zip(joints, before.joints_rad.tolist(), strict=True)
    return any(abs(new - old) > limit for new, old in pairs)


def is_policy_silent(config: GuardConfig, inputs: GuardInputs, now_ns: int) -> bool:
    """Return whether the inference loop has shown no life lately; a future stamp is no life."""
    alive_ns = inputs.policy_alive_ns
    if alive_ns is None or alive_ns > now_ns + to_ns(config.max_future_s):
        return True
    return now_ns - alive_ns > to_ns(config.max_policy_silence_s)


def is_starved(config: GuardConfig, state: GuardState, now_ns: int) -> bool:
    """Return whether the step in force ran out without a successor."""
    return now_ns > state.expires_ns + to_ns(config.max_late_s)
