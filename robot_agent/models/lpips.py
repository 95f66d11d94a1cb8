"""LPIPS with weights given by path: perceptual distance of pictures, on AlexNet's features.

Axis letters: B batch, C channels, H W picture.
Source: Zhang et al. 2018, arXiv 1801.03924, eq. 1; key names of the reference's `lpips.LPIPS`.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from robot_agent.core.errors import InputError

_CONVOLUTIONS = (
    ("net.slice1.0", (64, 3, 11, 11), 4, 2),
    ("net.slice2.3", (192, 64, 5, 5), 1, 2),
    ("net.slice3.6", (384, 192, 3, 3), 1, 1),
    ("net.slice4.8", (256, 384, 3, 3), 1, 1),
    ("net.slice5.10", (256, 256, 3, 3), 1, 1),
)
"""Key, shape of the weight, stride, padding; pooling comes before the second and third."""
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


class Lpips:
    """Mean LPIPS distance (AlexNet, version 0.1); smaller is more alike."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        """Take checked weights."""
        self._tensors = {name: tensor.float() for name, tensor in tensors.items()}

    @torch.no_grad()
    def __call__(self, image_BCHW: Tensor, target_BCHW: Tensor) -> float:
        """Return the mean distance of pictures (B, 3, H, W) in [0, 1], H and W at least 32."""
        total = torch.zeros(len(image_BCHW))
        pairs = zip(self._features(image_BCHW), self._features(target_BCHW), strict=True)
        for index, (a, b) in enumerate(pairs):
            apart = (_unit(a) - _unit(b)).square()
            weight = self._tensors[f"lin{index}.model.1.weight"]
            total = total + F.conv2d(apart, weight).mean(dim=(1, 2, 3))
        return float(total.mean())

    def _features(self, image_BCHW: Tensor) -> list[Tensor]:
        x = (2.0 * image_BCHW - 1.0 - torch.tensor(_SHIFT)[:, None, None]) / torch.tensor(_SCALE)[
            :, None, None
        ]
        found = []
        for index, (key, _, stride, padding) in enumerate(_CONVOLUTIONS):
            if index in (1, 2):
                x = F.max_pool2d(x, 3, stride=2)
            weight, bias = self._tensors[f"{key}.weight"], self._tensors[f"{key}.bias"]
            x = F.relu(F.conv2d(x, weight, bias, stride=stride, padding=padding))
            found.append(x)
        return found


def load_lpips(path: Path) -> Lpips:
    """Return LPIPS with the weights in a safetensors file.

    It holds the state of `lpips.LPIPS(net="alex")`, saved by `safetensors.torch.save_file`.

    Raises:
        InputError: The file cannot be read, or a tensor is missing, of another shape, or not
            finite.
    """
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"{path}: is no safetensors file ({error}). Save the state of lpips.LPIPS(net='alex')."
        ) from error
    for name, shape in _shapes().items():
        found = tuple(tensors[name].shape) if name in tensors else "missing"
        if found != shape or not tensors[name].isfinite().all():
            raise InputError(
                f"{path}: {name} is {found}, must be finite {shape}. Save the state of "
                f"lpips.LPIPS(net='alex')."
            )
    return Lpips(tensors)


def _shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for index, (key, shape, _, _) in enumerate(_CONVOLUTIONS):
        shapes[f"{key}.weight"], shapes[f"{key}.bias"] = shape, shape[:1]
        shapes[f"lin{index}.model.1.weight"] = (1, shape[0], 1, 1)
    return shapes


def _unit(x_BCHW: Tensor) -> Tensor:
    return x_BCHW / (x_BCHW.square().sum(dim=1, keepdim=True).sqrt() + 1e-10)
