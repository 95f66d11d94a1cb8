"""Iter-SFT: imitate demonstrations and the policy's own imagined successes, half and half.

Source: World-Gymnast, arXiv 2602.02454, section 4.2 (after Ctrl-World): roll out the policy in
the world model, keep what the judge calls a success, train again on both at 1:1. The released
code multiplies these weights by the sizes of the two sets; here each batch is half and half.

Axis letters: M chunks, K action of a chunk, A dimension, C H W picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from robot_agent.learn.data import Episodes
from robot_agent.learn.fit import Metrics, Report
from robot_agent.learn.policy_training import PolicyTrainingConfig, draw_chunks, fit_policy
from robot_agent.learn.rollouts import Rollouts
from robot_agent.models.scaling import to_unit
from robot_agent.models.tiny_policy import TinyPolicy


@dataclass(eq=False)
class KeptChunks:
    """Chunks of imagined episodes that were judged a success."""

    images_MHWC: Tensor
    """Pictures at which they began (M, 64, 64, 3) uint8."""
    instructions_M: Tensor
    actions_MKA: Tensor
    """Scaled actions in [-1, 1]."""

    def __len__(self) -> int:
        """Return the number of chunks."""
        return len(self.images_MHWC)


def kept_chunks(parts: Sequence[Rollouts], centers_V: Tensor) -> KeptChunks:
    """Return the chunks of the successes; of unknown outcome none is one."""
    images, ids, actions = [], [], []
    for rollouts in parts:
        done = torch.from_numpy(rollouts.success_B == 1.0)
        b, n = torch.nonzero(rollouts.mask_BN * done[:, None], as_tuple=True)
        images.append(rollouts.images_BNHWC[b, n])
        ids.append(rollouts.instructions_B[b])
        actions.append(centers_V[rollouts.tokens_BNKA[b, n]])
    return KeptChunks(torch.cat(images), torch.cat(ids), torch.cat(actions))


def imitate_both(
    policy: TinyPolicy,
    demonstrations: Episodes,
    kept: KeptChunks,
    config: PolicyTrainingConfig,
    seed: int,
    *,
    report: Report | None = None,
) -> Metrics:
    """Train in place, every batch half demonstrations and half own successes.

    Without a success there are demonstrations alone: more of the same training.
    """
    rng = np.random.default_rng(seed)
    half = config.batch // 2 if len(kept) else 0

    def draw() -> tuple[Tensor, Tensor, Tensor]:
        images, ids, chunks = draw_chunks(demonstrations, config.batch - half, rng)
        if half:
            rows = torch.from_numpy(rng.integers(0, len(kept), half))
            images = torch.cat([images, to_unit(kept.images_MHWC[rows])])
            ids = torch.cat([ids, kept.instructions_M[rows]])
            chunks = torch.cat([chunks, kept.actions_MKA[rows]])
        return images, ids, chunks

    return fit_policy(policy, draw, config, seed, report=report)
