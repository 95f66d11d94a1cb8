# ruff: noqa: N803 - T_base_camera and its kin keep the names of the formulas
"""The hand-eye result for others: a `.calib` file as easy_handeye2 reads it, and a static TF.

Source of the file's fields: easy_handeye2, documentation of its calibration file.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import yaml

from robot_agent.core.geometry import vector_from_rotation
from robot_agent.core.types import FloatArray

BASE_FRAME, TOOL_FRAME = "base_link", "ee_gripper_link"
OPTICAL_FRAME, ROOT_FRAME, BOARD_FRAME = "camera_color_optical_frame", "camera_link", "board"
T_LINK_OPTICAL_ROTATION = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""Axes of an optical frame in the camera's body frame (REP 103)."""


def quaternion_xyzw(R: FloatArray) -> FloatArray:
    """Return the quaternion (4,) of a rotation (3, 3), w last and not negative, as ROS has it."""
    w = vector_from_rotation(R)
    half = float(np.linalg.norm(w)) / 2.0
    return np.append(0.5 * np.sinc(half / np.pi) * w, np.cos(half))


def calib_text(T_base_camera: FloatArray, name: str, robot: str) -> str:
    """Return the text of `NAME.calib` for a camera beside the robot, optical frame."""
    prefix = f"{robot}/" if robot else ""
    content = {
        "parameters": {
            "name": name,
            "calibration_type": "eye_on_base",
            "robot_base_frame": prefix + BASE_FRAME,
            "robot_effector_frame": prefix + TOOL_FRAME,
            "tracking_base_frame": OPTICAL_FRAME,
            "tracking_marker_frame": BOARD_FRAME,
            "freehand_robot_movement": False,
            "move_group_namespace": "/",
            "move_group": "arm",
        },
        "transform": transform_of(T_base_camera),
    }
    return yaml.safe_dump(content, sort_keys=False)


def static_transform(
    T_base_camera: FloatArray, T_link_optical: FloatArray, robot: str = ""
) -> Mapping[str, Any]:
    """Return base_link -> camera_link, so that the camera's driver keeps the optical frame.

    The driver publishes camera_link -> camera_color_optical_frame. A second parent of the optical
    frame would break the tree, so the result is moved to the root of the camera's own tree:
    T_base_link = T_base_optical T_link_optical^-1.

    Args:
        T_base_camera: The hand-eye result (4, 4), an optical frame.
        T_link_optical: The driver's own transform (4, 4); the plain turn of axes when it has none.
        robot: Prefix of the robot's frames.
    """
    return {
        "parent": f"{robot}/{BASE_FRAME}" if robot else BASE_FRAME,
        "child": ROOT_FRAME,
        **transform_of(T_base_camera @ np.linalg.inv(T_link_optical)),
    }


def transform_of(T: FloatArray) -> dict[str, dict[str, float]]:
    """Return translation [m] and rotation (quaternion) of a transform (4, 4), by their axes."""
    x, y, z, w = quaternion_xyzw(T[:3, :3])
    return {
        "translation": dict(zip("xyz", map(float, T[:3, 3]), strict=True)),
        "rotation": {"x": float(x), "y": float(y), "z": float(z), "w": float(w)},
    }
