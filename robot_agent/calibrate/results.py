"""Turns what the solvers found into records, and back."""

from typing import Any

import numpy as np

from robot_agent.calibrate.hand_eye import HandEyeResult
from robot_agent.calibrate.intrinsics import Intrinsics, IntrinsicsResult
from robot_agent.calibrate.records import MAX_AGE_DAYS, Record
from robot_agent.core.errors import CalibrationError
from robot_agent.core.types import FloatArray
from robot_agent.core.wx250s import JOINT_NAMES


def camera_record(
    result: IntrinsicsResult, robot: str, camera: str, warnings: tuple[str, ...] = ()
) -> Record:
    """Return the record of a lens."""
    found = result.intrinsics
    return Record(
        kind="camera",
        robot=robot,
        camera=camera,
        values={
            "width_px": found.size_px[0],
            "height_px": found.size_px[1],
            "matrix_px": _numbers(found.K),
            "distortion": _numbers(found.distortion),
            "distortion_model": "plumb_bob",
        },
        residuals={
            "rms_px": result.rms_px,
            "worst_view_px": result.worst_view_px,
            "focal_deviation": result.focal_deviation,
            "views": float(result.num_views),
            "coverage": result.coverage,
            "tilt_deg": result.tilt_deg,
        },
        warnings=warnings,
        max_age_days=MAX_AGE_DAYS["camera"],
    )


def intrinsics_of(record: Record) -> Intrinsics:
    """Return the lens of a `camera` record.

    Raises:
        CalibrationError: Its values are not those of a lens.
    """
    values = record.values
    size_px = (int(values.get("width_px", 0)), int(values.get("height_px", 0)))
    K = matrix_of(record, "matrix_px", (3, 3))  # noqa: N806
    return Intrinsics(K, matrix_of(record, "distortion", (5,)), size_px)


def hand_eye_record(
    result: HandEyeResult,
    robot: str,
    camera: str,
    camera_hash: str,
    warnings: tuple[str, ...] = (),
) -> Record:
    """Return the record of a camera's place."""
    best = result.best
    return Record(
        kind="hand-eye",
        robot=robot,
        camera=camera,
        values={
            "method": best.method,
            "T_base_camera": _numbers(best.T_base_camera),
            "T_tool_board": _numbers(best.T_tool_board),
            "encoder_offsets_rad": dict(zip(JOINT_NAMES, _numbers(best.offsets_rad), strict=True)),
            "camera_hash": camera_hash,
        },
        residuals={
            "rms_px": best.rms_px,
            "held_out_mm": 1e3 * best.held_out_m,
            "held_out_deg": best.held_out_deg,
            "held_out_px": best.held_out_px,
            "poses": float(result.num_poses),
            "second_axis_deg": result.spread_deg[1],
        },
        warnings=warnings,
        max_age_days=MAX_AGE_DAYS["hand-eye"],
    )


def matrix_of(record: Record, name: str, shape: tuple[int, ...]) -> FloatArray:
    """Return an array of a record; CalibrationError when it has another shape."""
    try:
        found = np.array(record.values[name], np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise CalibrationError(
            f"{record.kind} calibration: has no numbers '{name}' ({error}). "
            f"Make it again: robot-agent calibrate {record.kind}"
        ) from error
    if found.shape != shape or not np.isfinite(found).all():
        raise CalibrationError(
            f"{record.kind} calibration: '{name}' has shape {found.shape}, must be finite and "
            f"{shape}. Make it again: robot-agent calibrate {record.kind}"
        )
    return found


def _numbers(array: FloatArray) -> list[Any]:
    plain: list[Any] = array.tolist()
    return plain
