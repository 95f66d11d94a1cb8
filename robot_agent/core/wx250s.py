"""Kinematics and limits of the WidowX 250s, base_link to ee_gripper_link.

Source: Interbotix `mr_descriptions.py` (M, Slist) and `wx250s.urdf.xacro` (limits); the product of
exponentials as in Lynch and Park, Modern Robotics, eq. 4.14 and 5.11.
"""

import numpy as np

from robot_agent.core.geometry import pose, rotation_from_vector, skew, vector_from_rotation
from robot_agent.core.types import FloatArray

JOINT_NAMES = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")
FINGER_NAMES = ("left_finger", "right_finger")
GRIPPER_NAME = "gripper"

M = pose(np.eye(3), np.array([0.458325, 0.0, 0.36065]))
"""Tool pose with every joint at zero."""
SCREWS = np.array(
    [
        [0.0, 0.0, 1.0, 0.0, 0.0, 0.0],
        [0.0, 1.0, 0.0, -0.11065, 0.0, 0.0],
        [0.0, 1.0, 0.0, -0.36065, 0.0, 0.04975],
        [1.0, 0.0, 0.0, 0.0, 0.36065, 0.0],
        [0.0, 1.0, 0.0, -0.36065, 0.0, 0.29975],
        [1.0, 0.0, 0.0, 0.0, 0.36065, 0.0],
    ]
)
"""Screw axes in base_link, one row per joint: [w | v]."""
JOINT_LOWER_RAD = np.array([-3.14158265, -1.8849556, -2.1467550, -3.14158265, -1.7453293, -3.14158265])
JOINT_UPPER_RAD = np.array([3.14158265, 1.9896753, 1.6057029, 3.14158265, 2.1467550, 3.14158265])
JOINT_SPEED_LIMIT_RADPS = 3.1415
"""Firmware velocity limit (131 x 0.229 rpm)."""
SLEEP_RAD = np.array([0.0, -1.80, 1.55, 0.0, 0.8, 0.0])
NEUTRAL_RAD = np.array([-0.13192235, -0.76238847, 0.44485444, -0.01994175, 1.7564081, -0.15953401])
"""Bridge's neutral pose (bridge_data_robot, widowx_controller.py)."""
GRIPPER_DOWN = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
"""Tool rotation that points straight down; Bridge's DEFAULT_ROTATION."""
FINGER_CLOSED_M, FINGER_OPEN_M = 0.010, 0.035
"""Finger travel that Bridge maps to gripper 0 and 1."""
FINGER_LIMITS_M = (0.015, 0.037)
"""Finger limits of the URDF."""

_WRIST_M, _ELBOW_M = np.array([0.29975 + 0.05, 0.0, 0.36065]), np.array([0.04975, 0.0, 0.36065])
_POINTS_HOME = {"wrist": (_WRIST_M, 5), "elbow": (_ELBOW_M, 2)}


def _screw_exponential(screw: FloatArray, angle: float) -> FloatArray:
    w, v = screw[:3], screw[3:]
    W = skew(w)
    W2 = W @ W
    s, c = np.sin(angle), 1.0 - np.cos(angle)
    R = np.eye(3) + s * W + c * W2
    p = (np.eye(3) * angle + c * W + (angle - s) * W2) @ v
    return pose(R, p)


def _chain(joints_rad: FloatArray) -> list[FloatArray]:
    """Return the products of the first k exponentials, k = 1 to 6."""
    transforms, T = [], np.eye(4)
    for screw, angle in zip(SCREWS, joints_rad, strict=True):
        T = T @ _screw_exponential(screw, float(angle))
        transforms.append(T)
    return transforms


def forward(joints_rad: FloatArray) -> FloatArray:
    """Return T_base_tool (4, 4) for joints (6,) [rad]: e^[S1]q1 ... e^[S6]q6 M."""
    return _chain(joints_rad)[-1] @ M


def body_points(joints_rad: FloatArray) -> dict[str, FloatArray]:
    """Return points (3,) [m] in base_link that must stay inside the box: tool, wrist, elbow."""
    chain = _chain(joints_rad)
    points = {name: (chain[k - 1] @ np.append(p, 1.0))[:3] for name, (p, k) in _POINTS_HOME.items()}
    points["tool"] = (chain[-1] @ M)[:3, 3]
    return points


def jacobian(joints_rad: FloatArray) -> FloatArray:
    """Return the tool Jacobian (6, 6) at the tool point in base axes, rows [w; v]."""
    chain = _chain(joints_rad)
    p_tool = (chain[-1] @ M)[:3, 3]
    columns = []
    for k, screw in enumerate(SCREWS):
        T = chain[k - 1] if k else np.eye(4)
        w = T[:3, :3] @ screw[:3]
        v = T[:3, :3] @ screw[3:] + np.cross(T[:3, 3], w)
        columns.append(np.concatenate([w, v + np.cross(w, p_tool)]))
    return np.stack(columns, axis=1)


def inverse(
    T_base_tool: FloatArray,
    seed_rad: FloatArray,
    *,
    max_iterations: int = 40,
    tolerance: tuple[float, float] = (1e-3, 1e-4),
) -> FloatArray | None:
    """Return joints (6,) [rad] inside the limits that reach a tool pose, or None.

    Damped least squares from `seed_rad` (use the measured joints), so that the nearest branch is
    found. `tolerance` is (rotation [rad], position [m]).

    Source: Wampler 1986, damped least-squares inverse kinematics.
    """
    q = np.clip(seed_rad, JOINT_LOWER_RAD, JOINT_UPPER_RAD)
    for _ in range(max_iterations):
        T = forward(q)
        w = vector_from_rotation(T_base_tool[:3, :3] @ T[:3, :3].T)
        v = T_base_tool[:3, 3] - T[:3, 3]
        if np.linalg.norm(w) <= tolerance[0] and np.linalg.norm(v) <= tolerance[1]:
            return q
        J = jacobian(q)
        error = np.concatenate([w, v])
        damping = 1e-6 + 1e-2 * float(error @ error)
        dq = J.T @ np.linalg.solve(J @ J.T + damping * np.eye(6), error)
        q = np.clip(q + np.clip(dq, -0.3, 0.3), JOINT_LOWER_RAD, JOINT_UPPER_RAD)
    return None


def finger_from_opening(opening: float) -> float:
    """Return the finger position [m] of a gripper opening in [0, 1]."""
    return FINGER_CLOSED_M + opening * (FINGER_OPEN_M - FINGER_CLOSED_M)


def opening_from_finger(finger_m: float) -> float:
    """Return the opening of a finger position [m]; a real gripper may leave [0, 1] slightly."""
    return (finger_m - FINGER_CLOSED_M) / (FINGER_OPEN_M - FINGER_CLOSED_M)


def pose_at(position_m: FloatArray, tilt_rad: float = 0.0) -> FloatArray:
    """Return a tool pose (4, 4) at `position_m`, pointing down, tilted about y by `tilt_rad`."""
    tilt = rotation_from_vector(np.array([0.0, tilt_rad, 0.0]))
    return pose(tilt @ GRIPPER_DOWN, position_m)
