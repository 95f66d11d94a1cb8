"""From a folder of weights to a world model that imagines."""

from pathlib import Path
from typing import Literal

from robot_agent.core.errors import ConfigError
from robot_agent.core.protocols import Autoencoder
from robot_agent.models.diffusers_autoencoders import SD3_CONFIG, load_sd3, load_taesd
from robot_agent.models.memory import require_memory
from robot_agent.models.precision import fast_dtype
from robot_agent.models.small_autoencoder import PixelAutoencoder
from robot_agent.models.taef2 import Taef2
from robot_agent.models.worldgym.checkpoint import load_network, read_weights
from robot_agent.models.worldgym.imagination import DitImagination, ImaginationConfig
from robot_agent.models.worldgym.network import DitConfig
from robot_agent.models.worldgym.sampler import Sampler, SamplerConfig

AutoencoderName = Literal["sd3", "taesd3", "taef2", "pixels"]
_FACTORS: dict[AutoencoderName, int] = {"sd3": 8, "taesd3": 8, "taef2": 8, "pixels": 1}
"""Side of a picture over the side of its latents."""


def load_imagination(
    folder: Path,
    autoencoder: AutoencoderName,
    autoencoder_folder: Path | None = None,
    *,
    sampler: SamplerConfig | None = None,
    latency_steps: int = 0,
    seed: int = 0,
) -> DitImagination:
    """Return the world model of a folder made by `weights import` or `world train --family dit`.

    It runs in bfloat16 where the processor computes in it, else in float32. The published
    checkpoint was trained on latents without Stable Diffusion 3's shift, so its autoencoders are
    set to that.

    Raises:
        ConfigError: A file is missing, cut or changed, or memory is short.
        InputError: The weights do not fit.
    """
    size = (folder / "world.safetensors").stat().st_size if folder.is_dir() else 0
    require_memory(2 * size, f"loading {folder}")
    config, tensors, _ = read_weights(folder)
    network = load_network(tensors, config).to(fast_dtype())
    return DitImagination(
        Sampler(network, sampler or SamplerConfig(), seed),
        load_autoencoder(autoencoder, autoencoder_folder),
        ImaginationConfig(
            picture_px=picture_px_of(config, autoencoder), latency_steps=latency_steps
        ),
    )


def picture_px_of(config: DitConfig, autoencoder: AutoencoderName) -> int:
    """Return the side of the pictures whose latents a network takes."""
    return config.latent_px * _FACTORS[autoencoder]


def load_autoencoder(name: AutoencoderName, folder: Path | None) -> Autoencoder:
    """Return an autoencoder; ConfigError without the folder of its weights."""
    if name == "pixels":
        return PixelAutoencoder()
    if folder is None:
        raise ConfigError(f"autoencoder {name}: needs the folder of its weights. Give one.")
    match name:
        case "sd3":
            return load_sd3(folder, is_shifted=False)
        case "taesd3":
            shift = float(SD3_CONFIG["shift_factor"]) * float(SD3_CONFIG["scaling_factor"])
            return load_taesd(folder, offset=shift)
        case "taef2":
            return Taef2(folder)
