# ruff: noqa: N806 - T and its kin keep the names of the formulas
"""What every device says, and the seam that all devices share."""

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from robot_agent.core.errors import InputError
from robot_agent.core.types import FloatArray, require_array

STEP_S: Final = 0.2
"""A sample's motion is what the operator wants per 0.2 s, the step of a Bridge action."""
EVENTS: Final = ("success", "failure", "discard", "re_record", "stop")
"""What an operator can say besides moving: judgements of the episode, and stop."""


@dataclass(frozen=True, eq=False)
class OperatorSample:
    """One reading of a device."""

    stamp_ns: int
    """When the device last gave a sign of life, monotonic."""
    delta: FloatArray
    """Wanted motion per 0.2 s (6,): metres and radians in base axes, as in a Bridge action."""
    gripper: float | None
    """Wanted opening, 0 to 1; None leaves the gripper as it is."""
    deadman: bool
    """True while the operator holds the enabling control."""
    event: str = ""
    """One of EVENTS, or nothing."""


@dataclass(frozen=True, eq=False)
class ToolView:
    """What the guard says of the arm: devices that follow a pose need it."""

    T_base_tool: FloatArray
    """Commanded tool pose (4, 4)."""
    gripper: float
    """Commanded opening, 0 to 1."""
    is_operated: bool
    """Whether the guard has given control to the operator."""


class Device(Protocol):
    """A device of an operator. Raw input is handed in by whoever can read it."""

    def poll(self, now_ns: int, tool: ToolView | None) -> OperatorSample | None:
        """Return what the operator wants at `now_ns`; None before the device's first sign."""


def require_finite(name: str, values: FloatArray) -> FloatArray:
    """Return a flat array of finite numbers.

    Raises:
        InputError: A number is NaN or infinite. Such a reading is no sign of life.
    """
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise InputError(f"{name}: {array.tolist()} must be finite numbers. Check the device.")
    return array


def require_pose(name: str, position_m: FloatArray, q_xyzw: FloatArray) -> FloatArray:
    """Return T (4, 4) of a position (3,) [m] and a quaternion (4,) in the order of ROS.

    Raises:
        InputError: A number is not finite, or the quaternion is none.
    """
    p = require_array(name, np.asarray(position_m, np.float64), (3,))
    x, y, z, w = require_array(name, np.asarray(q_xyzw, np.float64), (4,))
    norm = float(np.sqrt(x * x + y * y + z * z + w * w))
    if not 0.9 < norm < 1.1:
        raise InputError(f"{name}: quaternion has length {norm:.3f}, must be 1. Check the device.")
    x, y, z, w = x / norm, y / norm, z / norm, w / norm
    T = np.eye(4)
    T[:3, :3] = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)),
        (2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)),
        (2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)),
    )
    T[:3, 3] = p
    return T
