"""Autoencoders of diffusers behind our contract: Stable Diffusion 3's, and the tiny TAESD family.

Axis letters: B batch, C H W picture or latent.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robot_agent.core.errors import ConfigError

SD3_CONFIG: Mapping[str, Any] = {
    "latent_channels": 16,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "scaling_factor": 1.5305,
    "shift_factor": 0.0609,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
}
"""Of the autoencoder of Stable Diffusion 3 medium (its vae/config.json); 83.8 M parameters."""
TAESD3_CONFIG: Mapping[str, Any] = {"latent_channels": 16}
"""Of TAESD3, the tiny autoencoder of the same latents; 2.4 M parameters."""


class KlAutoencoder:
    """An `AutoencoderKL`: the mean of the posterior, shifted and scaled as the weights tell.

    The published model draws from the posterior and leaves out the shift (facts 2.1, 8.4). Its
    network was trained on such latents, hence `is_shifted=False` for its checkpoints.
    """

    def __init__(self, network: Any, *, is_shifted: bool = True) -> None:
        """Take an `AutoencoderKL`."""
        self._network = network.eval().requires_grad_(False)
        self._scale = float(network.config.scaling_factor)
        shift = network.config.shift_factor
        self._shift = float(shift) if is_shifted and shift is not None else 0.0

    @torch.no_grad()
    def encode(self, images_BCHW: Tensor) -> Tensor:
        """Return latents (B, C, H/8, W/8) of RGB in [0, 1]."""
        mean = self._network.encode(images_BCHW * 2.0 - 1.0).latent_dist.mode()
        return (mean - self._shift) * self._scale

    @torch.no_grad()
    def decode(self, latents_BCHW: Tensor) -> Tensor:
        """Return RGB in [0, 1]."""
        latents = latents_BCHW / self._scale + self._shift
        return (self._network.decode(latents).sample * 0.5 + 0.5).clamp(0.0, 1.0)


class TinyAutoencoder:
    """An `AutoencoderTiny` (TAESD and its kin), which works on scaled latents directly.

    TAESD3 imitates Stable Diffusion 3's autoencoder after shift and scale; a model whose latents
    are scaled only, as the published one's, is served by `offset` = shift times scale.
    """

    def __init__(self, network: Any, *, offset: float = 0.0) -> None:
        """Take an `AutoencoderTiny`; `offset` is what its user's latents lie above its own."""
        self._network = network.eval().requires_grad_(False)
        self._offset = offset

    @torch.no_grad()
    def encode(self, images_BCHW: Tensor) -> Tensor:
        """Return latents of RGB in [0, 1]."""
        return self._network.encode(images_BCHW * 2.0 - 1.0).latents + self._offset

    @torch.no_grad()
    def decode(self, latents_BCHW: Tensor) -> Tensor:
        """Return RGB in [0, 1]."""
        sample = self._network.decode(latents_BCHW - self._offset).sample
        return (sample * 0.5 + 0.5).clamp(0.0, 1.0)


def untrained_sd3(**changes: Any) -> Any:
    """Return an `AutoencoderKL` with Stable Diffusion 3's configuration and random weights."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(**{**SD3_CONFIG, **changes})


def untrained_taesd3() -> Any:
    """Return an `AutoencoderTiny` of 16 latent channels with random weights."""
    from diffusers import AutoencoderTiny

    return AutoencoderTiny(**TAESD3_CONFIG)


def load_sd3(folder: Path, *, is_shifted: bool = True) -> KlAutoencoder:
    """Return the autoencoder of a local folder with config.json and safetensors weights."""
    from diffusers import AutoencoderKL

    return KlAutoencoder(_local(AutoencoderKL, folder), is_shifted=is_shifted)


def load_taesd(folder: Path, *, offset: float = 0.0) -> TinyAutoencoder:
    """Return a tiny autoencoder of a local folder."""
    from diffusers import AutoencoderTiny

    return TinyAutoencoder(_local(AutoencoderTiny, folder), offset=offset)


def _local(kind: Any, folder: Path) -> Any:
    try:
        return kind.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"{folder}: no autoencoder that can be read ({error}). Download its config.json and "
            f"diffusion_pytorch_model.safetensors into this folder."
        ) from error
