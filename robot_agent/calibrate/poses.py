# ruff: noqa: N803, N806 - T_base_camera and its kin keep the names of the formulas
"""Poses of the tool that show the board to the camera, turned enough for every solver."""

import numpy as np

from robot_agent.calibrate.board import BoardConfig
from robot_agent.calibrate.intrinsics import Intrinsics
from robot_agent.core import wx250s
from robot_agent.core.errors import CalibrationError
from robot_agent.core.geometry import pose, rotation_from_rpy
from robot_agent.core.types import FloatArray
from robot_agent.guard.limits import GuardConfig

CAMERA_POSITION_M = np.array([0.0, -0.16, 0.36])
CAMERA_LOOK = np.array([1.0, 0.553, -1.085])
"""The Bridge camera in base_link: over the right shoulder, looking down at the table.

Source: SimplerEnv (ManiSkill2_real2sim, agents/configs/widowx/defaults.py).
"""
NUM_POSES = 36
_LOW_M, _HIGH_M = np.array([0.18, -0.18, 0.12]), np.array([0.42, 0.18, 0.33])
_LOW_RAD, _HIGH_RAD = np.array([-0.6, -0.1, -0.4]), np.array([0.6, 0.6, 0.9])
"""Roll, pitch and yaw of the hand against straight down, where the board can face the camera."""
_MARGIN_PX = 15.0
_MAX_SLANT_RAD = 0.95
_JOINT_MARGIN_RAD = 0.12
_TRIES = 6000


def bridge_camera() -> FloatArray:
    """Return T_base_camera (4, 4) of the Bridge view, an optical frame: z forward, y down."""
    return camera_looking(CAMERA_POSITION_M, CAMERA_LOOK)


def camera_looking(position_m: FloatArray, look: FloatArray) -> FloatArray:
    """Return T_base_camera (4, 4) of an upright camera at a place that looks along `look` (3,)."""
    forward = look / np.linalg.norm(look)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    return pose(np.stack([right, np.cross(forward, right), forward], axis=1), position_m)


def held_board(config: BoardConfig) -> FloatArray:
    """Return T_tool_board (4, 4) of a board held behind the fingers, facing the robot's base.

    A block of 30 to 60 mm, glued to the middle of the board's back, is gripped between the
    fingers. Guided poses need this only roughly; the solvers find it.
    """
    R = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    width_m, height_m = config.size_m
    middle = np.array([0.0, 0.0, -0.05])
    return pose(R, middle - R @ np.array([width_m / 2, height_m / 2, 0.0]))


def guided_poses(
    intrinsics: Intrinsics,
    config: BoardConfig,
    limits: GuardConfig,
    *,
    T_base_camera: FloatArray | None = None,
    count: int = NUM_POSES,
) -> list[FloatArray]:
    """Return poses T_base_tool (4, 4), each near the next, at which the camera sees the board.

    The same arguments give the same poses.

    Args:
        intrinsics: The lens; roughly is enough.
        config: The board.
        limits: The guard's; poses stay inside them.
        T_base_camera: Where the camera is believed to be; the Bridge view when None.
        count: How many.

    Raises:
        CalibrationError: Too few poses can be reached and seen.
    """
    T_camera_base = np.linalg.inv(bridge_camera() if T_base_camera is None else T_base_camera)
    T_tool_board, rng = held_board(config), np.random.default_rng(7)
    found: list[FloatArray] = []
    for _ in range(_TRIES):
        if len(found) == count:
            return _shortest_way(found)
        p = rng.uniform(_LOW_M, _HIGH_M)
        T = pose(rotation_from_rpy(rng.uniform(_LOW_RAD, _HIGH_RAD)) @ wx250s.GRIPPER_DOWN, p)
        if _is_seen(T_camera_base @ T @ T_tool_board, intrinsics, config) and _is_reached(
            T, limits
        ):
            found.append(T)
    raise CalibrationError(
        f"hand-eye: {len(found)} poses can be reached and seen, must be {count}. Mount the camera "
        f"as the Bridge view has it (calibrate view), or tell where it is."
    )


def _is_seen(T_camera_board: FloatArray, intrinsics: Intrinsics, config: BoardConfig) -> bool:
    """Return whether all four corners lie in the picture and the board faces the camera."""
    width_m, height_m = config.size_m
    rim = np.array([[0, 0, 0], [width_m, 0, 0], [width_m, height_m, 0], [0, height_m, 0]])
    p = rim @ T_camera_board[:3, :3].T + T_camera_board[:3, 3]
    if p[:, 2].min() < 0.1:
        return False
    pixels, size = intrinsics.project(p), np.array(intrinsics.size_px)
    middle = p.mean(axis=0)
    facing = float(T_camera_board[:3, 2] @ middle / np.linalg.norm(middle))
    is_inside = bool((pixels > _MARGIN_PX).all() and (pixels < size - _MARGIN_PX).all())
    return is_inside and facing > np.cos(_MAX_SLANT_RAD)


def _is_reached(T_base_tool: FloatArray, limits: GuardConfig) -> bool:
    """Return whether inverse kinematics finds joints well inside their limits and the boxes."""
    p = T_base_tool[:3, 3]
    seed = np.array([np.arctan2(p[1], p[0]), -0.3, 0.4, 0.0, 1.5, 0.0])
    joints = wx250s.inverse(T_base_tool, seed, max_iterations=60)
    if joints is None:
        return False
    margin = np.minimum(joints - wx250s.JOINT_LOWER_RAD, wx250s.JOINT_UPPER_RAD - joints)
    if margin.min() < _JOINT_MARGIN_RAD:
        return False
    points = wx250s.body_points(joints)
    low, high = np.array(limits.box_low_m), np.array(limits.box_high_m)
    body_low, body_high = np.array(limits.body_low_m), np.array(limits.body_high_m)
    is_inside = bool((points["tool"] > low).all() and (points["tool"] < high).all())
    return is_inside and all(
        bool((points[name] > body_low).all() and (points[name] < body_high).all())
        for name in ("wrist", "elbow")
    )


def _shortest_way(poses: list[FloatArray]) -> list[FloatArray]:
    """Return the poses in an order in which each is near the one before."""
    left, way = list(poses[1:]), [poses[0]]
    while left:
        here = way[-1]
        distances = [
            np.linalg.norm(T[:3, 3] - here[:3, 3]) + 0.1 * np.linalg.norm(T[:3, :3] - here[:3, :3])
            for T in left
        ]
        way.append(left.pop(int(np.argmin(distances))))
    return way
