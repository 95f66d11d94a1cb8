# ruff: noqa: N803, N806 - T_base_camera and its kin keep the names of the formulas
"""Where a fixed camera stands in base_link: a pure function of joints, board corners and lens."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from robot_agent.calibrate import hand_eye_solvers
from robot_agent.calibrate.board import Corners
from robot_agent.calibrate.gates import Gate
from robot_agent.calibrate.intrinsics import Intrinsics, angle_deg, board_pose
from robot_agent.calibrate.least_squares import minimise
from robot_agent.core import wx250s
from robot_agent.core.errors import CalibrationError
from robot_agent.core.geometry import pose, rotation_from_vector, vector_from_rotation
from robot_agent.core.types import FloatArray

MIN_POSES = 15
MIN_SPREAD_DEG = 30.0
MAX_REPROJECTION_PX = 3.0
MAX_HELD_OUT_M = 0.010
MAX_HELD_OUT_DEG = 2.0
HELD_OUT_EVERY = 4
"""Every fourth pose judges the solution and takes no part in it."""
OFFSET_SIGMA_RAD = 0.01
"""How far the zeros of the encoders are believed to be off: 5 mm at half a metre.

Source: Interbotix, specifications of the wx250s: accuracy 5 to 8 mm.
"""
PIXEL_SIGMA = 0.3
"""How far a corner is believed to be off [px]."""
_OFFSET_JOINTS = slice(1, 5)
"""Shoulder to wrist_angle. The waist's zero turns base_link itself, and that of wrist_rotate the
board on the hand: no picture tells them."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One pose at rest."""

    joints_rad: FloatArray
    """Measured joints (6,)."""
    corners: Corners


@dataclass(frozen=True, eq=False)
class Candidate:
    """The answer of one method."""

    method: str
    T_base_camera: FloatArray
    T_tool_board: FloatArray
    offsets_rad: FloatArray
    """What the encoders read above the truth (6,); zeros unless refined."""
    rms_px: float
    """Over the poses that it was solved from."""
    held_out_m: float
    """How far held-out boards stand from where the arm says, rms."""
    held_out_deg: float
    held_out_px: float


@dataclass(frozen=True, eq=False)
class HandEyeResult:
    """The camera's place, every method's answer, and how far they can be trusted."""

    best: Candidate
    candidates: tuple[Candidate, ...]
    num_poses: int
    num_held_out: int
    spread_deg: tuple[float, float, float]
    """Spread of the tool's rotation about its three main axes, largest first."""
    failed: tuple[str, ...] = field(default=())
    """Methods without an answer."""

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Plain numbers of each method, for tables and JSON."""
        return [
            {
                "method": one.method,
                "rms_px": one.rms_px,
                "held_out_mm": 1e3 * one.held_out_m,
                "held_out_deg": one.held_out_deg,
                "held_out_px": one.held_out_px,
            }
            for one in self.candidates
        ]

    @property
    def gates(self) -> tuple[Gate, ...]:
        """Limits that decide whether it is saved."""
        slip = "did board or camera slip, is the lens calibrated, is the board's size as printed?"
        turn = "turn the hand more about two axes."
        best = self.best
        return (
            Gate("poses", self.num_poses, MIN_POSES, "", "let more poses see the board.", True),
            Gate("rotation, second axis", self.spread_deg[1], MIN_SPREAD_DEG, "deg", turn, True),
            Gate("reprojection rms", best.rms_px, MAX_REPROJECTION_PX, "px", slip),
            Gate("held-out position", 1e3 * best.held_out_m, 1e3 * MAX_HELD_OUT_M, "mm", slip),
            Gate("held-out rotation", best.held_out_deg, MAX_HELD_OUT_DEG, "deg", slip),
        )  # fmt: skip


def solve_hand_eye(samples: Sequence[Sample], intrinsics: Intrinsics) -> HandEyeResult:
    """Return T_base_camera by every solver and by refinement, judged on held-out poses.

    The closed forms answer first. Refinement starts at the best of them and moves camera, board
    and the zeros of four encoders until corners fall where they were seen; it is used only if it
    serves held-out poses better.

    Args:
        samples: Joints and corners of poses at rest; those that see too little are left out.
        intrinsics: The lens.

    Raises:
        CalibrationError: Too few poses see the board, or no method has an answer.
    """
    usable = [sample for sample in samples if sample.corners.is_enough]
    if len(usable) < 6:
        raise CalibrationError(
            f"hand-eye: the board was found at {len(usable)} of {len(samples)} poses, must be at "
            f"least 6. Does the camera see the board, is it the one that was printed?"
        )
    held_out = [s for k, s in enumerate(usable) if k % HELD_OUT_EVERY == HELD_OUT_EVERY - 1]
    used = [s for k, s in enumerate(usable) if k % HELD_OUT_EVERY != HELD_OUT_EVERY - 1]
    seen = _Seen(used, intrinsics)
    candidates, failed = _closed_forms(seen, _Seen(held_out, intrinsics))
    if not candidates:
        raise CalibrationError(
            "hand-eye: no solver has an answer. The poses do not turn the hand enough: turn it by "
            "30 degrees about two axes."
        )
    start = min(candidates, key=_cost)
    refined = _refine(start, seen, _Seen(held_out, intrinsics))
    everything = (*candidates, refined)
    return HandEyeResult(
        best=min(everything, key=_cost),
        candidates=everything,
        num_poses=len(usable),
        num_held_out=len(held_out),
        spread_deg=rotation_spread_deg([wx250s.forward(s.joints_rad)[:3, :3] for s in usable]),
        failed=tuple(failed),
    )


def rotation_spread_deg(rotations: Sequence[FloatArray]) -> tuple[float, float, float]:
    """Return how far rotations (3, 3) spread about their main axes, largest first [deg]."""
    vectors = np.stack([vector_from_rotation(R @ rotations[0].T) for R in rotations])
    centred = vectors - vectors.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2]
    along = centred @ axes.T
    a, b, c = np.degrees(np.sort(along.max(axis=0) - along.min(axis=0))[::-1])
    return float(a), float(b), float(c)


class _Seen:
    """Samples with what is computed once: board poses, corners in one array."""

    def __init__(self, samples: Sequence[Sample], intrinsics: Intrinsics) -> None:
        self.intrinsics, self.samples = intrinsics, samples
        self.T_camera_board = [board_pose(s.corners, intrinsics)[0] for s in samples]
        counts = [s.corners.count for s in samples]
        self._sample_of = np.repeat(np.arange(len(samples)), counts)
        self._points_m = np.concatenate([s.corners.points_m for s in samples])
        self._pixels = np.concatenate([s.corners.pixels for s in samples])
        self._offsets_rad: FloatArray = np.full(6, np.nan)
        self._T_base_tool: FloatArray = np.zeros((len(samples), 4, 4))

    def tool_poses(self, offsets_rad: FloatArray) -> FloatArray:
        """Return T_base_tool (S, 4, 4); the last ones are kept, as few unknowns move them."""
        if not np.array_equal(offsets_rad, self._offsets_rad):
            poses = [wx250s.forward(s.joints_rad - offsets_rad) for s in self.samples]
            self._offsets_rad, self._T_base_tool = offsets_rad.copy(), np.stack(poses)
        return self._T_base_tool

    def residuals_px(
        self, T_base_camera: FloatArray, T_tool_board: FloatArray, offsets_rad: FloatArray
    ) -> FloatArray:
        """Return where corners must be minus where they were seen, all (2 N,)."""
        T = np.linalg.inv(T_base_camera) @ self.tool_poses(offsets_rad) @ T_tool_board
        of_corner = T[self._sample_of]
        p = np.einsum("nij,nj->ni", of_corner[:, :3, :3], self._points_m) + of_corner[:, :3, 3]
        residuals: FloatArray = (self.intrinsics.project(p) - self._pixels).ravel()
        return residuals


def _cost(candidate: Candidate) -> float:
    """Weigh a degree like 5 mm: what it moves at 0.3 m."""
    return candidate.held_out_m + candidate.held_out_deg * 0.005


def _closed_forms(seen: _Seen, held_out: _Seen) -> tuple[list[Candidate], list[str]]:
    none, found, failed = np.zeros(6), [], []
    T_base_tool = list(seen.tool_poses(none))
    for method in hand_eye_solvers.METHODS:
        try:
            with np.errstate(divide="ignore", invalid="ignore"):  # too little motion: no answer
                T = hand_eye_solvers.solve(method, T_base_tool, seen.T_camera_board)
        except (np.linalg.LinAlgError, cv2.error):
            T = np.full((4, 4), np.nan)
        if not np.isfinite(T).all():
            failed.append(method)
            continue
        T_tool_board = _mean_pose(
            [
                np.linalg.inv(a) @ T @ b
                for a, b in zip(T_base_tool, seen.T_camera_board, strict=True)
            ]
        )
        found.append(_judge(method, (T, T_tool_board, none), seen, held_out))
    return found, failed


def _judge(
    method: str,
    solution: tuple[FloatArray, FloatArray, FloatArray],
    seen: _Seen,
    held_out: _Seen,
) -> Candidate:
    T_base_camera, T_tool_board, offsets_rad = solution
    apart_m, apart_deg = [], []
    for T_base_tool, T_camera_board in zip(
        held_out.tool_poses(offsets_rad), held_out.T_camera_board, strict=True
    ):
        by_camera, by_arm = T_base_camera @ T_camera_board, T_base_tool @ T_tool_board
        apart_m.append(np.linalg.norm(by_camera[:3, 3] - by_arm[:3, 3]))
        apart_deg.append(angle_deg(by_camera[:3, :3].T @ by_arm[:3, :3]))
    return Candidate(
        method=method,
        T_base_camera=T_base_camera,
        T_tool_board=T_tool_board,
        offsets_rad=offsets_rad,
        rms_px=_rms_px(seen.residuals_px(*solution)),
        held_out_m=float(np.sqrt(np.mean(np.square(apart_m)))),
        held_out_deg=float(np.sqrt(np.mean(np.square(apart_deg)))),
        held_out_px=_rms_px(held_out.residuals_px(*solution)),
    )


def _rms_px(residuals: FloatArray) -> float:
    return float(np.sqrt(np.mean(np.sum(residuals.reshape(-1, 2) ** 2, axis=1))))


def _refine(start: Candidate, seen: _Seen, held_out: _Seen) -> Candidate:
    """Minimise the distance in pixels over camera, board and four encoder zeros.

    Twice: the corners of one picture are off together when the hand slipped, so a picture counts
    as the six numbers of a pose, as uncertain as the first pass left them.
    """

    def unpack(x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        offsets = np.zeros(6)
        offsets[_OFFSET_JOINTS] = x[12:]
        return _moved(start.T_base_camera, x[:6]), _moved(start.T_tool_board, x[6:12]), offsets

    def solve(x: FloatArray, sigma_px: float) -> FloatArray:
        def residuals(x: FloatArray) -> FloatArray:
            return np.concatenate(
                [seen.residuals_px(*unpack(x)) / sigma_px, x[12:] / OFFSET_SIGMA_RAD]
            )

        return minimise(residuals, x).x

    x = solve(np.zeros(16), PIXEL_SIGMA)
    left_px = seen.residuals_px(*unpack(x))
    per_picture = len(left_px) / len(seen.samples)
    x = solve(x, float(np.sqrt(np.mean(left_px**2) * per_picture / 6.0)) + 1e-3)
    return _judge("REFINED", unpack(x), seen, held_out)


def _moved(T: FloatArray, x: FloatArray) -> FloatArray:
    """Return T turned by a rotation vector and shifted, x = [w | p] (6,)."""
    return pose(rotation_from_vector(x[:3]) @ T[:3, :3], T[:3, 3] + x[3:])


def _mean_pose(poses: Sequence[FloatArray]) -> FloatArray:
    """Return the chordal mean of rotations and the mean of positions."""
    U, _, Vt = np.linalg.svd(np.sum([T[:3, :3] for T in poses], axis=0))
    R = U @ np.diag([1.0, 1.0, np.linalg.det(U @ Vt)]) @ Vt
    return pose(R, np.mean([T[:3, 3] for T in poses], axis=0))


def pose_error(T_found: FloatArray, T_true: FloatArray) -> tuple[float, float]:
    """Return the distance [m] and the angle [deg] between two poses (4, 4)."""
    return (
        float(np.linalg.norm(T_found[:3, 3] - T_true[:3, 3])),
        angle_deg(T_found[:3, :3] @ T_true[:3, :3].T),
    )
