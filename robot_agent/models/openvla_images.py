"""A camera's picture as OpenVLA sees it: cropped, resized, and normalised for both encoders.

Order of the published code: centre crop of nine tenths of the area (where the policy was trained
with random crops), bicubic to 224x224, then ImageNet's mean for DINOv2 and 0.5 for SigLIP.
"""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from robot_agent.core.config import require_range
from robot_agent.core.errors import InputError
from robot_agent.core.types import ImageArray
from robot_agent.models.scaling import to_unit

Triple = tuple[float, float, float]
_CROP_AREA = 0.9


@dataclass(frozen=True, kw_only=True)
class PictureConfig:
    """How pictures are prepared."""

    size_px: int = 224
    center_crop: bool = False
    """Cut the outer tenth of the area off, for policies trained with random crops (OFT)."""
    means: tuple[Triple, Triple] = ((0.485, 0.456, 0.406), (0.5, 0.5, 0.5))
    """Of DINOv2 (ImageNet) and of SigLIP, in [0, 1]; a published folder states its own."""
    stds: tuple[Triple, Triple] = ((0.229, 0.224, 0.225), (0.5, 0.5, 0.5))

    def __post_init__(self) -> None:
        """Check the ranges."""
        require_range("size_px", self.size_px, 14, 1024, "px")
        for value in [value for triple in self.stds for value in triple]:
            require_range("stds", value, 0.01, 10.0)


def prepare_picture(image_hwc: ImageArray, config: PictureConfig) -> Tensor:
    """Return one RGB picture (H, W, 3) uint8 as (6, S, S): DINOv2's channels, then SigLIP's.

    Raises:
        InputError: It is no uint8 (H, W, 3): another type, or channels first.
    """
    if image_hwc.dtype != np.uint8 or image_hwc.ndim != 3 or image_hwc.shape[2] != 3:
        raise InputError(
            f"picture: is {image_hwc.dtype}{image_hwc.shape}, must be uint8(H, W, 3) in the order "
            f"red, green, blue. Check the camera's encoding."
        )
    if config.center_crop:
        image_hwc = crop_center(image_hwc, config.size_px)
    size = (config.size_px, config.size_px)
    resized = Image.fromarray(image_hwc).resize(size, Image.Resampling.BICUBIC)
    unit = to_unit(np.asarray(resized).copy())
    means, stds = torch.tensor(config.means), torch.tensor(config.stds)  # (2, 3) each
    both = (unit[None] - means[..., None, None]) / stds[..., None, None]
    return both.flatten(0, 1)


def crop_center(image_hwc: ImageArray, size_px: int) -> ImageArray:
    """Return the middle 90 % of the area as (size_px, size_px, 3), bilinear, corners on corners.

    The formula of TensorFlow's crop_and_resize, which the published policies were trained with:
    sample i of n lies at box_low + i (box_high - box_low) / (n - 1), as a fraction of H - 1.
    """
    reach = torch.linspace(-1.0, 1.0, size_px) * _CROP_AREA**0.5
    y, x = torch.meshgrid(reach, reach, indexing="ij")
    grid = torch.stack([x, y], dim=-1)[None]
    sampled = F.grid_sample(to_unit(image_hwc)[None], grid, mode="bilinear", align_corners=True)
    levels = (sampled[0].clamp(0.0, 1.0) * 255.5).to(torch.uint8)
    return levels.movedim(0, -1).contiguous().numpy()
