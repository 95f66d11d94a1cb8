"""From Bridge actions to the unified action of Cosmos 3: how the hand moves, in its own frame.

Axis letters: K actions, A action (7 or 10).
Source: NVIDIA cosmos-framework, bridge_orig_lerobot_dataset.py, pose_utils.py and
action_normalization.py: frames, order of the ten numbers, and their 1st and 99th percentiles.
"""

import numpy as np
from numpy.typing import NDArray

from robot_agent.core import wx250s
from robot_agent.core.bridge_action import compose_target
from robot_agent.core.errors import InputError
from robot_agent.core.geometry import pose
from robot_agent.core.types import ACTION_DIM, FloatArray, Observation, require_array

COSMOS_DIM = 10
"""`[x y z] [first column] [second column]` of the hand's motion and `[gripper]`, 1 = open."""
DOMAIN = "bridge_orig_lerobot"
MAX_ACTION = 0.5
"""No Bridge action has a larger step [m or rad]; a larger number is of another scale."""
Q01 = np.array([-0.038884, -0.028667, -0.03784, 0.976292, -0.163098, -0.081545, -0.160193,
                0.976322, -0.078872, 0.0])  # fmt: skip
Q99 = np.array([0.039722, 0.029068, 0.026702, 1.0, 0.160195, 0.081655, 0.163227,
                1.0, 0.095189, 1.0])  # fmt: skip
_T_TOOL_HAND = pose(
    np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]]),
    np.array([-0.093575, 0.0, 0.0]),
)
"""The hand as the model knows it: gripper_link, with a camera's axes (z along the fingers)."""


def tool_of(observation: Observation) -> FloatArray:
    """Return the tool's pose (4, 4) in base_link."""
    return wx250s.forward(observation.joints_rad)


def require_bridge_actions(actions: FloatArray, shape: tuple[int | None, ...]) -> FloatArray:
    """Return actions of this shape; InputError for another one, NaN, or another scale."""
    checked = require_array("actions", actions, shape)
    largest = float(np.abs(checked[..., :6]).max(initial=0.0))
    if largest > MAX_ACTION:
        raise InputError(
            f"actions: largest component {largest:.2f} is over {MAX_ACTION} m or rad: these are "
            f"not Bridge actions. Un-normalise them first."
        )
    return checked


def cosmos_actions(
    T_base_tool: FloatArray, actions_KA: FloatArray
) -> tuple[NDArray[np.float32], FloatArray]:
    """Return what the model takes (K, 10) and the tool's pose after the last action.

    The hand is taken to reach every target: a = T_t^-1 T_t+1 of its poses, the first two columns
    of the rotation, and 2 (a - q01) / (q99 - q01) - 1.

    Args:
        T_base_tool: Where the tool is (4, 4).
        actions_KA: Bridge actions (K, 7); action t leads from frame t to frame t + 1.
    """
    require_array("actions", actions_KA, (None, ACTION_DIM))
    rows = []
    for action in actions_KA:
        T_next = compose_target(T_base_tool, T_base_tool[:3, 3], action)
        T = np.linalg.inv(T_base_tool @ _T_TOOL_HAND) @ T_next @ _T_TOOL_HAND
        rows.append(np.concatenate([T[:3, 3], T[:3, 0], T[:3, 1], [float(action[6] > 0.5)]]))
        T_base_tool = T_next
    raw = np.stack(rows) if rows else np.zeros((0, COSMOS_DIM))
    return (2.0 * (raw - Q01) / (Q99 - Q01) - 1.0).astype(np.float32), T_base_tool
