"""Joints of another robot's log that says only where the tool was."""

import numpy as np

from robot_agent.core import wx250s
from robot_agent.core.errors import EpisodeFormatError
from robot_agent.core.geometry import pose, rotation_from_rpy
from robot_agent.core.types import FloatArray

_TOLERANCE = (0.02, 0.003)
"""Rotation [rad] and position [m]: a WidowX's own log is no better."""


def joints_of_states(states: FloatArray, name: str) -> FloatArray:
    """Return joints (T, 6) [rad] that put the tool where Bridge's states (T, 7) say.

    Raises:
        EpisodeFormatError: The arm cannot reach a state; names the episode `name` and the step.
    """
    joints: list[FloatArray] = []
    seed = wx250s.inverse(wx250s.pose_at(np.array([0.25, 0.0, 0.15])), np.zeros(6))
    assert seed is not None
    for step, state in enumerate(np.asarray(states, np.float64)):
        tool = pose(rotation_from_rpy(state[3:6]) @ wx250s.GRIPPER_DOWN, state[:3])
        solved = wx250s.inverse(tool, seed, tolerance=_TOLERANCE, max_iterations=100)
        if solved is None:
            raise EpisodeFormatError(
                f"{name}: step {step} has the tool at {np.round(state[:6], 3)}, which this arm "
                f"cannot reach. Is it the log of another robot? Leave it out."
            )
        joints.append(solved)
        seed = solved
    return np.stack(joints)
