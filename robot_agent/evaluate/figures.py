"""Pictures for a report, each as text that stands inside HTML: curves, bars, animations."""

import base64
import html
import io
import math
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from robot_agent.core.errors import InputError
from robot_agent.core.types import ImageArray, require_array

FRAME_MS = 200
"""Time of one frame of an animation: 5 Hz, real time."""
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 460, 200, 44, 26
_NUM_COLORS = 5
"""Classes c0 to c4 of the page's style."""

Point = tuple[float, float]


def animation(frames_thwc: ImageArray, title: str, scale: int = 3) -> str:
    """Return an `img` element that plays frames (T, H, W, 3) uint8, enlarged by the browser.

    An animated GIF: every browser plays it, and every build of the image library writes it.

    Raises:
        InputError: There is no frame, or the frames are no pictures.
    """
    frames = require_array(f"clip '{title}'", frames_thwc, (None, None, None, 3), np.uint8)
    if not len(frames):
        raise InputError(f"clip '{title}': 0 frames, must be at least 1. Leave it out.")
    height, width = frames.shape[1:3]
    images = [Image.fromarray(frame) for frame in frames]
    file = io.BytesIO()
    images[0].save(file, "GIF", save_all=True, append_images=images[1:], duration=FRAME_MS, loop=0)
    return _img(file.getvalue(), "image/gif", title, (width * scale, height * scale))


def curves(lines: Mapping[str, Sequence[Point]], title: str, x_name: str, y_name: str) -> str:
    """Return an SVG of named lines of (x, y) points; points that are not finite are left out."""
    clean = {
        name: [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
        for name, points in lines.items()
    }
    points = [point for line in clean.values() for point in line]
    if not points:
        return f"<p>{html.escape(title)}: nothing was measured.</p>"
    x_range, y_range = _range([x for x, _ in points]), _range([y for _, y in points])
    parts = [*_axes(x_range, y_range, x_name, y_name)]
    for index, (name, line) in enumerate(clean.items()):
        color = f"c{index % _NUM_COLORS}"
        placed = [(_x(x, x_range), _y(y, y_range)) for x, y in line]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline class="line {color}" points="{joined}"/>')
        parts += [f'<circle class="dot {color}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>'
                  for x, y in placed]  # fmt: skip
        at = _LEFT + 8 + index * 110
        parts.append(f'<text class="key {color}" x="{at}" y="14">{html.escape(name)}</text>')
    return _svg(parts, title)


def rate_bars(rates: Mapping[str, tuple[float, float, float]], title: str) -> str:
    """Return an SVG of success rates: name to (rate, low, high), each in [0, 1]."""
    parts, row = [], 26
    for index, (name, (rate, low, high)) in enumerate(rates.items()):
        y = 8 + index * row
        width, label = _WIDTH - 190, html.escape(name)
        left, right = 150 + low * width, 150 + high * width
        parts += [
            f'<text class="label" x="142" y="{y + 14}" text-anchor="end">{label}</text>',
            f'<rect class="back" x="150" y="{y}" width="{width}" height="18" rx="3"/>',
            f'<rect class="bar c{index % 2}" x="150" y="{y}" width="{rate * width:.1f}" '
            f'height="18" rx="3"/>',
            f'<path class="whisker" d="M{left:.1f} {y + 9}H{right:.1f}'
            f'M{left:.1f} {y + 5}v8M{right:.1f} {y + 5}v8"/>',
            f'<text class="label" x="{_WIDTH - 36}" y="{y + 14}">{100 * rate:.0f} %</text>',
        ]
    return _svg(parts, title, height=12 + row * len(rates))


def _img(content: bytes, kind: str, title: str, size: tuple[int, int]) -> str:
    text = base64.b64encode(content).decode()
    return (
        f'<img alt="{html.escape(title)}" width="{size[0]}" height="{size[1]}" '
        f'src="data:{kind};base64,{text}"/>'
    )


def _svg(parts: Sequence[str], title: str, height: int = _HEIGHT) -> str:
    return (
        f'<svg role="img" aria-label="{html.escape(title)}" viewBox="0 0 {_WIDTH} {height}">'
        f"{''.join(parts)}</svg>"
    )


def _range(values: Sequence[float]) -> Point:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _x(x: float, x_range: Point) -> float:
    return _LEFT + (x - x_range[0]) / (x_range[1] - x_range[0]) * (_WIDTH - _LEFT - 12)


def _y(y: float, y_range: Point) -> float:
    share = (y - y_range[0]) / (y_range[1] - y_range[0])
    return _HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - 26)


def _axes(x_range: Point, y_range: Point, x_name: str, y_name: str) -> list[str]:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - 12
    parts = [f'<path class="axis" d="M{_LEFT} 22V{bottom}H{right}"/>']
    for share in (0.0, 0.5, 1.0):
        x = x_range[0] + share * (x_range[1] - x_range[0])
        y = y_range[0] + share * (y_range[1] - y_range[0])
        parts += [
            f'<text class="tick" x="{_x(x, x_range):.1f}" y="{bottom + 12}" '
            f'text-anchor="middle">{x:.3g}</text>',
            f'<text class="tick" x="{_LEFT - 5}" y="{_y(y, y_range) + 3:.1f}" '
            f'text-anchor="end">{y:.3g}</text>',
        ]
    parts += [
        f'<text class="tick" x="{right}" y="{_HEIGHT - 2}" text-anchor="end">'
        f"{html.escape(x_name)}</text>",
        f'<text class="tick" x="2" y="14">{html.escape(y_name)}</text>',
    ]
    return parts
