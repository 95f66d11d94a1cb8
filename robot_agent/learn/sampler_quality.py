"""Sampler by sampler: what each way of drawing frames costs in quality and in time.

Axis letters: B batch, T time, C H W picture, A action.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from robot_agent.core.clock import Stopwatch
from robot_agent.core.errors import InputError
from robot_agent.learn.dit_pretraining import HORIZONS
from robot_agent.learn.latents import LatentEpisodes, read_latents
from robot_agent.learn.picture_scores import psnr, ssim
from robot_agent.learn.sources import Source
from robot_agent.models.small_autoencoder import PixelAutoencoder
from robot_agent.models.worldgym.checkpoint import load_network, read_weights
from robot_agent.models.worldgym.imagination import LatentSampler
from robot_agent.models.worldgym.network import Dit
from robot_agent.models.worldgym.published import PublishedConfig, PublishedSampler
from robot_agent.models.worldgym.sampler import Sampler, SamplerConfig

_FRAMES = max(HORIZONS)


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
    source = Source("recording", data)
    held_out = read_latents(
        source, PixelAutoencoder(), config.latent_px, most=episodes, seen_share=1.0
    )
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
