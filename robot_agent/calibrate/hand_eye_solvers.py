# ruff: noqa: N803, N806 - A, X, Z, B and T keep the names of the formulas
"""OpenCV's seven closed-form solvers, and the same formulas where OpenCV has lost them.

The fixed camera: T_base_tool X = Z T_camera_board with X = T_tool_board and Z = T_base_camera.
Five solvers look at motions between two pictures, A Z = Z B; two solve for X and Z at once. The
wheels of OpenCV 5 keep the constants of these functions and not the functions; Noble's 4.6 has
them.
"""

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import cv2
import numpy as np

from robot_agent.core.geometry import pose, skew, vector_from_rotation
from robot_agent.core.types import FloatArray

Poses = Sequence[FloatArray]
Motions = tuple[list[FloatArray], list[FloatArray]]


def solve(method: str, T_base_tool: Poses, T_camera_board: Poses, *, cv: Any = cv2) -> FloatArray:
    """Return T_base_camera (4, 4) by one method of `METHODS`, from OpenCV where it has it.

    Args:
        method: A key of `METHODS`.
        T_base_tool: Poses of the tool (4, 4), three or more.
        T_camera_board: Poses of the board in the optical frame (4, 4), one for each.
        cv: OpenCV, or what stands in for it.

    Raises:
        numpy.linalg.LinAlgError: The motions do not fix a solution.
        cv2.error: The same, from OpenCV.
    """
    if method in _ROBOT_WORLD and hasattr(cv, "calibrateRobotWorldHandEye"):
        return _opencv_robot_world(method, T_base_tool, T_camera_board, cv)
    if method not in _ROBOT_WORLD and hasattr(cv, "calibrateHandEye"):
        return _opencv_hand_eye(method, T_base_tool, T_camera_board, cv)
    return METHODS[method](list(T_base_tool), list(T_camera_board))


def _opencv_hand_eye(
    method: str, T_base_tool: Poses, T_camera_board: Poses, cv: Any
) -> FloatArray:
    """Call OpenCV as its documentation says for a camera beside the robot: with the inverses."""
    inverse = [np.linalg.inv(T) for T in T_base_tool]
    R, t = cv.calibrateHandEye(
        [T[:3, :3] for T in inverse],
        [T[:3, 3] for T in inverse],
        [T[:3, :3] for T in T_camera_board],
        [T[:3, 3] for T in T_camera_board],
        method=getattr(cv, f"CALIB_HAND_EYE_{method}"),
    )
    return pose(np.asarray(R), np.asarray(t).reshape(3))


def _opencv_robot_world(
    method: str, T_base_tool: Poses, T_camera_board: Poses, cv: Any
) -> FloatArray:
    """Let OpenCV's camera on a gripper stand for T_camera_board X^-1 = Z^-1 T_base_tool.

    Its world is our board, its base our tool, its gripper our base.
    """
    _, _, R, t = cv.calibrateRobotWorldHandEye(
        [T[:3, :3] for T in T_camera_board],
        [T[:3, 3] for T in T_camera_board],
        [T[:3, :3] for T in T_base_tool],
        [T[:3, 3] for T in T_base_tool],
        method=getattr(cv, f"CALIB_ROBOT_WORLD_HAND_EYE_{method}"),
    )
    T: FloatArray = np.asarray(np.linalg.inv(pose(np.asarray(R), np.asarray(t).reshape(3))))
    return T


def _motions(T_base_tool: Poses, T_camera_board: Poses) -> Motions:
    """Return A and B of every pair of pictures, with A Z = Z B."""
    A, B = [], []
    for i, j in combinations(range(len(T_base_tool)), 2):
        A.append(T_base_tool[j] @ np.linalg.inv(T_base_tool[i]))
        B.append(T_camera_board[j] @ np.linalg.inv(T_camera_board[i]))
    return A, B


def _nearest_rotation(R: FloatArray) -> FloatArray:
    U, _, Vt = np.linalg.svd(R)
    nearest: FloatArray = U @ np.diag([1.0, 1.0, np.linalg.det(U @ Vt)]) @ Vt
    return nearest


def _translation(A: Poses, B: Poses, R: FloatArray) -> FloatArray:
    """Return t of (R_A - 1) t = R t_B - t_A in the sense of least squares."""
    left = np.concatenate([T[:3, :3] - np.eye(3) for T in A])
    right = np.concatenate([R @ b[:3, 3] - a[:3, 3] for a, b in zip(A, B, strict=True)])
    return np.linalg.lstsq(left, right, rcond=None)[0]


def _tsai(T_base_tool: Poses, T_camera_board: Poses) -> FloatArray:
    """Solve by Tsai and Lenz 1989, A new technique for autonomous and efficient 3D hand/eye."""
    A, B = _motions(T_base_tool, T_camera_board)
    left, right = [], []
    for a, b in zip(A, B, strict=True):
        alpha, beta = (_half_sine(T[:3, :3]) for T in (a, b))
        left.append(skew(alpha + beta))
        right.append(beta - alpha)
    p = np.linalg.lstsq(np.concatenate(left), np.concatenate(right), rcond=None)[0]
    P = 2.0 * p / np.sqrt(1.0 + p @ p)
    R = (1.0 - P @ P / 2.0) * np.eye(3) + 0.5 * (np.outer(P, P) + np.sqrt(4.0 - P @ P) * skew(P))
    return pose(R, _translation(A, B, R))


def _half_sine(R: FloatArray) -> FloatArray:
    """Return the axis times 2 sin(angle / 2), Tsai's modified Rodrigues vector."""
    w = vector_from_rotation(R)
    angle = float(np.linalg.norm(w))
    half: FloatArray = w if angle < 1e-12 else w / angle * 2.0 * np.sin(angle / 2.0)
    return half


def _park(T_base_tool: Poses, T_camera_board: Poses) -> FloatArray:
    """Solve by Park and Martin 1994, Robot sensor calibration: solving AX = XB."""
    A, B = _motions(T_base_tool, T_camera_board)
    M = np.zeros((3, 3))
    for a, b in zip(A, B, strict=True):
        M += np.outer(vector_from_rotation(b[:3, :3]), vector_from_rotation(a[:3, :3]))
    values, V = np.linalg.eigh(M.T @ M)
    R = _nearest_rotation(V @ np.diag(1.0 / np.sqrt(values)) @ V.T @ M.T)
    return pose(R, _translation(A, B, R))


def _quaternion(R: FloatArray) -> FloatArray:
    """Return q_wxyz (4,) with w >= 0."""
    w = vector_from_rotation(R)
    angle = float(np.linalg.norm(w))
    axis = w / angle if angle > 1e-12 else np.zeros(3)
    return np.concatenate([[np.cos(angle / 2.0)], np.sin(angle / 2.0) * axis])


def _from_quaternion(q_wxyz: FloatArray) -> FloatArray:
    w, v = q_wxyz[0], q_wxyz[1:]
    return _nearest_rotation((w * w - v @ v) * np.eye(3) + 2 * np.outer(v, v) + 2 * w * skew(v))


def _products(q: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the matrices of p -> q p and of p -> p q."""
    w, v = q[0], q[1:]
    left, right = np.zeros((4, 4)), np.zeros((4, 4))
    for matrix, sign in ((left, 1.0), (right, -1.0)):
        matrix[0, 0], matrix[0, 1:], matrix[1:, 0] = w, -v, v
        matrix[1:, 1:] = w * np.eye(3) + sign * skew(v)
    return left, right


def _horaud(T_base_tool: Poses, T_camera_board: Poses) -> FloatArray:
    """Solve by Horaud and Dornaika 1995, Hand-eye calibration, the closed form."""
    A, B = _motions(T_base_tool, T_camera_board)
    M = np.zeros((4, 4))
    for a, b in zip(A, B, strict=True):
        difference = _products(_quaternion(a[:3, :3]))[0] - _products(_quaternion(b[:3, :3]))[1]
        M += difference.T @ difference
    R = _from_quaternion(np.linalg.eigh(M)[1][:, 0])
    return pose(R, _translation(A, B, R))


def _andreff(T_base_tool: Poses, T_camera_board: Poses) -> FloatArray:
    """Solve by Andreff, Horaud and Espiau 1999, On-line hand-eye calibration."""
    A, B = _motions(T_base_tool, T_camera_board)
    rows = [np.eye(9) - np.kron(a[:3, :3], b[:3, :3]) for a, b in zip(A, B, strict=True)]
    R = np.linalg.svd(np.concatenate(rows))[2][-1].reshape(3, 3)
    R = _nearest_rotation(R * np.sign(np.linalg.det(R)))
    return pose(R, _translation(A, B, R))


def _daniilidis(T_base_tool: Poses, T_camera_board: Poses) -> FloatArray:
    """Solve by Daniilidis 1999, Hand-eye calibration using dual quaternions."""
    A, B = _motions(T_base_tool, T_camera_board)
    rows = []
    for T_a, T_b in zip(A, B, strict=True):
        (a, a_dual), (b, b_dual) = (_screw(T) for T in (T_a, T_b))
        upper = np.hstack([(a - b)[:, None], skew(a + b), np.zeros((3, 4))])
        lower = [(a_dual - b_dual)[:, None], skew(a_dual + b_dual), (a - b)[:, None], skew(a + b)]
        rows += [upper, np.hstack(lower)]
    v1, v2 = np.linalg.svd(np.concatenate(rows))[2][-2:]
    roots = np.roots([v1[:4] @ v1[4:], v1[:4] @ v2[4:] + v2[:4] @ v1[4:], v2[:4] @ v2[4:]]).real
    scales = [s * s * v1[:4] @ v1[:4] + 2 * s * v1[:4] @ v2[:4] + v2[:4] @ v2[:4] for s in roots]
    best = int(np.argmax(scales))
    q = (roots[best] * v1 + v2) / np.sqrt(scales[best])
    conjugate = q[:4] * np.array([1.0, -1.0, -1.0, -1.0])
    return pose(_from_quaternion(q[:4]), 2.0 * (_products(q[4:])[0] @ conjugate)[1:])


def _screw(T: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the vector parts of a motion's unit dual quaternion, with a real part >= 0."""
    q = _quaternion(T[:3, :3])
    dual = 0.5 * _products(np.concatenate([[0.0], T[:3, 3]]))[0] @ q
    return q[1:], dual[1:]


def _shah(T_base_tool: Poses, T_camera_board: Poses) -> FloatArray:
    """Solve by Shah 2013, Solving the robot-world/hand-eye problem using the Kronecker product."""
    K = np.zeros((9, 9))
    for a, b in zip(T_base_tool, T_camera_board, strict=True):
        K += np.kron(b[:3, :3], a[:3, :3])
    U, _, Vt = np.linalg.svd(K)
    # K vec(X) = n vec(Z), columns stacked: the left and right singular vectors.
    Z, X = U[:, 0].reshape(3, 3).T, Vt[0].reshape(3, 3).T
    Z, X = (_nearest_rotation(R * np.sign(np.linalg.det(R))) for R in (Z, X))
    rows = [np.hstack([np.eye(3), -a[:3, :3]]) for a in T_base_tool]
    right = [a[:3, 3] - Z @ b[:3, 3] for a, b in zip(T_base_tool, T_camera_board, strict=True)]
    t = np.linalg.lstsq(np.concatenate(rows), np.concatenate(right), rcond=None)[0]
    return pose(Z, t[:3])


def _li(T_base_tool: Poses, T_camera_board: Poses) -> FloatArray:
    """Solve by Li, Wang and Wu 2010, Simultaneous robot-world and hand-eye calibration."""
    rows, right = [], []
    for a, b in zip(T_base_tool, T_camera_board, strict=True):
        R_a, R_b = a[:3, :3], b[:3, :3]
        turn = [np.kron(R_a, np.eye(3)), -np.kron(np.eye(3), R_b.T), np.zeros((9, 6))]
        shift = [np.zeros((3, 9)), np.kron(np.eye(3), b[:3, 3]), -R_a, np.eye(3)]
        rows += [np.hstack(turn), np.hstack(shift)]
        right += [np.zeros(9), a[:3, 3]]
    found = np.linalg.lstsq(np.concatenate(rows), np.concatenate(right), rcond=None)[0]
    return pose(_nearest_rotation(found[9:18].reshape(3, 3)), found[21:24])


METHODS: dict[str, Callable[[list[FloatArray], list[FloatArray]], FloatArray]] = {
    "TSAI": _tsai,
    "PARK": _park,
    "HORAUD": _horaud,
    "ANDREFF": _andreff,
    "DANIILIDIS": _daniilidis,
    "SHAH": _shah,
    "LI": _li,
}
"""Every solver by OpenCV's name."""
_ROBOT_WORLD = ("SHAH", "LI")
