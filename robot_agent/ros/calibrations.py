# ruff: noqa: N806 - T_base_camera keeps the name of the formulas
"""The calibration behind what a node records: from the robot's files, or the simulator's."""

from pathlib import Path
from typing import Final

import numpy as np

from robot_agent.calibrate.poses import camera_looking
from robot_agent.calibrate.records import (
    Record,
    Seal,
    load,
    require_fit,
    require_set,
    seal_of,
)
from robot_agent.calibrate.results import matrix_of
from robot_agent.core.types import FloatArray
from robot_agent.sim.mjcf import (
    CAMERA_CENTER_PX,
    CAMERA_FOCAL_PX,
    CAMERA_LOOK,
    CAMERA_POSITION_M,
    CAMERA_SIZE_PX,
)

SIMULATED: Final = "simulated"
"""Stands for a folder: the built-in calibration of the simulated camera."""
_BUILT: Final = "20260101T000000"


def seal_for(folder: str, robot: str, camera: str) -> Seal | None:
    """Return the seal of the calibration in force; None where none is asked for.

    Args:
        folder: Folder of calibrations, `SIMULATED`, or empty for none.
        robot: Name of the robot that the files must be of.
        camera: Serial number of the camera that they must be of; empty accepts any.

    Raises:
        CalibrationError: One is missing, damaged, old, or of another robot or camera.
    """
    if not folder:
        return None
    return simulated_seal() if folder == SIMULATED else require_set(Path(folder), robot, camera)


def hand_eye_for(folder: str, robot: str, camera: str) -> FloatArray:
    """Return T_base_camera (4, 4), an optical frame, of the calibration in force.

    Args:
        folder: Folder of calibrations, or `SIMULATED`.
        robot: Name of the robot that it must be of; empty for any.
        camera: Serial number of the camera that it must be of; empty for any.

    Raises:
        CalibrationError: It is missing, damaged, old, or of another robot or camera.
    """
    if folder == SIMULATED:
        return camera_looking(np.array(CAMERA_POSITION_M), np.array(CAMERA_LOOK))
    record = require_fit(load(Path(folder), "hand-eye"), robot, camera)
    return matrix_of(record, "T_base_camera", (4, 4))


def simulated_seal() -> Seal:
    """Return the seal of the simulated camera where the Bridge view has it; it has no age."""
    focal, (cx, cy) = CAMERA_FOCAL_PX, CAMERA_CENTER_PX
    T_base_camera = camera_looking(np.array(CAMERA_POSITION_M), np.array(CAMERA_LOOK))
    lens = {
        "width_px": CAMERA_SIZE_PX[0],
        "height_px": CAMERA_SIZE_PX[1],
        "matrix_px": [[focal, 0.0, cx], [0.0, focal, cy], [0.0, 0.0, 1.0]],
        "distortion": [0.0] * 5,
    }
    place = {"T_base_camera": np.round(T_base_camera, 9).tolist(), "method": "built in"}
    residuals = {"camera": {"rms_px": 0.0}, "hand-eye": {"rms_px": 0.0, "held_out_mm": 0.0}}
    return seal_of(
        {
            kind: Record(
                kind=kind,
                robot=SIMULATED,
                camera=SIMULATED,
                values=values,
                residuals=residuals[kind],
                created=_BUILT,
            )
            for kind, values in (("camera", lens), ("hand-eye", place))
        }
    )
