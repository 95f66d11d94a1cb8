"""What a policy learns from being corrected: to do as the operator did, and where to practise.

Axis letters: B batch, K action of the chunk, A dimension, V bin, C H W picture.
"""

import copy
import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robot_agent.core.config import require_range
from robot_agent.core.types import Episode, Observation
from robot_agent.learn.anchor import Anchor
from robot_agent.learn.averaging import between
from robot_agent.learn.fit import FitConfig, Metrics, Report, fit
from robot_agent.learn.imagine import Start
from robot_agent.learn.policy_training import recolor, soft_cross_entropy
from robot_agent.models.precision import mixed_precision
from robot_agent.models.scaling import resize_squashed, scale_actions, to_unit
from robot_agent.models.tiny_policy import CHUNK, TinyPolicy, token_log_probs
from robot_agent.models.tiny_vla import instruction_id
from robot_agent.models.tiny_world import SIZE_PX


@dataclass(frozen=True, kw_only=True)
class CorrectionConfig:
    """How takeovers are used; each use can be turned off."""

    supervised: bool = True
    """Imitate the operator on corrected segments before practice."""
    world: bool = True
    """Finetune the world model on what the operator did, too."""
    starts: bool = True
    """Begin imagined episodes where the operator took over and shortly before."""
    before: int = 5
    """How many steps before the takeover an imagined episode may begin, besides at it."""
    fit: FitConfig = field(
        default_factory=lambda: FitConfig(steps=80, learning_rate=1e-3, warmup_steps=8)
    )
    batch: int = 32
    softness: float = 0.045
    """Width of the target around the operator's action, in units of [-1, 1]."""
    color: float = 0.1
    """Augmentation of colours; the scene is the one to act in, so less than in training."""
    blame: float = 0.0
    """Weight of making the `CHUNK` proposals before a takeover less likely."""
    anchor: float = 1.0
    """Weight of the divergence from the weights before, on pictures of other scenes."""
    way: float = 0.6
    """How far to go from the weights before to those that imitate, 0 to 1."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("before", self.before, 0, 100)
        require_range("batch", self.batch, 1, 4096)
        require_range("softness", self.softness, 1e-3, 1.0)
        require_range("color", self.color, 0.0, 1.0)
        require_range("blame", self.blame, 0.0, 1.0)
        require_range("anchor", self.anchor, 0.0, 100.0)
        require_range("way", self.way, 0.0, 1.0)


def by_operator(episode: Episode) -> NDArray[np.bool_]:
    """Return at which steps (T,) the operator was in control."""
    return np.array([who == "operator" for who in episode.controllers], dtype=bool)


def is_corrected(episode: Episode) -> bool:
    """Return whether the operator took over at some step."""
    return bool(by_operator(episode).any())


def takeovers(episode: Episode) -> list[int]:
    """Return the steps at which the operator took over from the policy."""
    held = by_operator(episode)
    return np.flatnonzero(held & ~np.concatenate([[False], held[:-1]])).tolist()


def without_corrections(episodes: Sequence[Episode]) -> list[Episode]:
    """Return the episodes up to their first takeover; those that begin with one are left out."""
    kept = []
    for episode in episodes:
        end = takeovers(episode)[0] if is_corrected(episode) else episode.num_steps
        if end > 0:
            kept.append(episode if end == episode.num_steps else _until(episode, end))
    return kept


def _until(episode: Episode, end: int) -> Episode:
    return dataclasses.replace(
        episode,
        images=episode.images[: end + 1],
        actions=episode.actions[:end],
        proposed=episode.proposed[:end],
        joints_rad=episode.joints_rad[: end + 1],
        gripper=episode.gripper[: end + 1],
        weights_versions=episode.weights_versions[:end],
        controllers=episode.controllers[:end],
        stamps_ns=episode.stamps_ns[: end + 1],
    )


def observation_at(episode: Episode, step: int) -> Observation:
    """Return what was seen at a step, as imagination takes it."""
    return Observation(
        image_hwc=resize_squashed(episode.images[step], SIZE_PX),
        joints_rad=episode.joints_rad[step],
        gripper=float(episode.gripper[step]),
        stamp_ns=0,
    )


def takeover_starts(
    episodes: Sequence[Episode], known: Sequence[str], tasks: Sequence[str], before: int
) -> list[Start]:
    """Return start frames at each takeover and `before` steps earlier, for the episode's task."""
    return [
        Start(observation_at(episode, step), instruction_id(episode.instruction, known))
        for episode in episodes
        if episode.instruction in tasks
        for taken in takeovers(episode)
        for step in sorted({taken, max(0, taken - before)})
    ]


@dataclass(eq=False)
class Corrections:
    """Pictures at which a chunk of known worth began."""

    images_BCHW: Tensor
    instructions_B: Tensor
    chunks_BKA: Tensor
    """Scaled actions."""
    weights_BK: Tensor
    """1 for actions of the operator, -1 for proposals that led to a takeover, else 0."""

    def __len__(self) -> int:
        """Return the number of chunks."""
        return len(self.images_BCHW)


def corrections_of(episodes: Sequence[Episode], known: Sequence[str]) -> Corrections:
    """Return every chunk that begins with the operator in control or within it before that.

    Actions after the end of the episode or of the operator's turn have weight 0.
    """
    images, ids, chunks, weights = [], [], [], []
    for episode in episodes:
        held = by_operator(episode)
        blamed = np.zeros(len(held), dtype=bool)
        for taken in takeovers(episode):
            blamed[max(0, taken - CHUNK) : taken] = True
        blamed &= ~held
        for step in np.flatnonzero(held | blamed):
            rows = np.minimum(np.arange(step, step + CHUNK), len(held) - 1)
            real = np.arange(step, step + CHUNK) < len(held)
            own = held[rows] if held[step] else -1.0 * blamed[rows]
            chunk = (episode.actions if held[step] else episode.proposed)[rows]
            if not np.isfinite(chunk).all():
                continue  # a proposal that was no number; the guard refused it
            images.append(resize_squashed(episode.images[step], SIZE_PX))
            ids.append(instruction_id(episode.instruction, known))
            chunks.append(chunk)
            weights.append(own * real)
    if not images:
        return Corrections(*(torch.zeros(0, 0) for _ in range(4)))
    return Corrections(
        to_unit(np.stack(images)),
        torch.tensor(ids),
        scale_actions(np.stack(chunks)),
        torch.from_numpy(np.stack(weights).astype(np.float32)),
    )


def imitate(
    policy: TinyPolicy,
    corrections: Corrections,
    anchor: Anchor | None,
    config: CorrectionConfig,
    seed: int,
    *,
    report: Report | None = None,
    max_seconds: float = math.inf,
) -> Metrics:
    """Train in place on corrected chunks; return the last metrics, empty without corrections.

    In the end the weights are drawn back towards those before, see `averaging.between`: a hundred
    chunks are soon learned by heart.

    Raises:
        TrainingDivergedError: The loss or the gradient is not finite.
    """
    used = torch.nonzero(corrections.weights_BK.sum(dim=1) > 0)[:, 0]
    blamed = torch.nonzero(corrections.weights_BK.sum(dim=1) < 0)[:, 0]
    if len(used) == 0:
        return {}
    generator = torch.Generator().manual_seed(seed)
    before = copy.deepcopy(policy)
    policy.train()

    def loss_of_step(_: int) -> tuple[Tensor, Metrics]:
        loss = _imitation(policy, _draw(corrections, used, config, generator), config)
        metrics = {"loss": float(loss.detach())}
        if config.blame and len(blamed):
            loss = loss + config.blame * _blame(
                policy, _draw(corrections, blamed, config, generator)
            )
        if config.anchor and anchor is not None:
            held = anchor.on_old_scenes(policy, generator)
            metrics["anchor"] = float(held.detach())
            loss = loss + config.anchor * held
        return loss, metrics

    metrics = fit(
        policy.parameters(), loss_of_step, config.fit, report=report, max_seconds=max_seconds
    )
    between(before, policy, config.way)
    policy.eval()
    return metrics


def _draw(
    corrections: Corrections, rows: Tensor, config: CorrectionConfig, generator: torch.Generator
) -> Corrections:
    chosen = rows[torch.randint(len(rows), (config.batch,), generator=generator)]
    drawn = Corrections(*(value[chosen] for value in vars(corrections).values()))
    drawn.images_BCHW = recolor(drawn.images_BCHW, config.color, generator)
    return drawn


def _imitation(policy: TinyPolicy, drawn: Corrections, config: CorrectionConfig) -> Tensor:
    """Return the cross-entropy of the operator's actions, those of others left out."""
    with mixed_precision():
        logits = policy(drawn.images_BCHW, drawn.instructions_B).float()
    return soft_cross_entropy(
        logits,
        drawn.chunks_BKA,
        policy.bin_centers(),
        config.softness,
        weights_BK=drawn.weights_BK,
    )


def _blame(policy: TinyPolicy, drawn: Corrections) -> Tensor:
    """Return the unlikelihood -log(1 - p) of the proposals that led to a takeover.

    Source: Welleck et al. 2019, Neural text generation with unlikelihood training, eq. 3,
    arXiv 1908.04319.
    """
    with mixed_precision():
        logits = policy(drawn.images_BCHW, drawn.instructions_B).float()
    centers = policy.bin_centers()
    tokens = (drawn.chunks_BKA.clamp(-1, 1)[..., None] - centers).abs().argmin(dim=-1)
    probability = token_log_probs(logits, tokens, 1.0).exp().clamp(max=0.999)
    blamed = -drawn.weights_BK[..., None]
    return -(torch.log1p(-probability) * blamed).sum() / (7.0 * blamed.sum())
