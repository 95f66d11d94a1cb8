"""Kinematics and limits of the WidowX 250s, base_link to ee_gripper_link.

Source: Interbotix `mr_descriptions.py` (M, Slist) and `wx250s.urdf.xacro` (limits); the product of
exponentials as in Lynch and Park, Modern Robotics, eq. 4.14 and 5.11.
"""

import math

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
JOINT_LOWER_RAD = -np.array([3.14158265, 1.8849556, 2.1467550, 3.14158265, 1.7453293, 3.14158265])
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

_WRIST_HOME = np.array([0.29975 + 0.05, 0.0, 0.36065, 1.0])
"""A point of the hand, 0.05 m before the wrist_angle axis; moves with the first five joints."""
_ELBOW_HOME = np.array([0.04975, 0.0, 0.36065, 1.0])
"""The elbow axis; moves with the first two joints."""

_CORNER_HOME = np.array([0.0, 0.0, 0.36065, 1.0])
"""Upper end of the upright part of the upper arm, which is bent; moves with two joints."""
_FOREARM_END_HOME = np.array([0.29975, 0.0, 0.36065, 1.0])
"""The wrist_angle axis; moves with the first three joints."""
_FINGERTIPS_HOME = np.array([[0.478, 0.04, 0.36065, 1.0], [0.478, -0.04, 0.36065, 1.0]]).T
"""Tips of the opened fingers; move with all joints."""

_W, _V = SCREWS[:, :3], SCREWS[:, 3:]
_SKEW = np.stack([skew(w) for w in _W])
_SKEW2 = _SKEW @ _SKEW
_SKEW_V = (_SKEW @ _V[:, :, None])[:, :, 0]
_SKEW2_V = (_SKEW2 @ _V[:, :, None])[:, :, 0]
_W_COLUMNS, _V_COLUMNS = _W[:, :, None], _V[:, :, None]
_EYE = np.eye(6)


def _exponentials(joints_rad: FloatArray) -> FloatArray:
    """Return e^[S_k]q_k for the six joints at once (6, 4, 4)."""
    angle = np.asarray(joints_rad, dtype=np.float64)
    s, c = np.sin(angle), 1.0 - np.cos(angle)
    T = np.zeros((6, 4, 4))
    T[:, :3, :3] = _EYE[:3, :3] + s[:, None, None] * _SKEW + c[:, None, None] * _SKEW2
    T[:, :3, 3] = angle[:, None] * _V + c[:, None] * _SKEW_V + (angle - s)[:, None] * _SKEW2_V
    T[:, 3, 3] = 1.0
    return T


def _chain(joints_rad: FloatArray) -> FloatArray:
    """Return the products of the first k exponentials, k = 0 to 6, as (7, 4, 4)."""
    factors = _exponentials(joints_rad)
    chain = np.empty((7, 4, 4))
    chain[0] = _EYE[:4, :4]
    chain[1] = factors[0]
    for k in range(1, 6):
        np.matmul(chain[k], factors[k], out=chain[k + 1])
    return chain


def _cross_rows(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the cross products of the rows of two arrays (N, 3); numpy's own is 10 x slower."""
    product: FloatArray = np.empty_like(a)
    product[:, 0] = a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1]
    product[:, 1] = a[:, 2] * b[:, 0] - a[:, 0] * b[:, 2]
    product[:, 2] = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return product


def _tool_jacobian(chain: FloatArray, p_tool_m: FloatArray) -> FloatArray:
    """Return the Jacobian (6, 6) at the tool point, rows [w; v], from the chain (7, 4, 4)."""
    R = chain[:6, :3, :3]
    w = (R @ _W_COLUMNS)[:, :, 0]
    v = (R @ _V_COLUMNS)[:, :, 0] + _cross_rows(chain[:6, :3, 3] - p_tool_m, w)
    J: FloatArray = np.concatenate([w, v], axis=1).T
    return J


def forward(joints_rad: FloatArray) -> FloatArray:
    """Return T_base_tool (4, 4) for joints (6,) [rad]: e^[S1]q1 ... e^[S6]q6 M."""
    T: FloatArray = _chain(joints_rad)[6] @ M
    return T


def link_motions(joints_rad: FloatArray) -> FloatArray:
    """Return (7, 4, 4): how the link behind the first k joints has moved from where it is at zero.

    Applied to a point in base_link with every joint at zero it gives the point where it is now.
    """
    return _chain(joints_rad)


def body_points(joints_rad: FloatArray) -> dict[str, FloatArray]:
    """Return points (3,) [m] in base_link that must stay inside the box: tool, wrist, elbow."""
    chain = _chain(joints_rad)
    return {
        "wrist": (chain[5] @ _WRIST_HOME)[:3],
        "elbow": (chain[2] @ _ELBOW_HOME)[:3],
        "tool": (chain[6] @ M)[:3, 3],
    }


def extreme_points(joints_rad: FloatArray) -> FloatArray:
    """Return points (5, 3) [m] in base_link of which one is always the fastest of the arm.

    The speed of the points of a rigid link is a convex function of their place, so the fastest
    is one of the link's ends: corner, elbow, end of the forearm, and both fingertips.
    """
    chain = _chain(joints_rad)
    points: FloatArray = np.empty((5, 3))
    points[0] = (chain[2] @ _CORNER_HOME)[:3]
    points[1] = (chain[2] @ _ELBOW_HOME)[:3]
    points[2] = (chain[3] @ _FOREARM_END_HOME)[:3]
    points[3:] = (chain[6] @ _FINGERTIPS_HOME)[:3].T
    return points


def longest_way_m(start_rad: FloatArray, goal_rad: FloatArray) -> float:
    """Return the longest way [m], as the crow flies, of any point of the arm between two poses."""
    way = extreme_points(goal_rad) - extreme_points(start_rad)
    return math.sqrt(float((way * way).sum(axis=1).max()))


def jacobian(joints_rad: FloatArray) -> FloatArray:
    """Return the tool Jacobian (6, 6) at the tool point in base axes, rows [w; v]."""
    chain = _chain(joints_rad)
    return _tool_jacobian(chain, (chain[6] @ M)[:3, 3])


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
    q: FloatArray = np.minimum(np.maximum(seed_rad, JOINT_LOWER_RAD), JOINT_UPPER_RAD)
    R_target, p_target_m = T_base_tool[:3, :3], T_base_tool[:3, 3]
    for _ in range(max_iterations):
        chain = _chain(q)
        T = chain[6] @ M
        w = vector_from_rotation(R_target @ T[:3, :3].T)
        v = p_target_m - T[:3, 3]
        if math.sqrt(w @ w) <= tolerance[0] and math.sqrt(v @ v) <= tolerance[1]:
            return q
        J = _tool_jacobian(chain, T[:3, 3])
        error = np.concatenate([w, v])
        damping = 1e-6 + 1e-2 * float(error @ error)
        dq = J.T @ np.linalg.solve(J @ J.T + damping * _EYE, error)
        q = q + np.minimum(np.maximum(dq, -0.3), 0.3)
        q = np.minimum(np.maximum(q, JOINT_LOWER_RAD), JOINT_UPPER_RAD)
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
