"""Things that stand about in a household: drawn, and touched by nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from robot_agent.core.errors import ConfigError

Color = tuple[float, float, float]
_SEGMENTS = 20
"""Corners of a turned shape seen from above."""
_WHITE: Color = (0.93, 0.92, 0.88)
_STEEL: Color = (0.72, 0.73, 0.75)
_SHADE = 'rgba="0.05 0.05 0.06 0.28"'
"""Where a thing keeps the light off the table; without it things seem to float."""


@dataclass(frozen=True)
class Thing:
    """One object on the table, at rest."""

    kind: str
    """A key of `KINDS`."""
    x_m: float
    y_m: float
    yaw_rad: float = 0.0
    color: Color = (0.8, 0.3, 0.2)

    def __post_init__(self) -> None:
        """Check the kind."""
        if self.kind not in KINDS:
            raise ConfigError(
                f"thing '{self.kind}' is unknown. Choose one of: {', '.join(KINDS)}."
            )

    @property
    def radius_m(self) -> float:
        """Radius of the circle on the table that it stands in."""
        return RADIUS_M[self.kind]


def things_mjcf(things: Sequence[Thing]) -> tuple[str, str]:
    """Return MJCF of the meshes and of the bodies of `things`; both "" without things."""
    turned = sorted({thing.kind for thing in things} & _PROFILES_M.keys())
    bodies = ""
    for index, thing in enumerate(things):
        bodies += (
            f'<body name="thing_{index}" pos="{thing.x_m} {thing.y_m} 0" '
            f'euler="0 0 {thing.yaw_rad}">{KINDS[thing.kind](thing.color)}</body>\n'
        )
    return "".join(_turned_mesh(kind) for kind in turned), bodies


def _turned_mesh(kind: str) -> str:
    """Return a mesh turned about z from an outline of (radius, height) from axis to axis."""
    angles = 2.0 * np.pi * np.arange(_SEGMENTS) / _SEGMENTS
    profile = np.array(_PROFILES_M[kind])
    rings = profile[1:-1]
    around = [(r * np.cos(a), r * np.sin(a), z) for r, z in rings for a in angles]
    corners = np.array([(0.0, 0.0, profile[0, 1]), *around, (0.0, 0.0, profile[-1, 1])])
    faces = []
    for k in range(_SEGMENTS):
        n = (k + 1) % _SEGMENTS
        faces.append((0, 1 + n, 1 + k))
        for ring in range(len(rings) - 1):
            low, high = 1 + ring * _SEGMENTS, 1 + (ring + 1) * _SEGMENTS
            faces += [(low + k, low + n, high + n), (low + k, high + n, high + k)]
        last = 1 + (len(rings) - 1) * _SEGMENTS
        faces.append((last + k, last + n, len(corners) - 1))
    vertex = " ".join(f"{value:.5f}" for value in corners.ravel())
    face = " ".join(str(index) for triple in faces for index in triple)
    return f'<mesh name="{kind}" vertex="{vertex}" face="{face}"/>\n'


def _paint(color: Color) -> str:
    return f'rgba="{color[0]} {color[1]} {color[2]} 1"'


def _dim(color: Color, by: float) -> Color:
    return (color[0] * by, color[1] * by, color[2] * by)


def _turned(kind: str, color: Color) -> str:
    # MuJoCo moves a mesh to its centre of mass and corrects the geom by it: pos is the floor's.
    shade = f'<geom type="cylinder" size="{1.12 * RADIUS_M[kind]} 0.0004" {_SHADE}/>'
    return f'{shade}<geom type="mesh" mesh="{kind}" {_paint(color)}/>'


def _disc(radius_m: float, height_m: float, color: Color, half_m: float = 0.0008) -> str:
    return (
        f'<geom type="cylinder" size="{radius_m} {half_m}" pos="0 0 {height_m}" {_paint(color)}/>'
    )


def _block(half_m: Sequence[float], pos_m: Sequence[float], color: Color) -> str:
    size, pos = " ".join(map(str, half_m)), " ".join(map(str, pos_m))
    return f'<geom type="box" size="{size}" pos="{pos}" {_paint(color)}/>'


def _mug(color: Color) -> str:
    rim = np.array(
        [(0.038, 0.072), (0.060, 0.066), (0.066, 0.046), (0.058, 0.028), (0.038, 0.022)]
    )
    grip = "".join(
        f'<geom type="capsule" size="0.0055" fromto="{a[0]} 0 {a[1]} {b[0]} 0 {b[1]}" '
        f"{_paint(color)}/>"
        for a, b in pairwise(rim)
    )
    return _turned("mug", color) + grip + _disc(0.0335, 0.074, (0.22, 0.13, 0.07))


def _bowl(color: Color) -> str:
    return _turned("bowl", color) + _disc(0.050, 0.030, _dim(color, 0.55))


def _bottle(color: Color) -> str:
    label = f'<geom type="cylinder" size="0.0335 0.026" pos="0 0 0.062" {_paint(_WHITE)}/>'
    cap = (
        f'<geom type="cylinder" size="0.0145 0.011" pos="0 0 0.186" {_paint((0.8, 0.15, 0.12))}/>'
    )
    return _turned("bottle", color) + label + cap


def _can(color: Color) -> str:
    label = f'<geom type="cylinder" size="0.0335 0.046" pos="0 0 0.054" {_paint(color)}/>'
    stripe = f'<geom type="cylinder" size="0.0337 0.010" pos="0 0 0.060" {_paint(_WHITE)}/>'
    return _turned("can", _STEEL) + label + stripe + _disc(0.027, 0.1085, _dim(_STEEL, 0.8))


def _fruit(color: Color) -> str:
    stem = '<geom type="capsule" size="0.0022" fromto="0 0 0.066 0.006 0 0.082" '
    leaf = '<geom type="ellipsoid" size="0.013 0.006 0.0015" pos="0.017 0 0.080" '
    return (
        _turned("fruit", color)
        + stem
        + _paint((0.30, 0.20, 0.10))
        + "/>"
        + leaf
        + _paint((0.25, 0.5, 0.2))
        + "/>"
    )


def _box(color: Color) -> str:
    shade = f'<geom type="box" size="0.040 0.060 0.0004" {_SHADE}/>'
    body = _block((0.030, 0.050, 0.070), (0, 0, 0.070), color)
    label = _block((0.0305, 0.036, 0.026), (0, 0, 0.082), _WHITE)
    band = _block((0.0307, 0.0505, 0.008), (0, 0, 0.024), _dim(color, 0.5))
    return shade + body + label + band


def _book(color: Color) -> str:
    shade = f'<geom type="box" size="0.064 0.084 0.0004" {_SHADE}/>'
    pages = _block((0.054, 0.073, 0.010), (0.002, 0, 0.013), (0.95, 0.93, 0.86))
    covers = _block((0.057, 0.077, 0.0017), (0, 0, 0.0017), color) + _block(
        (0.057, 0.077, 0.0017), (0, 0, 0.0245), color
    )
    back = _block((0.0025, 0.077, 0.013), (-0.0565, 0, 0.013), color)
    title = _block((0.012, 0.045, 0.0002), (-0.015, 0, 0.0264), _WHITE)
    return shade + pages + covers + back + title


_PROFILES_M: Mapping[str, Sequence[tuple[float, float]]] = {
    "mug": (
        (0, 0), (0.034, 0), (0.039, 0.006), (0.040, 0.088), (0.037, 0.090), (0.035, 0.086),
        (0.034, 0.060), (0, 0.060),
    ),
    "bowl": (
        (0, 0), (0.028, 0), (0.030, 0.008), (0.055, 0.028), (0.068, 0.056), (0.065, 0.057),
        (0.051, 0.031), (0.030, 0.014), (0, 0.012),
    ),
    "bottle": (
        (0, 0), (0.030, 0), (0.033, 0.006), (0.033, 0.105), (0.028, 0.125), (0.014, 0.150),
        (0.012, 0.185), (0, 0.186),
    ),
    "can": (
        (0, 0), (0.030, 0), (0.033, 0.004), (0.033, 0.104), (0.030, 0.109), (0.028, 0.106),
        (0, 0.106),
    ),
    "fruit": (
        (0, 0.006), (0.012, 0.001), (0.026, 0.010), (0.036, 0.030), (0.036, 0.044),
        (0.027, 0.062), (0.012, 0.070), (0, 0.064),
    ),
}  # fmt: skip
"""Radius and height along the outline of turned things, from the floor's middle to the top's."""
RADIUS_M: Mapping[str, float] = {
    "mug": 0.042, "bowl": 0.068, "bottle": 0.034, "can": 0.034, "fruit": 0.037, "box": 0.062,
    "book": 0.096,
}  # fmt: skip
"""Circle on the table that each stands in."""
HEIGHT_M: Mapping[str, float] = {
    "mug": 0.090, "bowl": 0.057, "bottle": 0.197, "can": 0.109, "fruit": 0.080, "box": 0.140,
    "book": 0.026,
}  # fmt: skip
KINDS: Mapping[str, Callable[[Color], str]] = {
    "mug": _mug,
    "bowl": _bowl,
    "bottle": _bottle,
    "box": _box,
    "book": _book,
    "fruit": _fruit,
    "can": _can,
}
"""Kind of thing to the MJCF of its shape, standing at the origin in a colour."""
COLORS: Mapping[str, Sequence[Color]] = {
    "mug": ((0.80, 0.20, 0.16), (0.92, 0.91, 0.87), (0.16, 0.36, 0.60), (0.93, 0.74, 0.25)),
    "bowl": ((0.90, 0.89, 0.84), (0.30, 0.52, 0.60), (0.62, 0.34, 0.22)),
    "bottle": ((0.13, 0.38, 0.20), (0.45, 0.24, 0.08), (0.35, 0.55, 0.72)),
    "box": ((0.92, 0.62, 0.12), (0.70, 0.16, 0.18), (0.20, 0.45, 0.30)),
    "book": ((0.14, 0.22, 0.42), (0.52, 0.12, 0.14), (0.10, 0.35, 0.30)),
    "fruit": ((0.78, 0.12, 0.10), (0.95, 0.55, 0.08), (0.52, 0.70, 0.16)),
    "can": ((0.78, 0.14, 0.12), (0.14, 0.34, 0.66), (0.16, 0.48, 0.26)),
}
"""Colours that such a thing has."""
