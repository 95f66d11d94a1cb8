"""Reads pictures from a folder."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np

from robot_agent.core.errors import InputError
from robot_agent.core.types import ImageArray

_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp")


def read_folder(folder: Path) -> list[ImageArray]:
    """Return the pictures of a folder as RGB (H, W, 3), in the order of their names.

    Raises:
        InputError: There is none, or one cannot be read.
    """
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in _ENDINGS)
    if not paths:
        raise InputError(
            f"{folder}: no pictures, must hold {', '.join(_ENDINGS)}. Check the path."
        )
    return [read_picture(path) for path in paths]


def read_picture(path: Path) -> ImageArray:
    """Return one picture as RGB (H, W, 3); InputError when it cannot be read."""
    picture: Any = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise InputError(f"{path}: cannot be read as a picture. Save it as PNG.")
    rgb: Any = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    return np.asarray(rgb, np.uint8)
