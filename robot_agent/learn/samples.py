"""Clips of what a model in training imagines, beside what really happened.

Axis letters: B windows, T time, H W C picture.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robot_agent.core.types import ImageArray
from robot_agent.learn.fit import Metrics, Report
from robot_agent.learn.processes import is_writer
from robot_agent.store.durable import storage_errors, sync_folder
from robot_agent.store.video import write_video

RATE_HZ = 5
_LEAST_PX = 128


def beside(real_BTHWC: ImageArray, imagined_BTHWC: ImageArray) -> NDArray[np.uint8]:
    """Return a clip (T, B H, 2 W, 3): a row for each window, real left and imagined right."""
    both = np.concatenate([real_BTHWC, imagined_BTHWC], axis=3)
    rows = np.concatenate(list(both), axis=1)
    scale = -(-_LEAST_PX // real_BTHWC.shape[2])
    return rows.repeat(scale, axis=1).repeat(scale, axis=2)


def write_clip(path: Path, frames_THWC: ImageArray) -> None:
    """Write an MP4 by one rename."""
    staging = path.with_name(f".tmp-{path.name}")
    with storage_errors("writing a sample clip", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(staging, frames_THWC, RATE_HZ)
        staging.replace(path)
        sync_folder(path.parent)


def with_samples(
    report: Report | None, folder: Path | None, every: int, draw: Callable[[], ImageArray]
) -> Report | None:
    """Return a report that also writes `draw()` into `folder` every so many updates.

    Clips are called by the update after which they were drawn: 000200.mp4.
    """
    if folder is None or not is_writer():
        return report

    def on_step(step: int, total: int, metrics: Metrics) -> None:
        if step % every == 0 or step == total:
            write_clip(folder / f"{step:06d}.mp4", draw())
        if report is not None:
            report(step, total, metrics)

    return on_step
