"""The named axes along which a household differs from home, each with a severity from 0 to 1."""

import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from robot_agent.core.errors import ConfigError
from robot_agent.sim import placing
from robot_agent.sim.scenes import Color, Scene
from robot_agent.sim.textures import Texture

Change = Callable[[Scene, float, np.random.Generator], dict[str, Any]]
"""Scene, severity and a generator of this axis alone to the fields that change."""


def vary(scene: Scene, axes: Mapping[str, float], seed: int) -> Scene:
    """Return `scene` moved along `axes`, each by its severity in [0, 1].

    Severity 0 changes nothing. The direction on an axis follows from `seed` and the axis' name
    alone, and more severity goes further in the same direction.

    Raises:
        ConfigError: An axis of no known name, or a severity outside [0, 1].
    """
    check_axes(axes)
    for axis, change in AXES.items():  # in their own order: things stand where no fixture is
        if severity := float(axes.get(axis, 0.0)):
            rng = np.random.default_rng([seed, zlib.crc32(axis.encode())])
            scene = replace(scene, **change(scene, severity, rng))
    return scene


def check_axes(axes: Mapping[str, float]) -> None:
    """Raise ConfigError unless every axis has a known name and a severity in [0, 1]."""
    for axis, severity in axes.items():
        if axis not in AXES:
            raise ConfigError(f"axis '{axis}' is unknown. Choose from: {', '.join(AXES)}.")
        if isinstance(severity, bool) or not isinstance(severity, int | float):
            raise ConfigError(f"axis '{axis}': severity {severity!r} must be a number in [0, 1].")
        if not 0.0 <= severity <= 1.0:
            raise ConfigError(
                f"axis '{axis}': severity {severity} is outside [0, 1]. 0 is home, 1 the furthest."
            )


def _blend(a: Color, b: Color, share: float) -> Color:
    r, g, b_ = (float(x + share * (y - x)) for x, y in zip(a, b, strict=True))
    return (r, g, b_)


def _pick(rng: np.random.Generator, options: Mapping[str, Any]) -> Any:
    return options[list(options)[int(rng.integers(len(options)))]]


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def _camera_pose(scene: Scene, severity: float, rng: np.random.Generator) -> dict[str, Any]:
    return {
        "camera_azimuth_rad": scene.camera_azimuth_rad + severity * _between(rng, -0.28, 0.28),
        "camera_elevation_rad": scene.camera_elevation_rad + severity * _between(rng, -0.13, 0.12),
        "camera_distance": scene.camera_distance + severity * _between(rng, -0.08, 0.12),
    }


def _light(scene: Scene, severity: float, rng: np.random.Generator) -> dict[str, Any]:
    """Dim light is warm, as lamps are; bright light is cool, as days are."""
    level = severity * _between(rng, -1.0, 1.0)
    dimmed = 1.0 + (0.55 if level < 0.0 else 0.25) * level
    warmth = -level + severity * _between(rng, -0.4, 0.4)
    tint = (1.0 + 0.10 * warmth, 1.0 - 0.04 * abs(warmth), 1.0 - 0.28 * warmth)
    color = tuple(c * t for c, t in zip(scene.light_color, tint, strict=True))
    x, y, z = scene.light_direction
    return {
        "light": scene.light * dimmed,
        "ambient": scene.ambient * (1.0 + 0.4 * (dimmed - 1.0)),
        "light_color": color,
        "light_direction": (
            x + severity * _between(rng, -0.7, 0.7),
            y + severity * _between(rng, -0.7, 0.7),
            z,
        ),
    }


def _surface(
    name: str, options: Mapping[str, tuple[str, Color]], scene: Scene
) -> Callable[[float, np.random.Generator], dict[str, Any]]:
    def look(severity: float, rng: np.random.Generator) -> dict[str, Any]:
        kind, color = _pick(rng, options)
        texture = Texture(kind, severity if kind != "plain" else 0.0, int(rng.integers(4)))
        return {
            name: _blend(getattr(scene, name), color, severity),
            f"{name}_texture": texture,
        }

    return look


def _table_look(scene: Scene, severity: float, rng: np.random.Generator) -> dict[str, Any]:
    return _surface("table", TABLES, scene)(severity, rng)


def _wall_look(scene: Scene, severity: float, rng: np.random.Generator) -> dict[str, Any]:
    return _surface("wall", WALLS, scene)(severity, rng)


def _object_shape(scene: Scene, severity: float, rng: np.random.Generator) -> dict[str, Any]:
    """Take another shape with a chance of `severity`; a toy has the colour that is its own."""
    if scene.cell != "sink":
        others = [shape for shape in HANDLES if shape != scene.handle_shape]
        handle = others[int(rng.integers(len(others)))]
        return {"handle_shape": handle} if rng.random() < severity else {}
    others = [shape for shape in TOYS if shape != scene.object_shape]
    toy = others[int(rng.integers(len(others)))]
    return {"object_shape": toy, "object_color": TOYS[toy]} if rng.random() < severity else {}


def _object_colour(scene: Scene, severity: float, rng: np.random.Generator) -> dict[str, Any]:
    if scene.cell == "sink":
        toy = _pick(rng, TOY_COLORS)
        return {"object_color": _blend(scene.object_color, toy, severity)}
    cabinet, drawer, handle = _pick(rng, FRONTS)
    return {
        "cabinet": _blend(scene.cabinet, cabinet, severity),
        "drawer": _blend(scene.drawer, drawer, severity),
        "handle": _blend(scene.handle, handle, severity),
    }


def _object_size(scene: Scene, severity: float, rng: np.random.Generator) -> dict[str, Any]:
    length, thickness = _between(rng, -0.22, 0.12), _between(rng, -0.25, 0.25)
    if scene.cell == "sink":
        return {
            "object_half_length_m": scene.object_half_length_m * (1.0 + severity * length),
            "object_radius_m": scene.object_radius_m * (1.0 + severity * 0.6 * thickness),
        }
    return {
        "handle_half_length_m": scene.handle_half_length_m * (1.0 + severity * length),
        "handle_radius_m": scene.handle_radius_m * (1.0 + severity * thickness),
    }


def _fixture_pose(scene: Scene, severity: float, rng: np.random.Generator) -> dict[str, Any]:
    """Move the fixture; less in the twin, whose tool must reach it inside AutoEval's box."""
    x, y, yaw = _between(rng, -1.0, 1.0), _between(rng, -1.0, 1.0), _between(rng, -1.0, 1.0)
    if scene.cell == "table":
        x, y, yaw = 0.030 * x - 0.005, 0.0625 * y - 0.0075, 0.24 * yaw
        reach = {"drawer_x_m": x, "drawer_y_m": y, "drawer_yaw_rad": yaw}
    elif scene.cell == "drawer":
        reach = {"drawer_x_m": 0.009 * x, "drawer_y_m": 0.03 * y, "drawer_yaw_rad": 0.12 * yaw}
    else:
        reach = {"sink_x_m": 0.012 * x, "sink_y_m": 0.012 * y, "sink_yaw_rad": 0.08 * yaw}
    return {name: getattr(scene, name) + severity * change for name, change in reach.items()}


def _friction(scene: Scene, severity: float, rng: np.random.Generator) -> dict[str, Any]:
    change = 1.0 + severity * _between(rng, -0.4, 0.6)
    if scene.cell == "sink":
        return {"object_friction": scene.object_friction * change}
    return {
        "rail_friction_n": scene.rail_friction_n * change,
        "handle_friction": scene.handle_friction * (1.0 + severity * _between(rng, -0.4, 0.4)),
    }


def _mass(scene: Scene, severity: float, rng: np.random.Generator) -> dict[str, Any]:
    change = 2.0 ** (severity * _between(rng, -1.0, 1.0))
    if scene.cell == "sink":
        return {"object_mass_kg": scene.object_mass_kg * change}
    return {"drawer_mass_kg": scene.drawer_mass_kg * change}


def _distractors(scene: Scene, severity: float, rng: np.random.Generator) -> dict[str, Any]:
    """Put up to five things; fewer of them are the first of more."""
    return {"distractors": placing.place_things(scene, math.ceil(5.0 * severity), rng)}


AXES: Mapping[str, Change] = {
    "camera_pose": _camera_pose,
    "light": _light,
    "table_look": _table_look,
    "wall_look": _wall_look,
    "object_shape": _object_shape,
    "object_colour": _object_colour,
    "object_size": _object_size,
    "fixture_pose": _fixture_pose,
    "friction": _friction,
    "mass": _mass,
    "distractors": _distractors,
}
"""Name of an axis to its change. The object is the handle and its drawer, or the sink's toy."""
TABLES: Mapping[str, tuple[str, Color]] = {
    "oak": ("wood", (0.80, 0.60, 0.38)),
    "walnut": ("wood", (0.46, 0.30, 0.20)),
    "pine": ("wood", (0.92, 0.76, 0.52)),
    "granite": ("stone", (0.42, 0.43, 0.45)),
    "terrazzo": ("stone", (0.86, 0.84, 0.80)),
    "marble": ("marble", (0.93, 0.92, 0.91)),
    "terracotta": ("tiles", (0.78, 0.46, 0.32)),
    "white tiles": ("tiles", (0.90, 0.91, 0.90)),
    "blue cloth": ("weave", (0.48, 0.62, 0.84)),
    "red cloth": ("weave", (0.86, 0.40, 0.36)),
}
"""Name of a table to its pattern and colour."""
WALLS: Mapping[str, tuple[str, Color]] = {
    "cream paint": ("plain", (0.93, 0.88, 0.74)),
    "sage paint": ("plain", (0.62, 0.70, 0.58)),
    "striped paper": ("stripes", (0.70, 0.76, 0.86)),
    "tiled": ("tiles", (0.88, 0.92, 0.92)),
    "panelled": ("wood", (0.66, 0.48, 0.32)),
}
"""Name of a wall to its pattern and colour."""
FRONTS: Mapping[str, tuple[Color, Color, Color]] = {
    "white and chrome": ((0.90, 0.90, 0.89), (0.95, 0.95, 0.94), (0.55, 0.57, 0.60)),
    "navy and brass": ((0.14, 0.20, 0.34), (0.17, 0.25, 0.42), (0.85, 0.66, 0.28)),
    "sage and wood": ((0.52, 0.63, 0.50), (0.58, 0.70, 0.56), (0.50, 0.32, 0.18)),
    "oak and black": ((0.66, 0.46, 0.28), (0.74, 0.53, 0.33), (0.10, 0.10, 0.11)),
    "red and white": ((0.62, 0.13, 0.12), (0.72, 0.17, 0.15), (0.95, 0.94, 0.92)),
    "charcoal and steel": ((0.24, 0.25, 0.27), (0.30, 0.31, 0.33), (0.80, 0.81, 0.83)),
    "butter and blue": ((0.92, 0.82, 0.52), (0.96, 0.87, 0.58), (0.22, 0.42, 0.70)),
}
"""Name of a chest to the colours of its body, its drawer and its handle."""
HANDLES = ("bar", "square", "bow")
"""Shapes of a handle."""
TOYS: Mapping[str, Color] = {
    "eggplant": (0.27, 0.10, 0.32),
    "carrot": (0.90, 0.45, 0.12),
    "corn": (0.95, 0.80, 0.25),
    "cucumber": (0.30, 0.50, 0.18),
    "banana": (0.95, 0.84, 0.32),
}
"""Toy that the sink's tasks move to its colour."""
TOY_COLORS: Mapping[str, Color] = {
    "pale": (0.85, 0.82, 0.74),
    "dark": (0.12, 0.12, 0.14),
    "red": (0.78, 0.16, 0.14),
    "blue": (0.20, 0.34, 0.66),
}
"""Colours that a toy may have been painted in."""
