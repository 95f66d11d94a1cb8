"""What a real lens and sensor do to a rendered picture."""

from typing import Any

import cv2
import numpy as np

from robot_agent.core.types import ImageArray
from robot_agent.sim.physics import Physics

_WIDTH_PX = 640
"""Width that blur and noise are stated for."""


def expose(picture: ImageArray, physics: Physics, seed: tuple[int, int]) -> ImageArray:
    """Return the picture (H, W, 3) as the camera of `physics` gives it; same seed, same noise.

    A smaller picture stands for a larger one averaged down: blur and noise shrink with it.
    """
    scale = picture.shape[1] / _WIDTH_PX
    levels = np.arange(256)[:, None] / 255.0
    gain = np.array(physics.white_balance) * physics.exposure
    table = 255.0 * np.clip(levels * gain, 0.0, 1.0) ** physics.gamma
    blurred: Any = picture
    if physics.blur_px > 0.0:
        blurred = cv2.GaussianBlur(picture, (0, 0), max(physics.blur_px * scale, 0.01))
    seen = np.stack([table[blurred[..., c], c] for c in range(3)], axis=2)
    if physics.noise > 0.0:
        rng = np.random.default_rng(seed)
        seen += physics.noise * scale * rng.standard_normal(seen.shape, dtype=np.float32)
    return np.clip(np.round(seen), 0, 255).astype(np.uint8)
