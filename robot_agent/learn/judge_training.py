"""Train the tiny judge on pictures whose true outcome is known, and audit it.

Axis letters: B batch, N instructions, C H W picture.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from robot_agent.core.config import require_range
from robot_agent.learn.data import Episodes
from robot_agent.learn.fit import FitConfig, Metrics, Report, fit
from robot_agent.learn.policy_training import recolor
from robot_agent.models.precision import mixed_precision
from robot_agent.models.scaling import to_unit
from robot_agent.models.tiny_judge import TinyJudge


@dataclass(frozen=True, kw_only=True)
class JudgeTrainingConfig:
    """How the judge is trained."""

    fit: FitConfig = field(default_factory=lambda: FitConfig(steps=1500, learning_rate=1.2e-3))
    batch: int = 96
    opened: float = 0.875
    """Opening from which `open` has succeeded, as a share of the travel."""
    closed: float = 0.125
    brightness: float = 0.15
    color: float = 0.0
    """Augmentation: spread of a random linear map of the colours, one for both pictures."""
    shift_px: int = 0
    """Augmentation: both pictures are shifted by up to this, their edges repeated."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("opened", self.opened, self.closed, 1.0)
        require_range("color", self.color, 0.0, 1.0)
        require_range("shift_px", self.shift_px, 0, 8)


@dataclass(eq=False)
class JudgeBatch:
    """Labelled pairs of pictures."""

    first_BCHW: Tensor
    image_BCHW: Tensor
    opening_B: Tensor
    success_BK: Tensor | None = None
    """Known outcomes; None where they follow from the opening."""


def draw_pairs(episodes: Episodes, batch: int, rng: np.random.Generator) -> JudgeBatch:
    """Draw pairs of an earlier and a later picture of one episode with the later opening."""
    openings = episodes.openings_NT
    if openings is None:
        raise ValueError("judge training needs openings; use simulated or labelled episodes")
    chosen = rng.integers(0, len(episodes), batch)
    later = (rng.random(batch) * (episodes.lengths_N.numpy()[chosen] + 1)).astype(int)
    first = np.where(rng.random(batch) < 0.7, 0, (later * rng.random(batch)).astype(int))
    rows, successes = torch.from_numpy(chosen), episodes.successes_NTK
    return JudgeBatch(
        first_BCHW=to_unit(episodes.images_NTHWC[rows, torch.from_numpy(first)]),
        image_BCHW=to_unit(episodes.images_NTHWC[rows, torch.from_numpy(later)]),
        opening_B=openings[rows, torch.from_numpy(later)],
        success_BK=None if successes is None else successes[rows, torch.from_numpy(later)],
    )


def train_judge(
    judge: TinyJudge,
    episodes: Episodes,
    config: JudgeTrainingConfig,
    seed: int,
    *,
    report: Report | None = None,
    log: Path | None = None,
) -> Metrics:
    """Train in place on the episodes' successes, or without them on their openings.

    Then instruction 0 is `open`, 1 is `close`, as in `sim.tasks.TABLE`.
    """
    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    judge.train()

    def loss_of_step(_: int) -> tuple[Tensor, Metrics]:
        pairs = draw_pairs(episodes, config.batch, rng)
        first, image = augmented(pairs, config, generator)
        with mixed_precision():
            success, opening = judge(first, image)
        loss = success_loss(success.float(), pairs, config)
        loss = loss + 4.0 * F.smooth_l1_loss(opening.float(), pairs.opening_B, beta=0.1)
        return loss, {"loss": float(loss.detach())}

    metrics = fit(judge.parameters(), loss_of_step, config.fit, report=report, log=log)
    judge.eval()
    return metrics


def augmented(
    pairs: JudgeBatch, config: JudgeTrainingConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return first and later pictures (B, 3, H, W), both of a pair changed alike."""
    shape = (len(pairs.opening_B), 3, 1, 1)
    gain = 1.0 + config.brightness * (2.0 * torch.rand(shape, generator=generator) - 1.0)
    both = torch.cat([pairs.first_BCHW * gain, pairs.image_BCHW * gain], dim=2)
    if config.color:
        both = recolor(both, config.color, generator)
    first, image = both.chunk(2, dim=2)
    if config.shift_px:
        margin, side = config.shift_px, first.shape[-1]
        x, y = torch.randint(0, 2 * margin + 1, (2,), generator=generator).tolist()
        padded = [F.pad(p, [margin] * 4, mode="replicate") for p in (first, image)]
        first, image = (p[..., y : y + side, x : x + side] for p in padded)
    return first, image


def success_loss(logits_BK: Tensor, pairs: JudgeBatch, config: JudgeTrainingConfig) -> Tensor:
    """Return the cross-entropy of success, mean over the outcomes that are known."""
    if pairs.success_BK is None:
        return F.binary_cross_entropy_with_logits(logits_BK, outcomes(pairs.opening_B, config))
    known = ~pairs.success_BK.isnan()
    return F.binary_cross_entropy_with_logits(logits_BK[known], pairs.success_BK[known])


def outcomes(opening_B: Tensor, config: JudgeTrainingConfig) -> Tensor:
    """Return success (B, 2) of `open` and `close` for openings (B,)."""
    opened, closed = opening_B >= config.opened, opening_B <= config.closed
    return torch.stack([opened, closed], dim=1).float()


@torch.no_grad()
def audit_judge(
    judge: TinyJudge, episodes: Episodes, config: JudgeTrainingConfig, seed: int, num: int = 1024
) -> dict[str, float]:
    """Return true and false positive rates per task and the error of the opening [share]."""
    pairs = draw_pairs(episodes, num, np.random.default_rng(seed))
    success, opening = judge(pairs.first_BCHW, pairs.image_BCHW)
    said, truth = success > 0, outcomes(pairs.opening_B, config) > 0.5
    rates: dict[str, float] = {"opening_error": float((opening - pairs.opening_B).abs().mean())}
    for index, task in enumerate(("open", "close")):
        positive = truth[:, index]
        rates[f"{task}_tpr"] = float(said[positive, index].float().mean())
        rates[f"{task}_fpr"] = float(said[~positive, index].float().mean())
    return rates
