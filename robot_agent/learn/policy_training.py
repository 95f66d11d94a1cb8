"""Supervised training of the tiny policy on demonstrations.

Axis letters: B batch, K action of the chunk, A dimension, V bin, C H W picture.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from robot_agent.core.config import require_range
from robot_agent.learn.data import Episodes
from robot_agent.learn.fit import FitConfig, Metrics, Report, fit
from robot_agent.models.precision import mixed_precision
from robot_agent.models.scaling import to_unit
from robot_agent.models.tiny_policy import CHUNK, TinyPolicy


@dataclass(frozen=True, kw_only=True)
class PolicyTrainingConfig:
    """How the policy is trained on demonstrations."""

    fit: FitConfig = field(default_factory=lambda: FitConfig(steps=1500, learning_rate=1.2e-3))
    batch: int = 128
    softness: float = 0.045
    """Width of the target around the demonstrated value, in units of [-1, 1]."""
    color: float = 0.35
    """Augmentation: spread of the random matrix that mixes the colour channels."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("softness", self.softness, 1e-3, 1.0)


def train_policy(
    policy: TinyPolicy,
    demonstrations: Episodes,
    config: PolicyTrainingConfig,
    seed: int,
    *,
    report: Report | None = None,
    log: Path | None = None,
) -> Metrics:
    """Train in place by cross-entropy against softened tokens of the demonstrators' actions."""
    rng = np.random.default_rng(seed)
    draw = partial(draw_chunks, demonstrations, config.batch, rng)
    return fit_policy(policy, draw, config, seed, report=report, log=log)


def fit_policy(
    policy: TinyPolicy,
    draw: Callable[[], tuple[Tensor, Tensor, Tensor]],
    config: PolicyTrainingConfig,
    seed: int,
    *,
    report: Report | None = None,
    log: Path | None = None,
) -> Metrics:
    """Train in place on batches of `draw`: pictures, instruction ids and scaled chunks."""
    generator = torch.Generator().manual_seed(seed)
    policy.train()

    def loss_of_step(_: int) -> tuple[Tensor, Metrics]:
        images, tasks, chunks = draw()
        images = recolor(images, config.color, generator)
        with mixed_precision():
            logits = policy(images, tasks).float()
        loss = soft_cross_entropy(logits, chunks, policy.bin_centers(), config.softness)
        return loss, {"loss": float(loss.detach())}

    metrics = fit(policy.parameters(), loss_of_step, config.fit, report=report, log=log)
    policy.eval()
    return metrics


def recolor(images_BCHW: Tensor, spread: float, generator: torch.Generator) -> Tensor:
    """Return pictures whose colours went through a random linear map, one per picture.

    The contrast around grey is turned, mixed and scaled, so that shapes keep and colours lose
    their meaning: half of the pictures strongly, the rest slightly.
    """
    count = len(images_BCHW)
    strength = torch.rand(count, 1, 1, generator=generator).square() * 2.0 * spread
    mixing = torch.eye(3) + strength * torch.randn(count, 3, 3, generator=generator)
    offset = 0.5 * strength * torch.randn(count, 3, 1, generator=generator)
    flat = (images_BCHW - 0.5).flatten(2)
    return (mixing @ flat + offset + 0.5).clamp(0.0, 1.0).view_as(images_BCHW)


def draw_chunks(
    episodes: Episodes, batch: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Return pictures (B, 3, H, W), instruction ids (B,), chunks (B, 5, 7) of clean actions."""
    labels, tasks = episodes.labels_NTA, episodes.tasks_N
    if labels is None or tasks is None:
        raise ValueError("demonstrations need labels and tasks; collect them with `demos collect`")
    chosen = rng.integers(0, len(episodes), batch)
    lengths = episodes.lengths_N.numpy()[chosen]
    starts = (rng.random(batch) * lengths).astype(int)
    steps = starts[:, None] + np.arange(CHUNK)
    steps = torch.from_numpy(np.minimum(steps, labels.shape[1] - 1))
    rows = torch.from_numpy(chosen)
    images = to_unit(episodes.images_NTHWC[rows, torch.from_numpy(starts)])
    return images, tasks[rows], labels[rows[:, None], steps]


def soft_cross_entropy(
    logits_BKAV: Tensor,
    actions_BKA: Tensor,
    centers_V: Tensor,
    softness: float,
    *,
    weights_BK: Tensor | None = None,
) -> Tensor:
    """Return cross-entropy against a Gaussian of width `softness` around each scaled action.

    With weights the mean is theirs: an action of weight 0 teaches nothing.
    """
    distance = (actions_BKA.clamp(-1, 1)[..., None] - centers_V) / softness
    target = F.softmax(-0.5 * distance.square(), dim=-1)
    loss_BKA = -(target * F.log_softmax(logits_BKAV, dim=-1)).sum(dim=-1)
    if weights_BK is None:
        return loss_BKA.mean()
    return (loss_BKA.mean(dim=-1) * weights_BK).sum() / weights_BK.sum()
