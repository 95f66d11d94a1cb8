# ruff: noqa: N803, N806 - T_base_tool and its kin keep the names of the formulas
"""The Bridge action: what the seven numbers mean, on the arm, in simulation, in imagination."""

from dataclasses import dataclass

import numpy as np

from robot_agent.core import wx250s
from robot_agent.core.geometry import pose, rotation_from_rpy, rpy_from_rotation
from robot_agent.core.types import FloatArray

STEP_LIMIT_M = 0.05
"""Largest component of one step; the Box of bridge_data_robot (robot_base_env.py)."""
STEP_LIMIT_RAD = 0.25

Q01 = np.array([-0.028727, -0.041703, -0.026094, -0.080921, -0.092887, -0.207183, 0.0])
Q99 = np.array([0.028310, 0.040855, 0.040162, 0.081920, 0.077929, 0.203826, 1.0])
"""1st and 99th percentile of `bridge_orig` actions (OpenVLA dataset statistics)."""


@dataclass(frozen=True)
class Normalization:
    """Linear map between Bridge actions and [-1, 1] by the 1st and 99th percentile.

    a = (u + 1) / 2 (q99 - q01) + q01, the rule of OpenVLA; the gripper uses 0 and 1.
    """

    q01: tuple[float, ...] = tuple(Q01)
    q99: tuple[float, ...] = tuple(Q99)
    name: str = "bridge_orig"

    def normalize(self, actions: FloatArray) -> FloatArray:
        """Map actions (..., 7) to about [-1, 1]."""
        low, high = np.array(self.q01), np.array(self.q99)
        unit: FloatArray = 2.0 * (actions - low) / (high - low) - 1.0
        return unit

    def unnormalize(self, unit: FloatArray) -> FloatArray:
        """Map [-1, 1] (..., 7) back to metres, radians and opening."""
        low, high = np.array(self.q01), np.array(self.q99)
        actions: FloatArray = (unit + 1.0) / 2.0 * (high - low) + low
        return actions


def compose_target(
    T_previous_target: FloatArray, p_measured_m: FloatArray, action: FloatArray
) -> FloatArray:
    """Return the next commanded tool pose (4, 4) in base_link.

    D = T(p) [R | d] T(-p) with R = Rz(dyaw) Ry(dpitch) Rx(droll) and p the measured tool position,
    applied to the previous commanded target: p' = R (p_target - p) + d + p, R' = R R_target.

    Args:
        T_previous_target: Last commanded tool pose (4, 4).
        p_measured_m: Measured tool position (3,) [m], the pivot of the rotation.
        action: Bridge action (7,), already finite and inside its limits.

    Source: bridge_data_robot, robot_base_env.py `_next_qpos`; the same formula is SimplerEnv's
    `ee_align2`.
    """
    R = rotation_from_rpy(action[3:6])
    p = R @ (T_previous_target[:3, 3] - p_measured_m) + action[:3] + p_measured_m
    return pose(R @ T_previous_target[:3, :3], p)


def bridge_state(joints_rad: FloatArray, opening: float) -> FloatArray:
    """Return Bridge's state (7,): tool position [m], rpy relative to pointing down [rad], opening.

    Source: bridge_data_robot, robot_base_env.py: euler_xyz(R DEFAULT_ROTATION^T).
    """
    T = wx250s.forward(joints_rad)
    rpy = rpy_from_rotation(T[:3, :3] @ wx250s.GRIPPER_DOWN.T)
    return np.concatenate([T[:3, 3], rpy, [opening]])
