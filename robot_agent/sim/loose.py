"""The loose object of a cell: its size and weight, where it starts, how fast it moves."""

from typing import Any

import numpy as np

from robot_agent.core.types import FloatArray
from robot_agent.sim.fixtures import CONTAINERS, FLOOR_M
from robot_agent.sim.scenes import Scene
from robot_agent.sim.tasks import Task

_FAT = 7.0 / 6.0
"""Radius of the fat end relative to the thin part."""
_FAT_AT = -0.35
"""Where on half the length the fat end's middle is."""
_START_YAW_RAD = 0.7
"""An eggplant starts this far from lying along x at most."""


def dress(model: Any, scene: Scene) -> None:
    """Give the compiled object the size, weight and friction of a scene, in place."""
    radius_m, half_m = scene.object_radius_m, scene.object_half_length_m
    body, end = model.geom("object_body"), model.geom("object_end")
    body.size[:2] = (radius_m, half_m - radius_m)
    end.size[0], end.pos[0] = radius_m * _FAT, half_m * _FAT_AT
    for geom in (body, end):
        geom.friction[0] = scene.object_friction
        # The bounding radius sorts out pairs that cannot touch; it follows the size.
        model.geom_rbound[geom.id] = geom.size[0] + geom.size[1]
    model.geom("stem_cap").pos[0] = half_m - 0.006
    model.geom("stem_stalk").pos[0] = half_m + 0.003
    _weigh(model, scene)


def _weigh(model: Any, scene: Scene) -> None:
    """Mass and inertia of a solid cylinder of the object's length."""
    mass, r, length = scene.object_mass_kg, scene.object_radius_m, 2 * scene.object_half_length_m
    across = mass * (3 * r**2 + length**2) / 12
    index = model.body("object").id
    model.body_mass[index] = mass
    model.body_inertia[index] = (mass * r**2 / 2, across, across)


def start(scene: Scene, task: Task | None, rng: np.random.Generator) -> FloatArray:
    """Return the position and quaternion (7,) that an episode starts with, on a floor.

    Args:
        scene: The scene as this reset varied it.
        task: Says which container; None draws one.
        rng: Draws the place and the yaw.
    """
    name = task.start_in if task is not None else str(rng.choice(list(CONTAINERS)))
    box = CONTAINERS[name]
    x, y = rng.uniform(-1.0, 1.0, 2) * np.array(box.start_m)
    y += box.center_y_m
    c, s = np.cos(scene.sink_yaw_rad), np.sin(scene.sink_yaw_rad)
    half = (scene.sink_yaw_rad + rng.uniform(-_START_YAW_RAD, _START_YAW_RAD)) / 2.0
    half += np.pi / 2.0 * rng.integers(2)  # the stem points away from the arm or to it
    z = FLOOR_M + scene.object_radius_m * _FAT + 0.001
    at = (scene.sink_x_m + c * x - s * y, scene.sink_y_m + s * x + c * y, z)
    return np.array([*at, np.cos(half), 0.0, 0.0, np.sin(half)])


def speed_mps(model: Any, data: Any) -> float:
    """Return the speed of the object's middle."""
    column = int(model.joint("object").dofadr[0])
    return float(np.linalg.norm(data.qvel[column : column + 3]))
