"""Fit the tiny world model by unrolling its own predictions, and measure it on held-out episodes.

Axis letters: B batch, T time, C H W picture, A action, P state.
"""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from robot_agent.core.config import require_range
from robot_agent.learn.data import Episodes, Window, concatenate, draw_windows
from robot_agent.learn.fit import FitConfig, Metrics, Report, fit
from robot_agent.learn.picture_scores import psnr
from robot_agent.learn.training_checkpoint import Checkpoint, Keep
from robot_agent.models.precision import mixed_precision
from robot_agent.models.tiny_world import TinyWorld


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

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("replay", self.replay, 0.0, 1.0)
        if len(self.unroll) != len(self.stages):
            raise ValueError(f"unroll has {len(self.unroll)} stages, stages {len(self.stages)}")


def train_world(
    world: TinyWorld,
    episodes: Episodes,
    config: WorldTrainingConfig,
    seed: int,
    *,
    replay: Episodes | None = None,
    report: Report | None = None,
    max_seconds: float = math.inf,
    keep: Keep | None = None,
) -> Metrics:
    """Train in place on `episodes`, mixed with `replay` when given; see `fit` for the rest."""
    rng = np.random.default_rng(seed)
    world.train()

    def loss_of_step(step: int) -> tuple[Tensor, Metrics]:
        progress = step / config.fit.steps
        unroll = config.unroll[int(np.searchsorted(config.stages, progress, side="right"))]
        batch = max(2, config.frames // unroll)
        old = round(batch * config.replay) if replay is not None else 0
        window = draw_windows(episodes, batch - old, unroll, rng)
        if replay is not None and old:
            window = concatenate(window, draw_windows(replay, old, unroll, rng))
        return unrolled_loss(world, window, config)

    metrics = fit(
        world.parameters(),
        loss_of_step,
        config.fit,
        report=report,
        log=None if keep is None else keep.log,
        max_seconds=max_seconds,
        checkpoint=None if keep is None else Checkpoint(keep, {"world": world}, rng),
    )
    world.eval()
    return metrics


def unrolled_loss(
    world: TinyWorld, window: Window, config: WorldTrainingConfig
) -> tuple[Tensor, Metrics]:
    """Return the loss of predicting the window from its first picture with own predictions."""
    images, states, actions = window.images_BTCHW, window.states_BTP, window.actions_BTA
    image, state = images[:, 0], states[:, 0]
    pixel, tool = torch.zeros(()), torch.zeros(())
    unroll = images.shape[1] - 1
    for t in range(unroll):
        with mixed_precision():
            image, state = world(image, window.first_BCHW, state, actions[:, t + 1], actions[:, t])
        change = (images[:, t + 1] - images[:, t]).abs().amax(dim=1, keepdim=True)
        mask = F.max_pool2d((change > 0.04).float(), 5, stride=1, padding=2)
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
    horizons: tuple[int, ...] = (1, 5, 10, 20),
    batch: int = 64,
    shuffle_actions: bool = False,
) -> dict[str, dict[str, float]]:
    """Return PSNR [dB] by horizon for `ours` and `repeat_last` on windows of held-out episodes.

    `shuffle_actions` gives each window the actions of another, which must hurt a model that
    listens to its actions.
    """
    rng = np.random.default_rng(seed)
    window = draw_windows(episodes, batch, max(horizons), rng)
    actions = window.actions_BTA
    if shuffle_actions:
        actions = actions[torch.from_numpy(rng.permutation(batch))]
    image, state = window.images_BTCHW[:, 0], window.states_BTP[:, 0]
    ours, still = {}, {}
    for t in range(max(horizons)):
        image, state = world(
            image, window.images_BTCHW[:, 0], state, actions[:, t + 1], actions[:, t]
        )
        if t + 1 in horizons:
            target = window.images_BTCHW[:, t + 1]
            ours[str(t + 1)] = psnr(image.clamp(0, 1), target)
            still[str(t + 1)] = psnr(window.images_BTCHW[:, 0], target)
    return {"ours": ours, "repeat_last": still}
