"""Rigid-body geometry in the base frame. `T_a_b` takes coordinates in b to a; angles in rad."""

import math

import numpy as np

from robot_agent.core.types import FloatArray


def skew(w: FloatArray) -> FloatArray:
    """Return the matrix [w] with [w] x = w cross x, for w (3,)."""
    return np.array([[0.0, -w[2], w[1]], [w[2], 0.0, -w[0]], [-w[1], w[0], 0.0]])


def rotation_from_vector(w: FloatArray) -> FloatArray:
    """Return the rotation matrix (3, 3) of a rotation vector (3,) by Rodrigues' formula."""
    angle = math.sqrt(w @ w)
    if angle < 1e-12:
        return np.eye(3) + skew(w)
    k = skew(w / angle)
    R: FloatArray = np.eye(3) + math.sin(angle) * k + (1.0 - math.cos(angle)) * (k @ k)
    return R


def vector_from_rotation(R: FloatArray) -> FloatArray:
    """Return the rotation vector (3,) of a rotation matrix; its norm is the angle in [0, pi].

    Near pi the axis comes from the symmetric part, where the antisymmetric part vanishes.
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = R.tolist()
    angle = math.acos(min(max((xx + yy + zz - 1.0) / 2.0, -1.0), 1.0))
    antisymmetric = np.array([zy - yz, xz - zx, yx - xy])
    if angle < 1e-9:
        half: FloatArray = antisymmetric / 2.0
        return half
    if math.pi - angle > 1e-4:
        vector: FloatArray = antisymmetric * (angle / (2.0 * math.sin(angle)))
        return vector
    symmetric = (R + R.T) / 4.0 + np.eye(3) / 2.0
    axis = symmetric[:, int(np.argmax(np.diag(symmetric)))]
    axis = axis / np.linalg.norm(axis)
    return axis * angle if axis @ antisymmetric >= 0 else -axis * angle


def rotation_from_rpy(rpy: FloatArray) -> FloatArray:
    """Return Rz(yaw) Ry(pitch) Rx(roll): fixed-axis XYZ angles, as Bridge composes them."""
    (sr, sp, sy), (cr, cp, cy) = np.sin(rpy), np.cos(rpy)
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


def rpy_from_rotation(R: FloatArray) -> FloatArray:
    """Return fixed-axis XYZ angles (3,) of a rotation matrix; pitch in [-pi/2, pi/2]."""
    pitch = np.arctan2(-R[2, 0], np.hypot(R[0, 0], R[1, 0]))
    return np.array([np.arctan2(R[2, 1], R[2, 2]), pitch, np.arctan2(R[1, 0], R[0, 0])])


def pose(R: FloatArray, p: FloatArray) -> FloatArray:
    """Return the homogeneous matrix (4, 4) of a rotation (3, 3) and a position (3,) [m]."""
    T = np.eye(4)
    T[:3, :3] = R
    T[:3, 3] = p
    return T
