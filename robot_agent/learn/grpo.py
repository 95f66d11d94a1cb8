"""Group-relative policy optimisation over whole chunks with exact log-probabilities.

Source: Shao et al. 2024, DeepSeekMath, arXiv 2402.03300, eq. 3; asymmetric clipping and groups
of mixed outcome as in Yu et al. 2025, DAPO, arXiv 2503.14476, as World-Gymnast uses them.

Axis letters: B rollouts, N chunks, K action of a chunk, A dimension, M minibatch of chunks.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robot_agent.core.config import require_range
from robot_agent.core.errors import TrainingDivergedError
from robot_agent.core.types import FloatArray
from robot_agent.learn.imagine import Rollouts
from robot_agent.models.scaling import to_unit
from robot_agent.models.tiny_policy import TinyPolicy, token_log_probs


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

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("learning_rate", self.learning_rate, 1e-8, 1e-1)
        require_range("clip_low", self.clip_low, 0.01, 0.9)
        require_range("clip_high", self.clip_high, 0.01, 2.0)
        require_range("epochs", self.epochs, 1, 20)


def group_advantages(
    reward_B: FloatArray,
    group: int,
    epsilon: float = 1e-6,
    *,
    known_B: NDArray[np.bool_] | None = None,
) -> FloatArray:
    """Return (r - mean) / (std + epsilon) within each group of rollouts of one start frame.

    Groups of equal rewards get zeros: they say nothing. So do rollouts of unknown reward, which
    are in no mean and no deviation, and those that are left alone by them.
    """
    grouped = reward_B.reshape(-1, group)
    known = np.ones_like(grouped, bool) if known_B is None else known_B.reshape(-1, group)
    count = known.sum(axis=1, keepdims=True)
    mean = np.where(known, grouped, 0.0).sum(axis=1, keepdims=True) / np.maximum(count, 1)
    centered = np.where(known, grouped - mean, 0.0)
    variance = (centered**2).sum(axis=1, keepdims=True) / np.maximum(count - 1, 1)
    deviation = np.sqrt(variance)
    scaled = centered / (deviation + epsilon)
    return np.asarray(np.where(deviation > 1e-4, scaled, 0.0)).reshape(-1)


def clipped_loss(
    log_probs: Tensor, old_log_probs: Tensor, advantage: Tensor, config: GrpoConfig
) -> Tensor:
    """Return -mean(min(r A, clip(r, 1 - low, 1 + high) A)) over tokens (M, K, A)."""
    ratio = (log_probs - old_log_probs).exp()
    bounded = ratio.clamp(1.0 - config.clip_low, 1.0 + config.clip_high)
    return -torch.minimum(ratio * advantage, bounded * advantage).mean()


def _mean_known(values_B: FloatArray, known_B: NDArray[np.bool_]) -> float:
    return float(values_B[known_B].mean()) if known_B.any() else 0.0


class TinyPolicyLearner:
    """Updates a `TinyPolicy` in place from rollouts; counts its updates as versions."""

    def __init__(self, policy: TinyPolicy, config: GrpoConfig, temperature: float) -> None:
        """Take the weights to improve; `temperature` is that of the rollouts."""
        self.policy = policy
        self.version = 0
        self._config = config
        self._temperature = temperature
        self._optimizer = torch.optim.AdamW(
            policy.parameters(), lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=0.0
        )

    def update(self, rollouts: Rollouts, generator: torch.Generator) -> dict[str, float]:
        """Improve on one batch; return metrics. Equal rewards change nothing.

        Raises:
            ValueError: The rollouts' weights are older than `max_staleness` updates.
            TrainingDivergedError: A reward or gradient is not finite; the weights are as before.
        """
        if self.version - rollouts.version > self._config.max_staleness:
            raise ValueError(
                f"rollouts of version {rollouts.version} are older than {self.version} by more "
                f"than {self._config.max_staleness} updates. Imagine again with the new weights."
            )
        if not np.isfinite(rollouts.reward_B).all():
            raise TrainingDivergedError(
                f"policy update: {int((~np.isfinite(rollouts.reward_B)).sum())} of "
                f"{len(rollouts.reward_B)} rewards are not finite, must all be. The weights are "
                f"untouched; look at the judge."
            )
        advantage = group_advantages(rollouts.reward_B, rollouts.group, known_B=rollouts.known_B)
        rows = torch.nonzero(rollouts.mask_BN * torch.from_numpy(np.abs(advantage) > 0)[:, None])
        metrics = {
            "success": _mean_known(rollouts.success_B, rollouts.known_B),
            "reward": _mean_known(rollouts.reward_B, rollouts.known_B),
            "unknown": float(1.0 - rollouts.known_B.mean()),
            "useful_chunks": float(len(rows)),
            "steps": float(rollouts.steps_B.mean()),
        }
        if len(rows) == 0:
            return metrics
        advantages = torch.from_numpy(advantage).float()
        for _ in range(self._config.epochs):
            order = rows[torch.randperm(len(rows), generator=generator)]
            for part in order.split(self._config.minibatch):
                metrics["loss"] = self._step(rollouts, part, advantages)
        self.version += 1
        return metrics

    def _step(self, rollouts: Rollouts, part: Tensor, advantages: Tensor) -> float:
        b, n = part[:, 0], part[:, 1]
        logits = self.policy(to_unit(rollouts.images_BNHWC[b, n]), rollouts.instructions_B[b])
        log_probs = token_log_probs(logits, rollouts.tokens_BNKA[b, n], self._temperature)
        old = rollouts.log_probs_BNKA[b, n]
        loss = clipped_loss(log_probs, old, advantages[b][:, None, None], self._config)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.policy.parameters(), self._config.clip_norm)
        if not torch.isfinite(norm):
            raise TrainingDivergedError(
                f"policy update: gradient norm is {float(norm)}, must be finite. The weights are "
                f"as before this step; the active policy is untouched."
            )
        self._optimizer.step()
        return float(loss.detach())
