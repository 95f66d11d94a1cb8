"""How Bridge states and actions, and pictures, enter the tiny networks.

Axis letters: B batch, T time, H height, W width, C channels.
"""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robot_agent.core.bridge_action import Normalization
from robot_agent.core.types import FloatArray, ImageArray

_STATE_CENTER = np.array([0.27, 0.0, 0.13, 0.0, 0.0, 0.0, 0.5])
_STATE_SCALE = np.array([0.08, 0.08, 0.07, 0.2, 0.2, 0.2, 0.5])
_NORMALIZATION = Normalization()


def scale_states(states: FloatArray) -> Tensor:
    """Return Bridge states (..., 7) as float32 of about unit size."""
    return torch.from_numpy(((states - _STATE_CENTER) / _STATE_SCALE).astype(np.float32))


def unscale_states(states: Tensor) -> FloatArray:
    """Return scaled states (..., 7) in metres, radians and opening."""
    unscaled: FloatArray = states.double().numpy() * _STATE_SCALE + _STATE_CENTER
    return unscaled


def scale_actions(actions: FloatArray) -> Tensor:
    """Return Bridge actions (..., 7) as float32 in about [-1, 1]."""
    return torch.from_numpy(_NORMALIZATION.normalize(actions).astype(np.float32))


def to_unit(images: ImageArray | Tensor) -> Tensor:
    """Return pictures (..., H, W, C) uint8 as float32 (..., C, H, W) in [0, 1]."""
    tensor = torch.as_tensor(images)
    return tensor.movedim(-1, -3).contiguous().float() / 255.0


def to_bytes(images: Tensor) -> NDArray[np.uint8]:
    """Return pictures (..., C, H, W) in [0, 1] as uint8 (..., H, W, C), rounded."""
    scaled = (images.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)
    return scaled.movedim(-3, -1).contiguous().numpy()


def resize_squashed(image_hwc: ImageArray, size_px: int) -> ImageArray:
    """Return the picture squashed to a square by area averaging, as Bridge squashes 4:3."""
    if image_hwc.shape[:2] == (size_px, size_px):
        return image_hwc
    resized = cv2.resize(image_hwc, (size_px, size_px), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, dtype=np.uint8)
