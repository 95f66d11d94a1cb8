"""Plays recorded reports to a device and asks it at 25 Hz, as the node does."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from robot_agent.core import wx250s
from robot_agent.teleop.sample import Device, OperatorSample, ToolView

MS = 1_000_000
PERIOD_NS = 40 * MS
TOOL = ToolView(wx250s.pose_at(np.array([0.28, 0.0, 0.15])), 1.0, True)


def recording(name: str) -> list[dict[str, Any]]:
    lines = (Path(__file__).parent / "recordings" / name).read_text().splitlines()
    return [json.loads(line) for line in lines]


def play(
    device: Device,
    rows: list[dict[str, Any]],
    feed: Callable[[dict[str, Any], int], None],
    *,
    extra_ms: int = 1000,
    tool: Callable[[], ToolView] = lambda: TOOL,
) -> Iterator[tuple[int, OperatorSample]]:
    """Yield (time [ms], sample) until `extra_ms` after the last report."""
    waiting, now_ms = list(rows), 0
    while now_ms <= rows[-1]["t_ms"] + extra_ms:
        while waiting and waiting[0]["t_ms"] <= now_ms:
            row = waiting.pop(0)
            feed(row, row["t_ms"] * MS)
        sample = device.poll(now_ms * MS, tool())
        if sample is not None:
            yield now_ms, sample
        now_ms += PERIOD_NS // MS
