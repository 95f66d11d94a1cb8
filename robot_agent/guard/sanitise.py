"""Decides whether a proposal is seven numbers at all, and clips it to the Box of one step."""

from typing import Any

import numpy as np

from robot_agent.core.bridge_action import STEP_LIMIT_M, STEP_LIMIT_RAD
from robot_agent.core.types import ACTION_DIM, FloatArray
from robot_agent.guard.limits import HUGE_FACTOR, HUGE_GRIPPER, GuardConfig

_HUGE = HUGE_FACTOR * np.array([STEP_LIMIT_M] * 3 + [STEP_LIMIT_RAD] * 3)


def sanitise(proposed: Any) -> tuple[FloatArray | None, str | None]:
    """Return the action as float64 (7,) and None, or what could be read and why it is refused.

    Numbers that are not finite are refused, never repaired. The cause is `malformed`,
    `non_finite` or `huge_action`; the action is None when it was not seven real numbers.
    """
    if not isinstance(proposed, np.ndarray) or proposed.shape != (ACTION_DIM,):
        return None, "malformed"
    if proposed.dtype.kind not in "fiu":
        return None, "malformed"
    with np.errstate(over="ignore", under="ignore"):
        action = np.array(proposed, dtype=np.float64)
    if not np.isfinite(action).all():
        return action, "non_finite"
    low, high = HUGE_GRIPPER
    if (np.abs(action[:6]) > _HUGE).any() or not low <= action[6] <= high:
        return action, "huge_action"
    return action, None


def clip_to_box(config: GuardConfig, action: FloatArray) -> tuple[FloatArray, tuple[str, ...]]:
    """Return the action inside the Box of one step, and in words what was changed.

    The translation keeps its direction: it is shortened until no component exceeds `max_step_m`
    and its length is at most `max_tool_speed_mps` x 0.2 s. Bridge clips each component alone,
    which bends the path; inside the Box both are the same. Rotation is clipped per axis, as in
    Bridge: small angles about three axes are not a direction that could be kept.

    Source: bridge_data_robot, robot_base_env.py, `step` (the Box).
    """
    clipped, changes = action.copy(), []
    largest_m = float(np.abs(action[:3]).max())
    length_m = float(np.sqrt(action[:3] @ action[:3]))
    scale = 1.0
    if largest_m > config.max_step_m:
        scale = config.max_step_m / largest_m
        changes.append(f"step {largest_m:.3f} m is over {config.max_step_m} m: shortened")
    if length_m * scale > config.max_translation_m:
        scale = config.max_translation_m / length_m
        changes.append(
            f"tool speed {length_m * 5:.2f} m/s is over {config.max_tool_speed_mps} m/s: shortened"
        )
    if scale < 1.0:
        clipped[:3] *= scale
    largest_rad = float(np.abs(action[3:6]).max())
    if largest_rad > config.max_step_rad:
        clipped[3:6] = np.clip(action[3:6], -config.max_step_rad, config.max_step_rad)
        changes.append(f"turn {largest_rad:.3f} rad is over {config.max_step_rad} rad: clipped")
    if not 0.0 <= action[6] <= 1.0:
        clipped[6] = min(max(float(action[6]), 0.0), 1.0)
        changes.append(f"gripper {float(action[6]):.2f} is outside [0, 1]: clipped")
    return clipped, tuple(changes)
