"""The small member of the published family: trained on a recording, compared sampler by sampler.

It works on pixels, so that nothing but its own weights is needed.

Axis letters: N episodes, B batch, T time, C H W picture, A action.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from robot_agent.core.clock import Stopwatch
from robot_agent.core.config import require_range
from robot_agent.core.errors import ConfigError, InputError
from robot_agent.learn.dit_training import (
    DitTrainingConfig,
    LatentEpisodes,
    encode_episodes,
    train_dit,
)
from robot_agent.learn.fit import Report
from robot_agent.learn.picture_scores import psnr, ssim
from robot_agent.models.small_autoencoder import PixelAutoencoder
from robot_agent.models.worldgym.checkpoint import file_sha256, load_network, read_weights
from robot_agent.models.worldgym.imagination import LatentSampler
from robot_agent.models.worldgym.network import Dit, DitConfig
from robot_agent.models.worldgym.published import PublishedConfig, PublishedSampler
from robot_agent.models.worldgym.sampler import Sampler, SamplerConfig
from robot_agent.store.durable import publish_folder, storage_errors, sync_folder

HORIZONS = (1, 5, 10, 20)
_FRAMES = max(HORIZONS)


@dataclass(frozen=True, kw_only=True)
class DitPretrainingConfig:
    """Size and training of the small network."""

    network: DitConfig = field(
        default_factory=lambda: DitConfig(
            channels=3, latent_px=32, patch=4, embedding=96, depth=3, heads=3
        )
    )
    training: DitTrainingConfig = field(default_factory=DitTrainingConfig)
    max_episodes: int = 2000
    threads: int = 1

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("max_episodes", self.max_episodes, 1, 10_000_000)
        require_range("threads", self.threads, 1, 256)


def pretrain_dit(
    data: Path, out: Path, config: DitPretrainingConfig, seed: int, *, report: Report | None = None
) -> dict[str, Any]:
    """Train on a recording; write weights, averaged weights and notes into the new folder `out`.

    Raises:
        ConfigError: `out` exists.
        InputError: `data` is no recording, or its episodes are shorter than a clip.
    """
    if out.exists():
        raise ConfigError(f"{out}: exists, must be new. Choose another --out or move it away.")
    episodes = load_latents(data, config.network.latent_px, config.max_episodes)
    torch.set_num_threads(config.threads)
    torch.manual_seed(seed)
    watch = Stopwatch()
    averaged, metrics = train_dit(
        Dit(config.network), episodes, config.training, seed, report=report
    )
    results = {
        "file": out,
        "episodes": len(episodes.latents_NTCHW),
        "parameters": sum(p.numel() for p in averaged.parameters()),
        "seconds": watch.seconds(),
        "training": metrics,
    }
    write_weights(out, averaged, {"weights": "ema", "autoencoder": "pixels", "seed": seed})
    return results


def write_weights(out: Path, network: Dit, notes: Mapping[str, Any]) -> None:
    """Write a network as `weights import` does, by one rename."""
    staging = out.with_name(f".tmp-{out.name}")
    with storage_errors("writing weights", out):
        staging.mkdir(parents=True, exist_ok=True)
        weights = staging / "world.safetensors"
        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, weights)
        whole = {
            "schema": 1,
            "family": "worldgym",
            **notes,
            "sha256": file_sha256(weights),
            "network": asdict(network.config),
        }
        (staging / "world.json").write_text(json.dumps(whole, indent=1), "utf-8")
        sync_folder(staging)
        publish_folder(staging, out)


def load_latents(path: Path, size_px: int, max_episodes: int) -> LatentEpisodes:
    """Return the episodes of a recording as pixels of this size and slots.

    Raises:
        InputError: The file is no recording.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            stored = file.get_slice("images")
            count = min(max_episodes, stored.get_shape()[0])
            images: NDArray[np.uint8] = stored[:count]
            actions = file.get_slice("actions")[:count].astype(np.float64)
    except (OSError, SafetensorError, KeyError) as error:
        raise InputError(
            f"{path}: is no recording ({error}). Make one with: robot-agent demos collect"
        ) from error
    small = [_shrunk(torch.from_numpy(episode), size_px) for episode in images]
    return encode_episodes(PixelAutoencoder(), torch.stack(small), actions)


def _shrunk(images_THWC: Tensor, size_px: int) -> Tensor:
    area = F.adaptive_avg_pool2d(images_THWC.movedim(-1, 1).float(), size_px)
    return area.round().to(torch.uint8).movedim(1, -1)


@torch.no_grad()
def compare_samplers(
    folder: Path,
    data: Path,
    *,
    seed: int = 0,
    episodes: int = 32,
    on_result: Callable[[int, int, str], None] = lambda *_: None,
) -> dict[str, Any]:
    """Return what each sampler costs in quality and in time, on held-out episodes.

    Returns:
        `{sampler: {"psnr": {horizon: dB}, "ssim": {horizon: share}, "fps"}}`; the samplers are
        the published one, the same without its mistake, and ours by steps, guidance and chunk.
    """
    config, tensors, _ = read_weights(folder)
    network = load_network(tensors, config)
    held_out = load_latents(data, config.latent_px, episodes)
    length = held_out.latents_NTCHW.shape[1]
    if length <= _FRAMES:
        raise InputError(
            f"{data}: episodes of {length} frames, must have more than {_FRAMES}. Record longer."
        )
    results = {}
    made = samplers_of(network, seed)
    for name, (sampler, chunk) in made.items():
        results[name] = _quality(sampler, chunk, held_out)
        on_result(len(results), len(made), name)
    return results


def samplers_of(network: Dit, seed: int) -> dict[str, tuple[LatentSampler, int]]:
    """Return every sampler that is compared, and how many frames it is asked for at once."""
    causal = PublishedConfig(is_leaking=False)
    made: dict[str, tuple[LatentSampler, int]] = {
        "published": (PublishedSampler(network, seed=seed), 1),
        "published, causal": (PublishedSampler(network, causal, seed), 1),
    }
    choices = [(10, 3.0, 1), (10, 1.0, 1), (4, 1.0, 5), (2, 1.0, 5), (1, 1.0, 1), (1, 1.0, 5)]
    for steps, guidance, chunk in choices:
        config = SamplerConfig(steps=steps, guidance=guidance, chunk=chunk)
        words = f"ours, {steps} steps, guidance {guidance:g}, chunk {chunk}"
        made[words] = (Sampler(network, config, seed), chunk)
    return made


def _quality(sampler: LatentSampler, chunk: int, held_out: LatentEpisodes) -> dict[str, Any]:
    latents, autoencoder = held_out.latents_NTCHW.float(), PixelAutoencoder()
    slots = held_out.slots_NTA[:, 1 : _FRAMES + 1]
    watch = Stopwatch()
    sampler.reset(latents[:, :1])
    drawn = torch.cat([sampler.step(part) for part in slots.split(chunk, dim=1)], dim=1)
    seconds = watch.seconds()
    scores: dict[str, Any] = {
        "psnr": {},
        "ssim": {},
        "fps": drawn[:, :, 0, 0, 0].numel() / seconds,
    }
    for horizon in HORIZONS:
        ours, real = (
            autoencoder.decode(frames) for frames in (drawn[:, horizon - 1], latents[:, horizon])
        )
        scores["psnr"][str(horizon)] = psnr(ours, real)
        scores["ssim"][str(horizon)] = ssim(ours, real)
    return scores
