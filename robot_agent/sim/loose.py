"""The loose object of a cell: its size, weight and friction."""

from typing import Any

from robot_agent.sim.physics import Physics
from robot_agent.sim.scenes import Scene

FAT = 7.0 / 6.0
"""Radius of the fattest end of any shape relative to the thin part."""
SHAPES = {
    "eggplant": (FAT, -0.35),
    "carrot": (FAT, 0.45),
    "corn": (1.08, 0.0),
    "cucumber": (1.0, 0.0),
    "banana": (1.0, 0.0),
}
"""Shape to the radius of its thickening, relative to the thin part, and to where its middle is on
half the length towards the stem."""


def dress(model: Any, scene: Scene, physics: Physics) -> None:
    """Give the compiled object the shape, size, weight and friction of a scene, in place."""
    ratio, at = SHAPES[scene.object_shape]
    radius_m, half_m = scene.object_radius_m, scene.object_half_length_m
    body, end = model.geom("object_body"), model.geom("object_end")
    body.size[:2] = (radius_m, half_m - radius_m)
    end.size[0], end.pos[0] = radius_m * ratio, half_m * at
    for geom in (body, end):
        geom.friction[0] = scene.object_friction * physics.friction_scale
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
