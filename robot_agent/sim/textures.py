"""Surfaces of a household as small procedural patterns, multiplied with a scene's colours."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np

from robot_agent.core.config import require_range
from robot_agent.core.errors import ConfigError
from robot_agent.core.types import FloatArray, ImageArray

SIZE_PX = 256
"""Edge of a texture; every pattern repeats without a seam."""


@dataclass(frozen=True)
class Texture:
    """What a surface looks like beside its colour."""

    kind: str = "plain"
    """A key of `PATTERNS`, or `plain` for the colour alone."""
    contrast: float = 0.0
    """0 shows the colour alone, 1 the whole pattern."""
    seed: int = 0
    """Another seed is another plank of the same wood."""

    def __post_init__(self) -> None:
        """Check the kind and the range."""
        if self.kind not in ("plain", *PATTERNS):
            raise ConfigError(
                f"texture '{self.kind}' is unknown. Choose one of: plain, {', '.join(PATTERNS)}."
            )
        require_range("contrast", self.contrast, 0.0, 1.0)

    @property
    def is_plain(self) -> bool:
        """Whether nothing of a pattern shows."""
        return self.kind == "plain" or self.contrast == 0.0


def pixels(texture: Texture) -> ImageArray:
    """Return the texture (256, 256, 3) uint8; white leaves the colour of the surface as it is."""
    shade = 1.0 + texture.contrast * (_pattern(texture.kind, texture.seed) - 1.0)
    return np.repeat(np.round(255.0 * shade).astype(np.uint8)[:, :, None], 3, axis=2)


@cache
def _pattern(kind: str, seed: int) -> FloatArray:
    shade: FloatArray = np.clip(PATTERNS[kind](np.random.default_rng(seed)), 0.0, 1.0)
    return shade


def _noise(rng: np.random.Generator, cells_y: int, cells_x: int) -> FloatArray:
    """Return smooth noise in [0, 1], (256, 256), that repeats: a random grid, interpolated."""
    grid = rng.random((cells_y, cells_x))
    for axis, cells in ((0, cells_y), (1, cells_x)):
        place = np.arange(SIZE_PX) * cells / SIZE_PX
        below = place.astype(int)
        t = place - below
        shape = (-1, 1) if axis == 0 else (1, -1)
        t = (t * t * (3.0 - 2.0 * t)).reshape(shape)
        grid = (1.0 - t) * grid.take(below, axis) + t * grid.take((below + 1) % cells, axis)
    return grid


def _cloud(rng: np.random.Generator) -> FloatArray:
    """Return noise of four octaves in [0, 1]."""
    octaves = [_noise(rng, 4 << k, 4 << k) / 2**k for k in range(4)]
    return np.sum(octaves, axis=0) / 1.875


def _planks(num: int) -> FloatArray:
    """Return 1 on planks along x and less in the narrow gaps between them."""
    across = np.arange(SIZE_PX) % (SIZE_PX // num)
    return np.where(across < 2, 0.45, 1.0)[:, None] * np.ones(SIZE_PX)


def _wood(rng: np.random.Generator) -> FloatArray:
    x = np.arange(SIZE_PX) / SIZE_PX
    warp = 1.2 * _noise(rng, 4, 2) + 0.4 * _noise(rng, 16, 4)
    rings = 0.5 + 0.5 * np.sin(2 * np.pi * (6 * x[:, None] + warp * 2))
    fibre = _noise(rng, 128, 6)
    tone = np.repeat(rng.uniform(0.88, 1.0, 4), SIZE_PX // 4)[:, None]
    return (tone - 0.22 * rings**2 - 0.18 * fibre) * _planks(4)


def _tiles(rng: np.random.Generator) -> FloatArray:
    edge = np.arange(SIZE_PX) % (SIZE_PX // 4) < 5
    grout = edge[:, None] | edge[None, :]
    tone = np.kron(rng.uniform(0.86, 1.0, (4, 4)), np.ones((SIZE_PX // 4, SIZE_PX // 4)))
    return np.where(grout, 0.52, tone - 0.06 * _cloud(rng))


def _marble(rng: np.random.Generator) -> FloatArray:
    x = np.arange(SIZE_PX) / SIZE_PX
    bend = _cloud(rng)
    veins = np.abs(np.sin(np.pi * (2 * x[:, None] + 2 * x[None, :] + 3.0 * bend)))
    return 1.0 - 0.5 * np.exp(-veins / 0.08) - 0.12 * bend


def _weave(rng: np.random.Generator) -> FloatArray:
    thread = 0.5 + 0.5 * np.sin(2 * np.pi * np.arange(SIZE_PX) * 32 / SIZE_PX)
    check = (np.arange(SIZE_PX) // (SIZE_PX // 8)) % 2
    cloth = 0.10 * (thread[:, None] + thread[None, :]) + 0.05 * rng.random((SIZE_PX, SIZE_PX))
    return 1.0 - cloth - 0.22 * (check[:, None] + check[None, :])


def _stone(rng: np.random.Generator) -> FloatArray:
    grains = _noise(rng, 128, 128)
    dark = np.where(grains > 0.74, 0.45, 0.0)
    light = np.where(grains < 0.22, 0.12, 0.0)
    return 0.85 - dark + light - 0.15 * _cloud(rng)


def _stripes(rng: np.random.Generator) -> FloatArray:
    band = (np.arange(SIZE_PX) // (SIZE_PX // 8)) % 2
    return np.where(band, 0.78, 1.0)[None, :] * np.ones((SIZE_PX, 1)) - 0.03 * _cloud(rng)


PATTERNS: Mapping[str, Callable[[np.random.Generator], FloatArray]] = {
    "wood": _wood,
    "tiles": _tiles,
    "marble": _marble,
    "weave": _weave,
    "stone": _stone,
    "stripes": _stripes,
}
"""Kind of surface to its pattern: brightness in [0, 1], (256, 256)."""
PLAIN = Texture()
"""The colour alone."""
