"""Measures one picture: how bright, how much of it is clipped, how sharp."""

from dataclasses import dataclass

import cv2
import numpy as np

from robot_agent.core.types import ImageArray

_WORK_SIZE_PX = (320, 240)
"""Sharpness is measured at this size, so that it means the same for every profile."""
_WHITE = 250
"""Grey levels from here on are clipped, whatever the lens and the coding do to them."""
_EDGES = 0.98
"""The sharpest hundredths of a picture are its edges; noise is everywhere."""


@dataclass(frozen=True)
class Quality:
    """One picture in four numbers."""

    brightness: float
    """Mean grey level, 0 to 255."""
    highlight: float
    """Grey level that a hundredth of the picture exceeds, 0 to 255."""
    clipped: float
    """Share of the picture that is white, 0 to 1."""
    sharpness: float
    """Strength of the edges over the contrast of the picture; 0.27 to 0.47 in focus."""


def measure(image_hwc: ImageArray) -> Quality:
    """Return the quality of an RGB picture (H, W, 3) uint8.

    Brightness, highlight and clipped share only grow with gain, so a verdict made of them cannot
    go back when the gain goes on. Sharpness is the Laplacian after a little smoothing, at its 98th
    percentile, over the standard deviation of the grey levels: edges count, the sensor's noise and
    the exposure hardly do. Measured in focus, on 14 real pictures of Bridge at 256x256 and 4
    rendered ones at 640x480: 0.27 to 0.47; blurred by 3 px (of 640) 0.19 and less.

    Cost: 1 ms for 640x480.
    """
    grey = cv2.cvtColor(image_hwc, cv2.COLOR_RGB2GRAY)
    shares = np.bincount(grey.reshape(-1), minlength=256) / grey.size
    small = cv2.resize(grey, _WORK_SIZE_PX, interpolation=cv2.INTER_AREA).astype(np.float32)
    edges = np.abs(cv2.Laplacian(cv2.GaussianBlur(small, (0, 0), 1.0), cv2.CV_32F)).reshape(-1)
    rank = int(_EDGES * edges.size)
    return Quality(
        brightness=float(shares @ np.arange(256)),
        highlight=float(np.searchsorted(np.cumsum(shares), 0.99)),
        clipped=float(shares[_WHITE:].sum()),
        sharpness=float(np.partition(edges, rank)[rank] / max(float(small.std()), 1.0)),
    )
