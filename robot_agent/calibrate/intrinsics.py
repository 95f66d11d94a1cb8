# ruff: noqa: N803, N806 - K, R and T keep the names of the formulas
"""What the camera's lens does: focal lengths, centre and distortion from pictures of the board."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from robot_agent.calibrate.board import Corners
from robot_agent.calibrate.gates import Gate
from robot_agent.core.errors import CalibrationError
from robot_agent.core.geometry import pose, rotation_from_vector, vector_from_rotation
from robot_agent.core.types import FloatArray

MAX_RMS_PX = 1.0
MIN_VIEWS = 12
MIN_COVERAGE = 0.6
MAX_FOCAL_DEVIATION = 0.01
MIN_TILT_DEG = 25.0
_GRID = 4
"""The picture is divided into 4 x 4 cells to say how much of it was seen."""


@dataclass(frozen=True, eq=False)
class Intrinsics:
    """A pinhole camera with the distortion of Brown, as OpenCV and ROS `plumb_bob` have it."""

    K: FloatArray
    """Matrix (3, 3) [px]; whole numbers are centres of pixels."""
    distortion: FloatArray
    """k1 k2 p1 p2 k3 (5,)."""
    size_px: tuple[int, int]
    """Width and height of the picture that this is valid for."""

    def project(self, p_camera_m: FloatArray) -> FloatArray:
        """Return pixels (N, 2) of points (N, 3) [m] in the optical frame.

        Source: OpenCV, `projectPoints`.
        """
        x, y = (p_camera_m[:, :2] / p_camera_m[:, 2:]).T
        k1, k2, p1, p2, k3 = self.distortion
        r2 = x * x + y * y
        radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))
        xd = x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x)
        yd = y * radial + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y
        return np.stack(
            [self.K[0, 0] * xd + self.K[0, 2], self.K[1, 1] * yd + self.K[1, 2]], axis=1
        )


@dataclass(frozen=True, eq=False)
class IntrinsicsResult:
    """The lens and how well it is known."""

    intrinsics: Intrinsics
    rms_px: float
    worst_view_px: float
    """Largest root mean square of one picture."""
    focal_deviation: float
    """Standard deviation of the focal length over its value."""
    num_views: int
    coverage: float
    """Share of the picture's cells in which a corner was seen."""
    tilt_deg: float
    """Largest angle between two views of the board: without it focal length is guessed."""

    @property
    def gates(self) -> tuple[Gate, ...]:
        """Limits that decide whether it is saved."""
        more = "show the board in more places of the picture, near and far, tilted both ways."
        return (
            Gate("reprojection rms", self.rms_px, MAX_RMS_PX, "px", "is the board flat? " + more),
            Gate("usable pictures", self.num_views, MIN_VIEWS, "", more, is_floor=True),
            Gate(
                "share of the picture seen", self.coverage, MIN_COVERAGE, "", more, is_floor=True
            ),
            Gate("spread of the board's tilt", self.tilt_deg, MIN_TILT_DEG, "deg", more, True),
            Gate("focal length's deviation", self.focal_deviation, MAX_FOCAL_DEVIATION, "", more),
        )


def solve_intrinsics(views: Sequence[Corners], size_px: tuple[int, int]) -> IntrinsicsResult:
    """Return the lens that explains the corners of many pictures best.

    Views with too few corners are left out. k3 stays 0: a picture of 640 pixels cannot tell it.

    Args:
        views: Corners of one picture each.
        size_px: Width and height of the pictures.

    Raises:
        CalibrationError: Fewer than four usable pictures.
    """
    usable = [view for view in views if view.is_enough]
    if len(usable) < 4:
        raise CalibrationError(
            f"camera: the board was found in {len(usable)} of {len(views)} pictures, must be at "
            f"least 4. Is it the board of `calibrate board`, flat, lit and sharp?"
        )
    objects = [view.points_m.astype(np.float32) for view in usable]
    pictures = [view.pixels.astype(np.float32) for view in usable]
    none = np.zeros((3, 3)), np.zeros(5)
    found = cv2.calibrateCameraExtended(objects, pictures, size_px, *none, flags=cv2.CALIB_FIX_K3)
    rms, K, distortion, turns, _, deviations, _, per_view = found
    rotations = [_rotation(turn) for turn in turns]
    return IntrinsicsResult(
        intrinsics=Intrinsics(_floats(K), _floats(distortion).reshape(-1)[:5], size_px),
        rms_px=float(rms),
        worst_view_px=float(np.max(per_view)),
        focal_deviation=float(np.asarray(deviations).reshape(-1)[0] / K[0, 0]),
        num_views=len(usable),
        coverage=coverage(usable, size_px),
        tilt_deg=_tilt_deg(rotations),
    )


def coverage(views: Sequence[Corners], size_px: tuple[int, int]) -> float:
    """Return the share of 4 x 4 cells of the picture in which a corner was seen."""
    pixels = np.concatenate([view.pixels for view in views])
    cells = np.clip((pixels / np.array(size_px) * _GRID).astype(int), 0, _GRID - 1)
    return len(np.unique(cells, axis=0)) / _GRID**2


def _tilt_deg(rotations: Sequence[FloatArray]) -> float:
    """Return the largest angle between the board's normals [deg]."""
    normals = np.stack([R[:, 2] for R in rotations])
    return float(np.degrees(np.arccos(np.clip(normals @ normals.T, -1.0, 1.0).min())))


def board_pose(corners: Corners, intrinsics: Intrinsics) -> tuple[FloatArray, float]:
    """Return T_camera_board (4, 4) and its reprojection rms [px].

    Both poses that a plane allows are tried and the better one is refined.

    Raises:
        CalibrationError: The corners do not fix a pose.
    """
    if not corners.is_enough:
        raise CalibrationError(
            f"board: {corners.count} corners, must be at least 6, not all on a line. "
            f"Let the camera see more of the board."
        )
    given = (corners.points_m, corners.pixels, intrinsics.K, intrinsics.distortion)
    _, turns, shifts, _ = cv2.solvePnPGeneric(*given, flags=cv2.SOLVEPNP_IPPE)
    best, smallest = np.eye(4), np.inf
    for turn, shift in zip(turns, shifts, strict=True):
        refined = cv2.solvePnPRefineLM(*given, turn, shift)
        T = pose(_rotation(refined[0]), _floats(refined[1]).reshape(3))
        error = reprojection_px(corners, intrinsics, T)
        if error < smallest:
            best, smallest = T, error
    return best, smallest


def reprojection_px(corners: Corners, intrinsics: Intrinsics, T_camera_board: FloatArray) -> float:
    """Return the rms distance [px] of the seen corners from where the pose puts them."""
    p = corners.points_m @ T_camera_board[:3, :3].T + T_camera_board[:3, 3]
    apart = intrinsics.project(p) - corners.pixels
    return float(np.sqrt(np.mean(np.sum(apart**2, axis=1))))


def angle_deg(R: FloatArray) -> float:
    """Return the angle of a rotation (3, 3) in degrees."""
    return float(np.degrees(np.linalg.norm(vector_from_rotation(R))))


def _rotation(turn: Any) -> FloatArray:
    return rotation_from_vector(_floats(turn).reshape(3))


def _floats(array: Any) -> FloatArray:
    return np.asarray(array, np.float64)
