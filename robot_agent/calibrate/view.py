# ruff: noqa: N803, N806 - T_base_camera and its kin keep the names of the formulas
"""How far the camera's view is from the one of the Bridge data, and an overlay of both."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from robot_agent.calibrate.gates import Gate
from robot_agent.calibrate.hand_eye import pose_error
from robot_agent.calibrate.intrinsics import Intrinsics
from robot_agent.calibrate.poses import bridge_camera
from robot_agent.core.types import FloatArray, ImageArray

MAX_SHIFT_M, MAX_TURN_DEG, MAX_APART_PX = 0.05, 6.0, 45.0
"""Bridge's own cameras stand 25 to 60 mm apart from one another; 45 px are 7 % of the picture.

Source: the three placements of SimplerEnv (widowx defaults), for the first number.
"""
_GRID_X_M, _GRID_Y_M = (0.15, 0.25, 0.35, 0.45), (-0.15, -0.05, 0.05, 0.15)
_LIVE, _WANTED = (255, 220, 0), (0, 255, 0)


@dataclass(frozen=True, eq=False)
class ViewResult:
    """The present view against the reference."""

    shift_m: FloatArray
    """Where the camera must go (3,), in its own axes: right, down, forward."""
    turn_deg: FloatArray
    """How it must turn (3,), about its own axes: nod up, look right, roll clockwise."""
    apart_m: float
    apart_deg: float
    apart_px: float
    """Rms distance of places on the table between both pictures."""
    focal_ratio: float
    """Width of the present field of view's focal length over the reference's."""

    @property
    def gates(self) -> tuple[Gate, ...]:
        """Limits of go or no-go."""
        return (
            Gate("camera position", 1e3 * self.apart_m, 1e3 * MAX_SHIFT_M, "mm", self.advice),
            Gate("camera direction", self.apart_deg, MAX_TURN_DEG, "deg", self.advice),
            Gate("table in the picture", self.apart_px, MAX_APART_PX, "px", self.advice),
        )

    @property
    def advice(self) -> str:
        """What to do with the camera, in words."""
        right, down, forward = 1e3 * self.shift_m
        nod, look, roll = self.turn_deg
        return (
            f"move it {abs(right):.0f} mm {'right' if right > 0 else 'left'}, "
            f"{abs(down):.0f} mm {'down' if down > 0 else 'up'}, "
            f"{abs(forward):.0f} mm {'forward' if forward > 0 else 'back'}; turn it "
            f"{abs(nod):.1f} degrees {'up' if nod > 0 else 'down'}, "
            f"{abs(look):.1f} {'right' if look > 0 else 'left'}, "
            f"{abs(roll):.1f} {'clockwise' if roll > 0 else 'counter-clockwise'}."
        )


def reference_intrinsics() -> Intrinsics:
    """Return the lens of the reference: a Logitech C920 at 640 x 480.

    Source: SimplerEnv (ManiSkill2_real2sim, agents/configs/widowx/defaults.py).
    """
    K = np.array([[623.588, 0.0, 319.501], [0.0, 623.588, 239.545], [0.0, 0.0, 1.0]])
    return Intrinsics(K, np.zeros(5), (640, 480))


def compare_view(
    T_base_camera: FloatArray, intrinsics: Intrinsics, T_base_reference: FloatArray | None = None
) -> ViewResult:
    """Return how far a calibrated camera is from the reference view.

    Args:
        T_base_camera: The hand-eye result (4, 4).
        intrinsics: The lens, at any picture size.
        T_base_reference: The wanted place; Bridge's when None.
    """
    T_reference = bridge_camera() if T_base_reference is None else T_base_reference
    T_camera_reference = np.linalg.inv(T_base_camera) @ T_reference
    turn, _ = cv2.Rodrigues(T_camera_reference[:3, :3])
    apart_m, apart_deg = pose_error(T_base_camera, T_reference)
    reference = reference_intrinsics()
    scale = np.array(reference.size_px) / np.array(intrinsics.size_px)
    live = _seen(T_base_camera, intrinsics) * scale
    apart = live - _seen(T_reference, reference)
    return ViewResult(
        shift_m=T_camera_reference[:3, 3],
        turn_deg=np.degrees(np.asarray(turn, np.float64).reshape(3)),
        apart_m=apart_m,
        apart_deg=apart_deg,
        apart_px=float(np.sqrt(np.mean(np.sum(apart**2, axis=1)))),
        focal_ratio=float(intrinsics.K[0, 0] * scale[0] / reference.K[0, 0]),
    )


def overlay(
    live_hwc: ImageArray,
    reference_hwc: ImageArray | None,
    T_base_camera: FloatArray,
    intrinsics: Intrinsics,
) -> ImageArray:
    """Return the live picture (480, 640, 3) with the reference over it.

    Green are edges of the reference picture and the grid on the table as the reference sees it;
    yellow is the same grid as this camera sees it.
    """
    reference = reference_intrinsics()
    width, height = reference.size_px
    canvas: Any = cv2.resize(live_hwc, (width, height), interpolation=cv2.INTER_AREA)
    if reference_hwc is not None:
        gray: Any = cv2.cvtColor(cv2.resize(reference_hwc, (width, height)), cv2.COLOR_RGB2GRAY)
        canvas[cv2.Canny(gray, 60, 160) > 0] = _WANTED
    scale = np.array(reference.size_px) / np.array(intrinsics.size_px)
    _draw_grid(canvas, _seen(bridge_camera(), reference), _WANTED)
    _draw_grid(canvas, _seen(T_base_camera, intrinsics) * scale, _LIVE)
    return np.asarray(canvas, np.uint8)


def _seen(T_base_camera: FloatArray, intrinsics: Intrinsics) -> FloatArray:
    """Return the pixels (16, 2) of a grid on the table, x running fastest."""
    grid = np.array([[x, y, 0.0] for y in _GRID_Y_M for x in _GRID_X_M])
    R, p = T_base_camera[:3, :3], T_base_camera[:3, 3]
    return intrinsics.project((grid - p) @ R)


def _draw_grid(canvas: Any, pixels: FloatArray, color: tuple[int, int, int]) -> None:
    grid = np.round(pixels).astype(int).reshape(len(_GRID_Y_M), len(_GRID_X_M), 2)
    for line in (*grid, *grid.transpose(1, 0, 2)):
        cv2.polylines(canvas, [line.reshape(-1, 1, 2)], isClosed=False, color=color, thickness=1)
