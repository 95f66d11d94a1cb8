"""TAEF2: a tiny pretrained image autoencoder whose weights the user has as safetensors.

Axis letters: B batch, C H W picture or latent.
Source: TAEF2 by Ollin Boer Bohan (MIT); architecture as described beside the weights: a key's
number is the position of its layer.
"""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from robot_agent.core.errors import BundleRejectedError, ConfigError

_WIDTH = 64
_LATENT_CHANNELS = 32
_BOUND = 3.0


class Taef2:
    """RGB in [0, 1] to latents (B, 32, H/8, W/8) of deviation about 0.85, and back."""

    def __init__(self, folder: Path) -> None:
        """Read `taef2_encoder.safetensors` and `taef2_decoder.safetensors`.

        Raises:
            ConfigError: A file is missing or unreadable.
            BundleRejectedError: A key is missing, left over or of another shape.
        """
        self.encoder, self.decoder = taef2_encoder(), taef2_decoder()
        for network, name in ((self.encoder, "encoder"), (self.decoder, "decoder")):
            load_every_key(network, folder / f"taef2_{name}.safetensors")
            network.eval().requires_grad_(False)

    @torch.no_grad()
    def encode(self, images_BCHW: Tensor) -> Tensor:
        """Return latents."""
        return self.encoder(images_BCHW)

    @torch.no_grad()
    def decode(self, latents_BCHW: Tensor) -> Tensor:
        """Return RGB in [0, 1]."""
        return self.decoder(latents_BCHW).clamp(0.0, 1.0)


def load_every_key(network: nn.Module, path: Path) -> None:
    """Load a safetensors file that must fit exactly; float32 from then on."""
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ConfigError(
            f"{path}: no readable weights ({error}). Copy the file again or give its folder."
        ) from error
    wanted = {name: tensor.shape for name, tensor in network.state_dict().items()}
    found = {name: tensor.shape for name, tensor in tensors.items()}
    if wanted != found:
        keys = sorted(k for k in wanted.keys() | found.keys() if wanted.get(k) != found.get(k))
        raise BundleRejectedError(path.name, "keys that do not fit", keys, "none")
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})


def taef2_encoder() -> nn.Sequential:
    """Return the untrained encoder."""
    layers: list[nn.Module] = [nn.Conv2d(3, _WIDTH, 3, padding=1), _Block()]
    for scale in range(3):
        layers.append(nn.Conv2d(_WIDTH, _WIDTH, 3, stride=2, padding=1, bias=False))
        layers += [_Block(has_pool=scale == 2) for _ in range(3)]
    return nn.Sequential(*layers, nn.Conv2d(_WIDTH, _LATENT_CHANNELS, 3, padding=1))


def taef2_decoder() -> nn.Sequential:
    """Return the untrained decoder."""
    layers: list[nn.Module] = [
        _Clamp(),
        nn.Conv2d(_LATENT_CHANNELS, _WIDTH, 3, padding=1),
        nn.ReLU(),
    ]
    for scale in range(3):
        layers += [_Block(has_pool=scale == 0) for _ in range(3)]
        layers.append(nn.Upsample(scale_factor=2))
        layers.append(nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1, bias=False))
    return nn.Sequential(*layers, _Block(), nn.Conv2d(_WIDTH, 3, 3, padding=1))


class _Clamp(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _BOUND * torch.tanh(x / _BOUND)


class _Block(nn.Module):
    """Three convolutions with skip; at the lowest resolution a wider look comes first."""

    def __init__(self, *, has_pool: bool = False) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1),
        )
        self.pool: nn.Sequential | None = None
        if has_pool:
            self.pool = nn.Sequential(
                nn.Conv2d(_WIDTH, 4 * _WIDTH, 1, bias=False),
                nn.GroupNorm(4, 4 * _WIDTH),
                nn.ReLU(),
                nn.Conv2d(4 * _WIDTH, _WIDTH, 1, bias=False),
            )

    def forward(self, x: Tensor) -> Tensor:
        if self.pool is not None:
            x = x + self.pool(x)
        return torch.relu(self.conv(x) + x)
