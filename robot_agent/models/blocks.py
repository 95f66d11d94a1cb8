"""Small convolutional blocks that the tiny networks share.

Axis letters: B batch, C channels, H height, W width, D condition.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with group norm; an optional condition scales and shifts (FiLM).

    Source of FiLM: Perez et al. 2018, arXiv 1709.07871, eq. 2.
    """

    def __init__(self, channels: int, condition: int = 0) -> None:
        """Make a block for (B, channels, H, W) and a condition (B, `condition`), 0 for none."""
        super().__init__()
        self.norm_in = nn.GroupNorm(8, channels)
        self.conv_in = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm_out = nn.GroupNorm(8, channels)
        self.conv_out = nn.Conv2d(channels, channels, 3, padding=1)
        self.film = nn.Linear(condition, 2 * channels) if condition else None

    def forward(self, x_BCHW: Tensor, condition_BD: Tensor | None = None) -> Tensor:
        """Return x plus its residual, same shape."""
        h = self.conv_in(F.silu(self.norm_in(x_BCHW)))
        h = self.norm_out(h)
        if self.film is not None and condition_BD is not None:
            scale, shift = self.film(condition_BD)[:, :, None, None].chunk(2, dim=1)
            h = h * (1.0 + scale) + shift
        residual: Tensor = self.conv_out(F.silu(h))
        return x_BCHW + residual


def with_coordinates(x_BCHW: Tensor) -> Tensor:
    """Append two channels that hold each pixel's column and row in [-1, 1]."""
    B, _, H, W = x_BCHW.shape
    rows = torch.linspace(-1, 1, H, device=x_BCHW.device, dtype=x_BCHW.dtype)
    columns = torch.linspace(-1, 1, W, device=x_BCHW.device, dtype=x_BCHW.dtype)
    grid = torch.stack([columns.expand(H, W), rows[:, None].expand(H, W)])
    return torch.cat([x_BCHW, grid.expand(B, 2, H, W)], dim=1)
