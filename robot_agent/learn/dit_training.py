"""Train the published world model at any size: diffusion forcing on clips of latents, with EMA.

Axis letters: B batch, T frames, C H W latents or pictures, A action (10), N episodes.
"""

import math
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robot_agent.core.config import require_range
from robot_agent.core.errors import InputError
from robot_agent.learn.averaging import Average
from robot_agent.learn.early_stop import EarlyStop, EarlyStopConfig
from robot_agent.learn.fit import FitConfig, Metrics, Report, fit
from robot_agent.learn.latents import LatentEpisodes, LatentMixture, draw_clips
from robot_agent.learn.processes import num_processes, own_rows
from robot_agent.learn.training_checkpoint import Checkpoint, Keep, log_of, modules_kept
from robot_agent.models.lora import LoraConfig, add_lora, merge_lora, trainable
from robot_agent.models.precision import mixed_precision
from robot_agent.models.small_autoencoder import SmallAutoencoder
from robot_agent.models.worldgym.network import Dit, DitConfig, null_action
from robot_agent.models.worldgym.sampler import Sampler, SamplerConfig
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
    lora: LoraConfig = field(default_factory=LoraConfig)
    early_stop: EarlyStopConfig = field(default_factory=EarlyStopConfig)

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("batch", self.batch, 1, 4096)
        require_range("frames", self.frames, 2, 1000)
        require_range("action_dropout", self.action_dropout, 0.0, 1.0)
        require_range("ema_decay", self.ema_decay, 0.0, 0.99999)


def diffusion_loss(
    network: Dit, latents_BTCHW: Tensor, slots_BTA: Tensor, generator: torch.Generator
) -> Tensor:
    """Return the mean squared error of v, each frame at a noise level of its own.

    Noise is drawn for the rows of all processes and each takes its own.
    """
    device, batch = latents_BTCHW.device, num_processes() * len(latents_BTCHW)
    own = own_rows(batch)
    shape = (batch, *latents_BTCHW.shape[1:])
    levels = torch.randint(0, LEVELS, shape[:2], generator=generator)[own].to(device)
    noise = torch.randn(shape, generator=generator)[own].to(device)
    v = network(add_noise(latents_BTCHW, levels, noise), levels, slots_BTA)
    return F.mse_loss(v, velocity(latents_BTCHW, levels, noise))


def train_dit(
    network: Dit,
    data: LatentEpisodes | LatentMixture,
    config: DitTrainingConfig,
    seed: int,
    *,
    report: Report | None = None,
    max_seconds: float = math.inf,
    keep: Keep | None = None,
) -> tuple[Dit, Metrics]:
    """Train in place on the device that the network is on; return the average and the metrics.

    The averaged network (EMA) is what early stop looks at and what is meant to be used. With
    `config.lora` only low-rank updates are trained; both networks have them merged at the end.

    Raises:
        InputError: The episodes are shorter than a clip.
    """
    mixture = LatentMixture((data,)) if isinstance(data, LatentEpisodes) else data
    _require_length(mixture, config, network)
    add_lora(network, config.lora)
    average = Average(network, config.ema_decay)
    metrics = _fit_both(
        (network, average),
        mixture,
        config,
        seed,
        report=report,
        max_seconds=max_seconds,
        keep=keep,
    )
    for trained in (network, average.network):
        merge_lora(trained.eval())
    return average.network, metrics


def _fit_both(
    networks: tuple[Dit, Average[Dit]],
    mixture: LatentMixture,
    config: DitTrainingConfig,
    seed: int,
    *,
    report: Report | None,
    max_seconds: float,
    keep: Keep | None,
) -> Metrics:
    """Train the network, and let its average follow after every update."""
    network, average = networks
    generator, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    early_stop = _early_stop(average.network, mixture, config.early_stop)
    kept = modules_kept(network=network, average=average, early_stop=early_stop)

    def loss_of_step(step: int) -> tuple[Tensor, Metrics]:
        average.follow(step)
        clips = mixture.draw(config.batch, config.frames, rng)
        loss = _loss_of(network.train(), *clips, config.action_dropout, generator)
        return loss, {"loss": float(loss.detach())}

    metrics = fit(
        trainable(network),
        loss_of_step,
        config.fit,
        report=report,
        log=log_of(keep),
        max_seconds=max_seconds,
        checkpoint=None if keep is None else Checkpoint(keep, kept, rng, generator),
        early_stop=early_stop,
    )
    average.end(early_stop)
    return metrics


def _loss_of(
    network: Dit, latents: Tensor, slots: Tensor, hidden: float, generator: torch.Generator
) -> Tensor:
    """Return the loss of clips, the actions of a share `hidden` of which are not told."""
    batch, device = num_processes() * len(slots), next(network.parameters()).device
    is_hidden = torch.rand(batch, 1, 1, generator=generator)[own_rows(batch)] < hidden
    told = torch.where(is_hidden, null_action(slots), slots)
    with mixed_precision(device.type):
        return diffusion_loss(network, latents.to(device), told.to(device), generator)


def _early_stop(network: Dit, mixture: LatentMixture, config: EarlyStopConfig) -> EarlyStop | None:
    if not config.looks_at(mixture.held_out):
        return None
    looks = [look_at(part, config.windows, config.steps) for part in mixture.held_out]

    def error(watched: nn.Module) -> float:
        errors = [latent_error(cast("Dit", watched), *look) for look in looks]
        return sum(errors) / len(errors)

    return EarlyStop(network, error, config)


def look_at(episodes: LatentEpisodes, clips: int, steps: int) -> tuple[Tensor, Tensor]:
    """Return clips of at most `steps` steps of held-out episodes, the same at every call."""
    frames = min(steps + 1, int(episodes.lengths().max()))
    return draw_clips(episodes, clips, frames, np.random.default_rng(0))


@torch.no_grad()
def imagine_latents(network: Dit, latents_BTCHW: Tensor, slots_BTA: Tensor) -> Tensor:
    """Return the latents after the first frame (B, T - 1, C, H, W), as our sampler draws them."""
    device = next(network.parameters()).device
    sampler = Sampler(network, SamplerConfig())
    sampler.reset(latents_BTCHW[:, :1].to(device))
    return sampler.step(slots_BTA[:, 1:].to(device))


def latent_error(network: Dit, latents_BTCHW: Tensor, slots_BTA: Tensor) -> float:
    """Return the mean squared error of imagined latents over the steps of clips."""
    imagined = imagine_latents(network, latents_BTCHW, slots_BTA)
    return float((imagined - latents_BTCHW[:, 1:].to(imagined)).square().mean())


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


def training_bytes(network: DitConfig, config: DitTrainingConfig) -> int:
    """Return how much memory training takes at least, in float32.

    Weights, gradients, two moments, the average and the best average; and what back-propagation
    keeps: 17 numbers per token and channel in each of the two layers of a block (Korthikanti et
    al. 2022, arXiv 2205.05198, equation 2 without attention maps: 34 bytes of 2 a number).
    """
    with torch.device("meta"):
        weights = sum(parameter.numel() for parameter in Dit(network).parameters())
    tokens = config.batch * config.frames * network.patches
    kept = 17 * 2 * network.depth * tokens * network.embedding
    return 4 * (6 * weights + kept)


def _require_length(mixture: LatentMixture, config: DitTrainingConfig, network: Dit) -> None:
    longest = min(int(part.lengths().max()) for part in mixture.parts)
    window = network.config.window
    if not config.frames <= min(longest, window):
        raise InputError(
            f"clips of {config.frames} frames, must be at most the {longest} of an episode and "
            f"the window of {window}. Set frames lower or record longer episodes."
        )
