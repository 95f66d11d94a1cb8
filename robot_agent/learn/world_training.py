"""Fit the tiny world model by unrolling its own predictions, and measure it on held-out episodes.

Axis letters: B batch, T time, C H W picture, A action, P state.
"""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robot_agent.core.config import require_range
from robot_agent.core.types import ImageArray
from robot_agent.learn.averaging import Average
from robot_agent.learn.data import Episodes, Window, draw_windows
from robot_agent.learn.early_stop import EarlyStop, EarlyStopConfig
from robot_agent.learn.fit import FitConfig, Metrics, Report, fit
from robot_agent.learn.mixture import Mixture, with_replay
from robot_agent.learn.picture_scores import psnr
from robot_agent.learn.samples import beside, with_samples
from robot_agent.learn.training_checkpoint import Checkpoint, Keep, log_of, modules_kept
from robot_agent.models.lora import LoraConfig, add_lora, merge_lora, trainable
from robot_agent.models.precision import mixed_precision
from robot_agent.models.scaling import to_bytes
from robot_agent.models.tiny_world import TinyWorld

HORIZONS = (1, 5, 10, 20)
"""Steps after which pictures are compared."""
_SAMPLES, _SAMPLE_STEPS = 3, 10
_BYTES_A_FRAME = 2_100_000
"""Measured in float32: the peak of an update grew by 61 MB from 10 to 40 predicted frames."""


@dataclass(frozen=True, kw_only=True)
class WorldTrainingConfig:
    """How a world model is trained or finetuned."""

    fit: FitConfig = field(default_factory=lambda: FitConfig(steps=5000, learning_rate=1.2e-3))
    frames: int = 48
    """Predicted frames per update: windows x unroll."""
    unroll: tuple[int, ...] = (1, 3, 5, 8)
    """Steps of own predictions, back-propagated through, in stages of the run."""
    stages: tuple[float, ...] = (0.12, 0.45, 0.85, 1.0)
    """Share of the run at which each stage ends."""
    change_weight: float = 6.0
    """Extra weight of pixels that change, dilated; still pixels otherwise drown the contact."""
    state_weight: float = 0.1
    replay: float = 0.3
    """Share of each batch from the old episodes when finetuning."""
    ema_decay: float = 0.0
    """Of the running mean of the weights, which is then what training gives; 0 has none."""
    lora: LoraConfig = field(default_factory=LoraConfig)
    early_stop: EarlyStopConfig = field(default_factory=EarlyStopConfig)

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("replay", self.replay, 0.0, 1.0)
        require_range("ema_decay", self.ema_decay, 0.0, 0.99999)
        if len(self.unroll) != len(self.stages):
            raise ValueError(f"unroll has {len(self.unroll)} stages, stages {len(self.stages)}")

    def batch_at(self, step: int) -> tuple[int, int]:
        """Return the windows of an update, and how many own predictions of each are unrolled."""
        stage = np.searchsorted(self.stages, step / self.fit.steps, side="right")
        unroll = self.unroll[int(stage)]
        return max(2, self.frames // unroll), unroll


def train_world(
    world: TinyWorld,
    data: Episodes | Mixture,
    config: WorldTrainingConfig,
    seed: int,
    *,
    replay: Episodes | None = None,
    report: Report | None = None,
    max_seconds: float = math.inf,
    keep: Keep | None = None,
) -> Metrics:
    """Train in place, on the device that the network is on; see `fit` for the rest.

    Args:
        world: The network; with `config.lora` only low-rank updates of it, merged at the end.
        data: Episodes of one source, or of several in their shares with what is held out.
        config: How.
        seed: Of every draw.
        replay: Old episodes, mixed with one source in the share `config.replay`.
        report: Progress.
        max_seconds: Stops early when this much time has passed.
        keep: Where the run is kept, with its metrics and sample clips.
    """
    rng = np.random.default_rng(seed)
    mixture = with_replay(data, replay, config.replay) if isinstance(data, Episodes) else data
    add_lora(world, config.lora)
    average = Average(world.train(), config.ema_decay) if config.ema_decay else None
    used = world if average is None else average.network
    early_stop = _early_stop(used, mixture, config)
    kept = modules_kept(world=world, average=average, early_stop=early_stop)

    def loss_of_step(step: int) -> tuple[Tensor, Metrics]:
        if average is not None:
            average.follow(step)
        window = mixture.draw(*config.batch_at(step), rng)
        return unrolled_loss(world, window.to(device_of_network(world)), config)

    metrics = fit(
        trainable(world),
        loss_of_step,
        config.fit,
        report=_sampled(report, keep, used, mixture),
        log=log_of(keep),
        max_seconds=max_seconds,
        checkpoint=None if keep is None else Checkpoint(keep, kept, rng),
        early_stop=early_stop,
    )
    if average is not None:
        world.load_state_dict(average.end(early_stop).state_dict())
    merge_lora(world.eval())
    return metrics


def training_bytes(world: TinyWorld, config: WorldTrainingConfig) -> int:
    """Return how much memory training takes at least, from the sizes of its tensors.

    Weights, gradients, two moments and the best weights of early stop; and what back-propagation
    keeps of every predicted frame.
    """
    weights = 4 * sum(math.prod(parameter.shape) for parameter in world.parameters())
    return 5 * weights + _BYTES_A_FRAME * max(config.frames, 2 * max(config.unroll))


def horizons_of(episodes: Episodes, wanted: tuple[int, ...] = HORIZONS) -> tuple[int, ...]:
    """Return the horizons that the longest of some episodes has steps for; 1 at least."""
    longest = int(episodes.lengths_N.max())
    return tuple(horizon for horizon in wanted if horizon <= max(1, longest))


def device_of_network(network: nn.Module) -> torch.device:
    """Return where the weights are."""
    return next(network.parameters()).device


def _early_stop(
    world: TinyWorld, mixture: Mixture, config: WorldTrainingConfig
) -> EarlyStop | None:
    stop = config.early_stop
    if not stop.looks_at(mixture.held_out):
        return None
    windows = [look_at(part, stop.windows, stop.steps) for part in mixture.held_out]

    def error(network: nn.Module) -> float:
        errors = [picture_error(cast("TinyWorld", network), window) for window in windows]
        network.train()
        return sum(errors) / len(errors)

    return EarlyStop(world, error, stop)


def look_at(episodes: Episodes, windows: int, steps: int) -> Window:
    """Return windows of at most `steps` steps of held-out episodes, the same at every call."""
    longest = int(episodes.lengths_N.max())
    return draw_windows(episodes, windows, min(steps, longest), np.random.default_rng(0))


@torch.no_grad()
def picture_error(world: TinyWorld, window: Window) -> float:
    """Return the mean squared error of imagined pictures over all steps of windows."""
    imagined = imagine_windows(world.eval(), window)
    if not world.config.is_latent:
        imagined = imagined.clamp(0.0, 1.0)
    return float((imagined - window.images_BTCHW[:, 1:].to(imagined)).square().mean())


@torch.no_grad()
def imagine_windows(world: TinyWorld, window: Window) -> Tensor:
    """Return the pictures (B, T, C, H, W) that follow the first one, by own predictions."""
    window = window.to(device_of_network(world))
    image, state = window.images_BTCHW[:, 0], window.states_BTP[:, 0]
    pictures = []
    for t in range(window.images_BTCHW.shape[1] - 1):
        actions = window.actions_BTA[:, t + 1], window.actions_BTA[:, t]
        image, state = world(image, window.first_BCHW, state, *actions)
        pictures.append(image)
    return torch.stack(pictures, dim=1)


def _sampled(
    report: Report | None, keep: Keep | None, world: TinyWorld, mixture: Mixture
) -> Report | None:
    if keep is None or keep.clips is None:
        return report
    window = look_at([*mixture.held_out, *mixture.parts][0], _SAMPLES, _SAMPLE_STEPS)

    def draw() -> ImageArray:
        imagined = imagine_windows(world.eval(), window).cpu()
        world.train()
        start = window.images_BTCHW[:, :1]
        return beside(to_bytes(window.images_BTCHW), to_bytes(torch.cat([start, imagined], 1)))

    return with_samples(report, keep.clips, keep.every, draw)


def unrolled_loss(
    world: TinyWorld, window: Window, config: WorldTrainingConfig
) -> tuple[Tensor, Metrics]:
    """Return the loss of predicting the window from its first picture with own predictions."""
    images, states, actions = window.images_BTCHW, window.states_BTP, window.actions_BTA
    image, state = images[:, 0], states[:, 0]
    pixel, tool = images.new_zeros(()), images.new_zeros(())
    unroll, threshold = images.shape[1] - 1, 0.04 if images.shape[2] == 3 else 0.3
    for t in range(unroll):
        with mixed_precision(images.device.type):
            image, state = world(image, window.first_BCHW, state, actions[:, t + 1], actions[:, t])
        change = (images[:, t + 1] - images[:, t]).abs().amax(dim=1, keepdim=True)
        mask = F.max_pool2d((change > threshold).float(), 5, stride=1, padding=2)
        error = (image - images[:, t + 1]).abs()
        weight = 1.0 + config.change_weight * mask
        pixel = pixel + (weight * (error + 2.0 * error.square())).mean() / unroll
        tool = tool + F.smooth_l1_loss(state, states[:, t + 1], beta=0.2) / unroll
    loss = pixel + config.state_weight * tool
    return loss, {"loss": float(loss.detach()), "tool": float(tool.detach()), "unroll": unroll}


@torch.no_grad()
def held_out_errors(
    world: TinyWorld,
    episodes: Episodes,
    seed: int,
    *,
    horizons: tuple[int, ...] = HORIZONS,
    batch: int = 64,
    shuffle_actions: bool = False,
) -> dict[str, dict[str, float]]:
    """Return PSNR [dB] by horizon for `ours` and `repeat_last` on windows of held-out episodes.

    `shuffle_actions` gives each window the actions of another, which must hurt a model that
    listens to its actions.
    """
    rng = np.random.default_rng(seed)
    window = draw_windows(episodes, batch, max(horizons), rng)
    start, target = window.images_BTCHW[:, 0], window.images_BTCHW
    if shuffle_actions:
        foreign = torch.from_numpy(rng.permutation(batch))
        window = dataclasses.replace(window, actions_BTA=window.actions_BTA[foreign])
    still = dataclasses.replace(window, first_BCHW=start)
    imagined = imagine_windows(world, still).cpu().clamp(0.0, 1.0)
    return {
        "ours": {str(h): psnr(imagined[:, h - 1], target[:, h]) for h in horizons},
        "repeat_last": {str(h): psnr(start, target[:, h]) for h in horizons},
    }
