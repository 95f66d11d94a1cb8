"""Train the published world model at any size: diffusion forcing on clips of latents, with EMA.

Axis letters: B batch, T frames, C H W latents or pictures, A action (10), N episodes.
"""

from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from robot_agent.core.config import require_range
from robot_agent.core.errors import InputError
from robot_agent.core.protocols import Autoencoder
from robot_agent.core.types import FloatArray
from robot_agent.learn.fit import FitConfig, Metrics, Report, fit
from robot_agent.learn.training_checkpoint import Checkpoint, Keep
from robot_agent.models.precision import mixed_precision
from robot_agent.models.small_autoencoder import SmallAutoencoder
from robot_agent.models.worldgym.actions import slots_of_episodes
from robot_agent.models.worldgym.network import Dit, null_action
from robot_agent.models.worldgym.schedule import LEVELS, add_noise, velocity


@dataclass(frozen=True, kw_only=True)
class DitTrainingConfig:
    """How the network is trained; dropout and EMA are the published ones."""

    fit: FitConfig = field(default_factory=lambda: FitConfig(steps=4000, learning_rate=1e-3))
    batch: int = 8
    frames: int = 12
    """Of a clip; at most the window of the network."""
    action_dropout: float = 0.1
    """Share of clips whose actions are hidden, so that guidance has something to compare."""
    ema_decay: float = 0.999
    latency_steps: int = 0

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("batch", self.batch, 1, 4096)
        require_range("frames", self.frames, 2, 1000)
        require_range("action_dropout", self.action_dropout, 0.0, 1.0)
        require_range("ema_decay", self.ema_decay, 0.0, 0.99999)


@dataclass(frozen=True, eq=False)
class LatentEpisodes:
    """Episodes of equal length, encoded once."""

    latents_NTCHW: Tensor
    """Float16, (N, T + 1, C, H, W)."""
    slots_NTA: Tensor
    """(N, T + 1, 10); slot t holds the action that leads to frame t."""


@torch.no_grad()
def encode_episodes(
    autoencoder: Autoencoder,
    images_NTHWC: Tensor,
    actions_NTA: FloatArray,
    latency_steps: int = 0,
) -> LatentEpisodes:
    """Return the latents of uint8 pictures and the slots of their Bridge actions (N, T, 7)."""
    latents = []
    for images_THWC in images_NTHWC:
        images = images_THWC.movedim(-1, 1).float() / 255.0
        latents.append(autoencoder.encode(images).half())
    slots = slots_of_episodes(actions_NTA, latency_steps)
    return LatentEpisodes(torch.stack(latents), slots)


def diffusion_loss(
    network: Dit, latents_BTCHW: Tensor, slots_BTA: Tensor, generator: torch.Generator
) -> Tensor:
    """Return the mean squared error of v, each frame at a noise level of its own."""
    levels = torch.randint(0, LEVELS, latents_BTCHW.shape[:2], generator=generator)
    noise = torch.randn(latents_BTCHW.shape, generator=generator)
    v = network(add_noise(latents_BTCHW, levels, noise), levels, slots_BTA)
    return F.mse_loss(v, velocity(latents_BTCHW, levels, noise))


def train_dit(
    network: Dit,
    episodes: LatentEpisodes,
    config: DitTrainingConfig,
    seed: int,
    *,
    report: Report | None = None,
    keep: Keep | None = None,
) -> tuple[Dit, Metrics]:
    """Train in place; return the averaged network (EMA) and the last metrics.

    Raises:
        InputError: The episodes are shorter than a clip.
    """
    _require_length(episodes, config, network)
    generator = torch.Generator().manual_seed(seed)
    rng = np.random.default_rng(seed)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay))
    network.train()
    averaged_to = 0

    def loss_of_step(step: int) -> tuple[Tensor, Metrics]:
        nonlocal averaged_to
        if step > averaged_to:
            average.update_parameters(network)
            averaged_to = step
        latents, slots = draw_clips(episodes, config.batch, config.frames, rng)
        hidden = torch.rand(len(slots), 1, 1, generator=generator) < config.action_dropout
        slots = torch.where(hidden, null_action(slots), slots)
        with mixed_precision():
            loss = diffusion_loss(network, latents, slots, generator)
        return loss, {"loss": float(loss.detach())}

    kept = {"network": network, "average": average}
    metrics = fit(
        network.parameters(),
        loss_of_step,
        config.fit,
        report=report,
        log=None if keep is None else keep.log,
        checkpoint=None if keep is None else Checkpoint(keep, kept, rng, generator),
    )
    average.update_parameters(network.eval())
    return cast("Dit", average.module).eval(), metrics


def draw_clips(
    episodes: LatentEpisodes, batch: int, frames: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Return random clips of latents (B, T, C, H, W) float32 and their slots (B, T, 10).

    The first slot of a clip is zero, as at the start of a rollout: what led to its first frame is
    not known there either.
    """
    count, length = episodes.latents_NTCHW.shape[:2]
    rows = torch.from_numpy(rng.integers(0, count, batch))[:, None]
    starts = torch.from_numpy(rng.integers(0, length - frames + 1, batch))[:, None]
    steps = starts + torch.arange(frames)
    slots = episodes.slots_NTA[rows, steps].clone()
    slots[:, 0] = 0.0
    return episodes.latents_NTCHW[rows, steps].float(), slots


def train_autoencoder(
    autoencoder: SmallAutoencoder,
    images_NHWC: Tensor,
    config: FitConfig,
    seed: int,
    *,
    batch: int = 32,
    report: Report | None = None,
) -> Metrics:
    """Train on uint8 pictures (N, H, W, 3) in place.

    Latents get noise while the decoder learns, so that small errors of a sampler do not show.
    """
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)

    def draw(count: int) -> Tensor:
        index = torch.from_numpy(rng.integers(0, len(images_NHWC), count))
        return images_NHWC[index].movedim(-1, 1).float() / 255.0

    def loss_of_step(step: int) -> tuple[Tensor, Metrics]:
        if step % 100 == 0:
            autoencoder.set_statistics(draw(256))
        images = draw(batch)
        latents = autoencoder.encode(images)
        latents = latents + 0.05 * torch.randn(latents.shape, generator=generator)
        error = autoencoder.decode(latents) - images
        loss = error.square().mean() + 0.1 * error.abs().mean()
        return loss, {"loss": float(loss.detach()), "mse": float(error.detach().square().mean())}

    autoencoder.train()
    metrics = fit(autoencoder.parameters(), loss_of_step, config, report=report)
    autoencoder.set_statistics(draw(1024))
    autoencoder.eval()
    return metrics


def _require_length(episodes: LatentEpisodes, config: DitTrainingConfig, network: Dit) -> None:
    length, window = episodes.latents_NTCHW.shape[1], network.config.window
    if not config.frames <= min(length, window):
        raise InputError(
            f"clips of {config.frames} frames, must be at most the {length} of an episode and the "
            f"window of {window}. Set frames lower or record longer episodes."
        )
