"""Rotary positions of one or more axes: tables of cosines and sines, and the rotation.

Axis letters: N positions, D channels of one head.
Source: RoFormer (arXiv 2104.09864); both kinds as in WorldGym (arXiv 2506.00613), its model.py.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

RotaryKind = Literal["standard", "pixel"]
_PERIOD = 10_000.0
_PIXEL_MAX_FREQUENCY = 128.0


def rotary_table(positions: Sequence[Tensor], channels: int, kind: RotaryKind) -> Tensor:
    """Return cosines and sines (2, N, D): neighbouring channels share an angle.

    Args:
        positions: Coordinate of every position, one tensor (N,) per axis; in [-1, 1] for `pixel`.
        channels: D, shared evenly by the axes, first axis first.
        kind: `standard` turns pair i of m by p / 10000^(i/m), `pixel` by p * pi * f with f evenly
            spaced from 1 to 128.
    """
    pairs = channels // (2 * len(positions))
    index = torch.arange(pairs, dtype=torch.float64)
    if kind == "standard":
        frequency = _PERIOD ** (-index / pairs)
    else:
        frequency = torch.linspace(1.0, _PIXEL_MAX_FREQUENCY, pairs, dtype=torch.float64) * math.pi
    angles = torch.cat([p.double()[:, None] * frequency for p in positions], dim=1)
    both = angles.repeat_interleave(2, dim=1)
    return torch.stack([both.cos(), both.sin()]).float()


@lru_cache(maxsize=16)
def picture_table(height: int, width: int, channels: int, kind: RotaryKind) -> Tensor:
    """Return the table (2, H W, D) of the patches of a picture, row by row."""
    axes = [
        torch.arange(size, dtype=torch.float64)
        if kind == "standard"
        else torch.linspace(-1.0, 1.0, size, dtype=torch.float64)
        for size in (height, width)
    ]
    rows, columns = torch.meshgrid(*axes, indexing="ij")
    return rotary_table([rows.flatten(), columns.flatten()], channels, kind)


@lru_cache(maxsize=256)
def frame_table(first: int, count: int, channels: int) -> Tensor:
    """Return the table (2, N, D) of `count` frames in a row.

    Frames are counted from the start of the rollout: only differences of positions reach the
    attention, so a window that slides changes nothing and keys can be kept turned.
    """
    frames = torch.arange(first, first + count, dtype=torch.float64)
    return rotary_table([frames], channels, "standard")


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Turn the channel pairs of x (..., N, D) by their angles."""
    cos, sin = table.to(x)
    turned = torch.stack([-x[..., 1::2], x[..., ::2]], dim=-1).flatten(-2)
    return x * cos + turned * sin
