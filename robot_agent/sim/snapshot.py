"""Copies what is seen of one simulated world to another, so that each stays with one thread."""

import os

import numpy as np

from robot_agent.core.types import FloatArray
from robot_agent.sim.world import SimWorld

os.environ.setdefault("MUJOCO_GL", "egl")
import mujoco


def take(world: SimWorld) -> FloatArray:
    """Return a copy of every position of `world`, enough to draw it."""
    return np.array(world._data.qpos)


def show(world: SimWorld, qpos: FloatArray) -> None:
    """Put the bodies of `world` where a snapshot says, without advancing time."""
    world._data.qpos[:] = qpos
    mujoco.mj_kinematics(world._model, world._data)
    mujoco.mj_camlight(world._model, world._data)
