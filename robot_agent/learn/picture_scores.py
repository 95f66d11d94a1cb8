"""How alike two pictures are: PSNR, SSIM, and how sharp one is beside the other.

Axis letters: B batch, C H W picture.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

_WINDOW_PX = 7
_LAPLACE = ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0))


def psnr_each(image_BCHW: Tensor, target_BCHW: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio [dB] of each picture (B,) in [0, 1]; at most 100."""
    error_B = (image_BCHW - target_BCHW).square().mean(dim=(1, 2, 3)).clamp_min(1e-10)
    return -10.0 * torch.log10(error_B)


def psnr(image_BCHW: Tensor, target_BCHW: Tensor) -> float:
    """Return the mean peak signal-to-noise ratio [dB] of pictures (B, C, H, W) in [0, 1]."""
    return float(psnr_each(image_BCHW, target_BCHW).mean())


def ssim(image_BCHW: Tensor, target_BCHW: Tensor) -> float:
    """Return the mean structural similarity of pictures in [0, 1].

    Source: Wang et al. 2004, with a uniform window of 7 pixels, K1 = 0.01, K2 = 0.03, and
    unbiased variances.
    """

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, _WINDOW_PX, stride=1)

    count = _WINDOW_PX**2
    unbiased = count / (count - 1)
    a, b = mean(image_BCHW), mean(target_BCHW)
    aa = unbiased * (mean(image_BCHW**2) - a * a)
    bb = unbiased * (mean(target_BCHW**2) - b * b)
    ab = unbiased * (mean(image_BCHW * target_BCHW) - a * b)
    c1, c2 = 0.01**2, 0.03**2
    shares = ((2 * a * b + c1) * (2 * ab + c2)) / ((a * a + b * b + c1) * (aa + bb + c2))
    return float(shares.mean())


def sharpness(image_BCHW: Tensor, target_BCHW: Tensor) -> float:
    """Return the energy of fine detail of the first pictures over that of the second.

    Detail is the Laplacian of the grey picture; 1 is as sharp, below 1 is blurred.
    """
    kernel = torch.tensor(_LAPLACE)[None, None]

    def energy(pictures: Tensor) -> float:
        return float(F.conv2d(pictures.mean(dim=1, keepdim=True), kernel).square().mean())

    return energy(image_BCHW) / max(energy(target_BCHW), 1e-12)
