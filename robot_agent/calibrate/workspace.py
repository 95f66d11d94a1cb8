"""Box and table taught by touching: limits for the guard, never looser than its own."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import yaml

from robot_agent.calibrate.gates import Gate
from robot_agent.core import wx250s
from robot_agent.core.errors import CalibrationError
from robot_agent.core.types import NUM_JOINTS, FloatArray, require_array
from robot_agent.guard.limits import GuardConfig

MIN_TABLE_POINTS, MIN_BOX_POINTS = 4, 2
MAX_PLANE_RMS_M = 0.006
"""The arm's own accuracy is 5 to 8 mm; a flat table within it shows no more."""
MAX_TILT_DEG = 3.0
MIN_SPREAD_M = 0.10
CLEARANCE_M = 0.003
"""How far the finger tips stay above what they touched."""


@dataclass(frozen=True, eq=False)
class WorkspaceResult:
    """Table plane and box of the tool point, base_link."""

    plane: tuple[float, float, float]
    """a, b, c of z = a x + b y + c, the tool's height when the finger tips touch."""
    plane_rms_m: float
    tilt_deg: float
    spread_m: float
    """Smaller extent of the touched places: a line is no plane."""
    box_low_m: tuple[float, float, float]
    box_high_m: tuple[float, float, float]
    table_height_m: float
    """For the guard: its margin above this is the lowest tool point."""
    changes: tuple[str, ...]
    """Where the guard's own limit was tighter than what was taught."""

    @property
    def gates(self) -> tuple[Gate, ...]:
        """Limits that decide whether it is saved."""
        again = "touch the table again with closed fingers pointing straight down."
        return (
            Gate("table plane rms", 1e3 * self.plane_rms_m, 1e3 * MAX_PLANE_RMS_M, "mm", again),
            Gate("table tilt", self.tilt_deg, MAX_TILT_DEG, "deg", "level it. " + again),
            Gate("spread of the touches", self.spread_m, MIN_SPREAD_M, "m", again, is_floor=True),
        )  # fmt: skip

    def limits(self) -> dict[str, object]:
        """Return the keys of `GuardConfig` that were taught."""
        return {
            "box_low_m": list(self.box_low_m),
            "box_high_m": list(self.box_high_m),
            "table_height_m": self.table_height_m,
        }

    def limits_yaml(self) -> str:
        """Return the text of a file for the guard's `limits_file`."""
        head = "# Taught by touching: robot-agent calibrate workspace. It tightens the guard's."
        return f"{head}\n" + yaml.safe_dump(self.limits(), sort_keys=False)


def solve_workspace(
    table_rad: Sequence[FloatArray],
    box_rad: Sequence[FloatArray],
    limits: GuardConfig,
    clearance_m: float = CLEARANCE_M,
) -> WorkspaceResult:
    """Return plane and box from the joints at which the tool touched.

    Args:
        table_rad: Joints (6,) with the finger tips on the table, at four places or more.
        box_rad: Joints (6,) with the tool at corners of the wanted box, two or more.
        limits: The guard's present limits; the box is cut to them.
        clearance_m: How far the tips stay above the table.

    Raises:
        CalibrationError: Too few touches, or no room is left between them.
    """
    _require_touches("table", table_rad, MIN_TABLE_POINTS)
    _require_touches("box", box_rad, MIN_BOX_POINTS)
    table_m, box_m = _tool_points("table", table_rad), _tool_points("box", box_rad)
    plane, rms_m = _fit_plane(table_m)
    corners = np.array([[x, y] for x in _ends(box_m[:, 0]) for y in _ends(box_m[:, 1])])
    top_m = float((corners @ plane[:2] + plane[2]).max()) + clearance_m
    wanted_low, wanted_high = box_m.min(axis=0), box_m.max(axis=0)
    wanted_low[2] = top_m
    low = np.maximum(wanted_low, np.array(limits.box_low_m))
    high = np.minimum(wanted_high, np.array(limits.box_high_m))
    if (high - low < 0.02).any():
        raise CalibrationError(
            f"workspace: the box from {np.round(low, 3)} to {np.round(high, 3)} m leaves less "
            f"than 0.02 m on a side. Touch corners that lie farther apart, one of them high."
        )
    centred = table_m[:, :2] - table_m[:, :2].mean(axis=0)
    return WorkspaceResult(
        plane=(float(plane[0]), float(plane[1]), float(plane[2])),
        plane_rms_m=rms_m,
        tilt_deg=float(np.degrees(np.arctan(np.hypot(plane[0], plane[1])))),
        spread_m=float(2.0 * np.linalg.svd(centred, compute_uv=False)[1] / np.sqrt(len(centred))),
        box_low_m=_point(low),
        box_high_m=_point(high),
        table_height_m=round(float(low[2]) - limits.table_margin_m, 6),
        changes=_cuts(wanted_low, low) + _cuts(wanted_high, high),
    )


def _require_touches(name: str, joints_rad: Sequence[FloatArray], least: int) -> None:
    if len(joints_rad) < least:
        raise CalibrationError(
            f"workspace: {len(joints_rad)} touches of the {name}, must be at least {least}. "
            f"Teach more of them."
        )


def _tool_points(name: str, joints_rad: Sequence[FloatArray]) -> FloatArray:
    points = []
    for joints in joints_rad:
        q = require_array(f"workspace {name} touch", joints, (NUM_JOINTS,))
        if (q < wx250s.JOINT_LOWER_RAD).any() or (q > wx250s.JOINT_UPPER_RAD).any():
            raise CalibrationError(
                f"workspace: joints {np.round(q, 3)} are outside the limits of a wx250s. "
                f"Are they in radians?"
            )
        points.append(wx250s.forward(q)[:3, 3])
    return np.stack(points)


def _fit_plane(points_m: FloatArray) -> tuple[FloatArray, float]:
    left = np.column_stack([points_m[:, :2], np.ones(len(points_m))])
    found = np.linalg.lstsq(left, points_m[:, 2], rcond=None)[0]
    plane: FloatArray = np.asarray(found, np.float64)
    return plane, float(np.sqrt(np.mean((left @ plane - points_m[:, 2]) ** 2)))


def _ends(values: FloatArray) -> tuple[float, float]:
    return float(values.min()), float(values.max())


def _point(p_m: FloatArray) -> tuple[float, float, float]:
    x, y, z = (round(float(value), 6) for value in p_m)
    return x, y, z


def _cuts(wanted: FloatArray, kept: FloatArray) -> tuple[str, ...]:
    return tuple(
        f"{axis}: taught {w:.3f} m, the guard's limit {k:.3f} m stays"
        for axis, w, k in zip("xyz", wanted, kept, strict=True)
        if abs(w - k) > 1e-9
    )
