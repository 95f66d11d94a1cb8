"""Gives a compiled model the looks and places of a scene: colours, light, camera, fixture."""

from typing import Any

import mujoco
import numpy as np

from robot_agent.core.geometry import rotation_from_vector
from robot_agent.sim import loose
from robot_agent.sim.mjcf import CAMERA_LOOK, CAMERA_POSITION_M
from robot_agent.sim.physics import Physics
from robot_agent.sim.scenes import Scene

TABLE_CENTER_M = np.array([0.332, 0.0235, 0.0])
"""Where the Bridge camera's axis meets the table."""


def dress(model: Any, scene: Scene, physics: Physics) -> None:
    """Change colours, light, camera and fixture of the compiled model in place."""
    colors = {
        "table": scene.table,
        "wall": scene.wall,
        "cabinet": scene.cabinet,
        "drawer": scene.drawer,
        "handle": scene.handle,
        "counter": scene.counter,
        "basin": scene.basin,
        "basket": scene.basket,
        "object": scene.object_color,
    }
    for index in range(model.ngeom):
        color = colors.get(model.geom(index).name.split("_")[0])
        if color is not None:
            model.geom(index).rgba[:3] = color
    if scene.cell == "sink":
        _put(model.body("sink"), (scene.sink_x_m, scene.sink_y_m), scene.sink_yaw_rad)
        loose.dress(model, scene, physics)
    else:
        _put(model.body("cabinet"), (scene.drawer_x_m, scene.drawer_y_m), scene.drawer_yaw_rad)
        rail = model.joint("drawer").dofadr[0]
        model.dof_frictionloss[rail] = scene.rail_friction_n * physics.friction_scale
    sun = model.light("sun")
    tint, scattered = np.array(scene.light_color), physics.scattered * scene.light
    sun.diffuse[:] = (scene.light - scattered) * tint
    model.vis.headlight.ambient[:] = (scene.ambient + 0.7 * scattered) * tint
    direction = np.array(scene.light_direction)
    sun.dir[:] = direction / np.linalg.norm(direction)
    # Shadows begin here: above arm and fixture, but past the wall, which shall throw none.
    sun.pos[:] = TABLE_CENTER_M - 0.5 * sun.dir
    _place_camera(model, scene)


def _put(body: Any, at_m: tuple[float, float], yaw_rad: float) -> None:
    """Put a fixture on the table."""
    body.pos[:] = (*at_m, 0.0)
    half = yaw_rad / 2.0
    body.quat[:] = (np.cos(half), 0.0, 0.0, np.sin(half))


def _place_camera(model: Any, scene: Scene) -> None:
    offset = np.array(CAMERA_POSITION_M) - TABLE_CENTER_M
    turn = rotation_from_vector(np.array([0.0, 0.0, scene.camera_azimuth_rad]))
    side = np.cross([0.0, 0.0, 1.0], offset)
    tilt = rotation_from_vector(-side / np.linalg.norm(side) * scene.camera_elevation_rad)
    turned = turn @ tilt
    forward = turned @ (np.array(CAMERA_LOOK) / np.linalg.norm(CAMERA_LOOK))
    camera = model.camera("bridge")
    camera.pos[:] = TABLE_CENTER_M + scene.camera_distance * (turned @ offset)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(right, forward), -forward], axis=1)
    mujoco.mju_mat2Quat(camera.quat, axes.flatten())
