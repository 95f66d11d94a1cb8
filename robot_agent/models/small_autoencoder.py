"""Our own small autoencoder: pictures to latents of a quarter of the side, and back.

Axis letters: B batch, C H W picture or latent.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robot_agent.core.config import require_range

_BOUND = 3.0
"""Latents are squeezed into +-3 at the decoder's input, so that no sampler can leave the range."""


@dataclass(frozen=True, kw_only=True)
class SmallAutoencoderConfig:
    """Size of the network."""

    latent_channels: int = 8
    width: int = 32
    """Channels at half the side; twice as many at a quarter."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("latent_channels", self.latent_channels, 1, 64)
        require_range("width", self.width, 4, 512)


class SmallAutoencoder(nn.Module):
    """Convolutions only, so it takes pictures of any size divisible by four."""

    def __init__(self, config: SmallAutoencoderConfig | None = None) -> None:
        """Build an untrained network; `set_statistics` ends its training."""
        super().__init__()
        self.config = c = config or SmallAutoencoderConfig()
        self.encoder = _encoder(c)
        self.decoder = _decoder(c)
        self.mean: Tensor
        self.spread: Tensor
        self.register_buffer("mean", torch.zeros(c.latent_channels, 1, 1))
        self.register_buffer("spread", torch.ones(c.latent_channels, 1, 1))

    def encode(self, images_BCHW: Tensor) -> Tensor:
        """Return latents (B, C, H/4, W/4) of RGB in [0, 1], of mean 0 and deviation 1."""
        return (self.encoder(images_BCHW - 0.5) - self.mean) / self.spread

    def decode(self, latents_BCHW: Tensor) -> Tensor:
        """Return RGB in [0, 1]."""
        bounded = _BOUND * torch.tanh(latents_BCHW / _BOUND)
        return (self.decoder(bounded) + 0.5).clamp(0.0, 1.0)

    @torch.no_grad()
    def set_statistics(self, images_BCHW: Tensor) -> None:
        """Scale latents to mean 0 and deviation 1 on these pictures; before the decoder learns."""
        raw = self.encoder(images_BCHW - 0.5)
        self.mean.copy_(raw.mean(dim=(0, 2, 3))[:, None, None])
        self.spread.copy_(raw.std(dim=(0, 2, 3)).clamp_min(1e-3)[:, None, None])


class PixelAutoencoder:
    """No compression: pictures scaled to about unit deviation, for models that work on pixels."""

    def encode(self, images_BCHW: Tensor) -> Tensor:
        """Return RGB in [0, 1] as values in [-2, 2]."""
        return (images_BCHW - 0.5) * 4.0

    def decode(self, latents_BCHW: Tensor) -> Tensor:
        """Return RGB in [0, 1]."""
        return (latents_BCHW / 4.0 + 0.5).clamp(0.0, 1.0)


class _Residual(nn.Module):
    """Two convolutions added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def _encoder(config: SmallAutoencoderConfig) -> nn.Sequential:
    w = config.width
    return nn.Sequential(
        nn.Conv2d(3, w, 4, stride=2, padding=1),
        nn.SiLU(),
        _Residual(w),
        nn.Conv2d(w, 2 * w, 4, stride=2, padding=1),
        _Residual(2 * w),
        _Residual(2 * w),
        nn.Conv2d(2 * w, config.latent_channels, 1),
    )


def _decoder(config: SmallAutoencoderConfig) -> nn.Sequential:
    w = config.width
    return nn.Sequential(
        nn.Conv2d(config.latent_channels, 2 * w, 3, padding=1),
        _Residual(2 * w),
        _Residual(2 * w),
        nn.Conv2d(2 * w, 4 * w, 3, padding=1),
        nn.PixelShuffle(2),
        _Residual(w),
        nn.Conv2d(w, 12, 3, padding=1),
        nn.PixelShuffle(2),
    )
