"""Group-relative policy optimisation over whole chunks with exact log-probabilities.

Source: Shao et al. 2024, DeepSeekMath, arXiv 2402.03300, eq. 3; asymmetric clipping and groups
of mixed outcome as in Yu et al. 2025, DAPO, arXiv 2503.14476, as World-Gymnast uses them.

Axis letters: B rollouts, N chunks, K action of a chunk, A dimension, M minibatch of chunks.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robot_agent.core.config import require_range
from robot_agent.core.errors import TrainingDivergedError
from robot_agent.core.types import FloatArray
from robot_agent.learn.anchor import Anchor
from robot_agent.learn.rollouts import Rollouts
from robot_agent.models.chunk_policy import ChunkPolicy
from robot_agent.models.scaling import to_unit
from robot_agent.models.tiny_policy import token_log_probs


@dataclass(frozen=True, kw_only=True)
class GrpoConfig:
    """How the policy is updated."""

    learning_rate: float = 1e-4
    clip_low: float = 0.2
    clip_high: float = 0.28
    epochs: int = 2
    minibatch: int = 128
    """Chunks of one optimiser step; several a batch, so that clipping acts."""
    clip_norm: float = 1.0
    max_staleness: int = 1
    """Updates by which a rollout's weights may be behind; older ones are refused."""
    warmup_updates: int = 0
    """Updates over which the learning rate rises; the first has a share of it, never zero."""
    entropy: float = 0.0
    """Bonus on the entropy of the tokens [nat]."""
    kl: float = 0.0
    """Weight of the divergence from the weights before, on the rollouts' own pictures."""
    replay_kl: float = 0.0
    """The same on pictures of old scenes, which practice never shows."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("learning_rate", self.learning_rate, 1e-8, 1e-1)
        require_range("clip_low", self.clip_low, 0.01, 0.9)
        require_range("clip_high", self.clip_high, 0.01, 2.0)
        require_range("epochs", self.epochs, 1, 20)
        require_range("minibatch", self.minibatch, 1, 100_000)
        require_range("max_staleness", self.max_staleness, 0, 100)
        require_range("warmup_updates", self.warmup_updates, 0, 10_000)
        for name in ("entropy", "kl", "replay_kl"):
            require_range(name, getattr(self, name), 0.0, 100.0)


def group_advantages(
    reward_B: FloatArray,
    group: int,
    epsilon: float = 1e-6,
    *,
    kept_B: NDArray[np.bool_] | None = None,
) -> FloatArray:
    """Return (r - mean) / (std + epsilon) within each group of rollouts of one start frame.

    Groups of equal rewards get zeros: they say nothing. Rollouts that are not kept get zeros too,
    and the others are compared among themselves.
    """
    grouped = reward_B.reshape(-1, group)
    kept = np.ones(grouped.shape, bool) if kept_B is None else kept_B.reshape(-1, group)
    count = kept.sum(axis=1, keepdims=True)
    mean = np.where(kept, grouped, 0.0).sum(axis=1, keepdims=True) / np.maximum(count, 1)
    centered = np.where(kept, grouped - mean, 0.0)
    deviation = np.sqrt(np.square(centered).sum(axis=1, keepdims=True) / np.maximum(count - 1, 1))
    scaled = centered / (deviation + epsilon)
    return np.asarray(np.where(deviation > 1e-4, scaled, 0.0)).reshape(-1)


def clipped_loss(
    log_probs: Tensor, old_log_probs: Tensor, advantage: Tensor, config: GrpoConfig
) -> Tensor:
    """Return -mean(min(r A, clip(r, 1 - low, 1 + high) A)) over tokens (M, K, A)."""
    ratio = (log_probs - old_log_probs).exp()
    bounded = ratio.clamp(1.0 - config.clip_low, 1.0 + config.clip_high)
    return -torch.minimum(ratio * advantage, bounded * advantage).mean()


class TinyPolicyLearner:
    """Updates a `ChunkPolicy` in place from rollouts; counts its updates as versions."""

    def __init__(
        self,
        policy: ChunkPolicy,
        config: GrpoConfig,
        temperature: float,
        anchor: Anchor | None = None,
    ) -> None:
        """Take the weights to improve; `temperature` is that of the rollouts.

        Raises:
            ValueError: A divergence has a weight and there is no anchor to diverge from.
        """
        if anchor is None and (config.kl or config.replay_kl):
            raise ValueError(
                f"kl={config.kl}, replay_kl={config.replay_kl}: need an anchor, there is none. "
                f"Give the weights before, or set both to 0."
            )
        self.policy = policy
        self.version = 0
        self._config, self._anchor = config, anchor
        self._temperature = temperature
        self.optimizer = torch.optim.AdamW(
            [p for p in policy.parameters() if p.requires_grad],
            lr=config.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=0.0,
        )

    def update(
        self,
        rollouts: Rollouts,
        generator: torch.Generator,
        is_over: Callable[[], bool] = lambda: False,
    ) -> dict[str, float]:
        """Improve on one batch; return metrics. Equal rewards change nothing.

        When `is_over` says so the minibatches that are left are not taken.

        Raises:
            ValueError: The rollouts' weights are older than `max_staleness` updates.
            TrainingDivergedError: A reward, loss or gradient is not finite; the weights are as
                before this update.
        """
        self._require_fresh(rollouts)
        advantage = group_advantages(rollouts.reward_B, rollouts.group, kept_B=rollouts.kept_B)
        rows = torch.nonzero(rollouts.mask_BN * torch.from_numpy(np.abs(advantage) > 0)[:, None])
        metrics = {**batch_metrics(rollouts), "useful_chunks": float(len(rows))}
        if len(rows) == 0:
            return metrics
        before = self.policy.copied()
        try:
            steps = self._minibatches(rollouts, rows, advantage, generator, is_over)
        except TrainingDivergedError:
            self.policy.restore(before)
            raise
        self.version += 1
        return {**metrics, **{key: float(np.mean([s[key] for s in steps])) for key in steps[0]}}

    def _require_fresh(self, rollouts: Rollouts) -> None:
        if self.version - rollouts.version > self._config.max_staleness:
            raise ValueError(
                f"rollouts of version {rollouts.version} are older than {self.version} by more "
                f"than {self._config.max_staleness} updates. Imagine again with the new weights."
            )
        require_finite(rollouts)

    def _minibatches(
        self,
        rollouts: Rollouts,
        rows: Tensor,
        advantage: FloatArray,
        generator: torch.Generator,
        is_over: Callable[[], bool],
    ) -> list[dict[str, float]]:
        share = min(1.0, (self.version + 1) / (self._config.warmup_updates + 1))
        for parameters in self.optimizer.param_groups:
            parameters["lr"] = share * self._config.learning_rate
        advantages, steps = torch.from_numpy(advantage).float(), list[dict[str, float]]()
        for _ in range(self._config.epochs):
            order = rows[torch.randperm(len(rows), generator=generator)]
            for part in order.split(self._config.minibatch):
                if steps and is_over():
                    return steps
                steps.append(self._step(rollouts, part, advantages, generator))
        return steps

    def _step(
        self, rollouts: Rollouts, part: Tensor, advantages: Tensor, generator: torch.Generator
    ) -> dict[str, float]:
        b, n = part[:, 0], part[:, 1]
        images, ids = to_unit(rollouts.images_BNHWC[b, n]), rollouts.instructions_B[b]
        logits = self.policy(images, ids)
        log_probs = token_log_probs(logits, rollouts.tokens_BNKA[b, n], self._temperature)
        old = rollouts.log_probs_BNKA[b, n]
        loss = clipped_loss(log_probs, old, advantages[b][:, None, None], self._config)
        metrics = {"clipped": clipped_share(log_probs, old, advantages[b], self._config)}
        loss = loss + self._kept_close(logits, images, ids, generator)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.policy.parameters(), self._config.clip_norm)
        if not (torch.isfinite(norm) and torch.isfinite(loss)):
            raise TrainingDivergedError(
                f"policy update: loss is {float(loss.detach())}, gradient norm is {float(norm)}, "
                f"must be finite. The weights are as before this update; the active policy is "
                f"untouched. Lower the learning rate ({self._config.learning_rate})."
            )
        self.optimizer.step()
        return {**metrics, "loss": float(loss.detach()), "gradient_norm": float(norm)}

    def _kept_close(
        self, logits: Tensor, images: Tensor, ids: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Return the penalties: divergence from the weights before, less the entropy bonus."""
        config, loss = self._config, torch.zeros(())
        if config.entropy:
            loss = loss - config.entropy * token_entropy(logits, self._temperature)
        if self._anchor is not None and config.kl:
            loss = loss + config.kl * self._anchor.divergence(self.policy, images, ids)
        if self._anchor is not None and config.replay_kl:
            loss = loss + config.replay_kl * self._anchor.on_old_scenes(self.policy, generator)
        return loss


def require_finite(rollouts: Rollouts) -> None:
    """Refuse rewards that are no numbers with a TrainingDivergedError."""
    wrong = int((~np.isfinite(rollouts.reward_B)).sum())
    if wrong:
        raise TrainingDivergedError(
            f"policy update: {wrong} of {len(rollouts.reward_B)} rewards are not finite, must all "
            f"be. The weights are untouched; look at the judge."
        )


def batch_metrics(rollouts: Rollouts) -> dict[str, float]:
    """Return what a batch of rollouts says of the weights that drew it; rates are of the known."""
    known = ~np.isnan(rollouts.success_B)
    if not known.any():
        return {"success": 0.0, "reward": 0.0, "unknown": 1.0, "steps": 0.0}
    return {
        "success": float(rollouts.success_B[known].mean()),
        "reward": float(rollouts.reward_B[known].mean()),
        "unknown": float(1.0 - known.mean()),
        "steps": float(rollouts.steps_B.mean()),
    }


def clipped_share(
    log_probs: Tensor, old_log_probs: Tensor, advantage_M: Tensor, config: GrpoConfig
) -> float:
    """Return the share of tokens whose ratio is beyond the clip that acts on their advantage."""
    ratio = (log_probs.detach() - old_log_probs).exp()
    gained = advantage_M[:, None, None] > 0
    beyond = torch.where(gained, ratio > 1.0 + config.clip_high, ratio < 1.0 - config.clip_low)
    return float(beyond.float().mean())


def token_entropy(logits: Tensor, temperature: float) -> Tensor:
    """Return the mean entropy of the tokens at `temperature` [nat]."""
    log_probs = torch.log_softmax(logits.float() / temperature, dim=-1)
    return -(log_probs.exp() * log_probs).sum(dim=-1).mean()
