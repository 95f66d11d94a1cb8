"""Holds a policy to what it was: divergence from its weights before, here and on old scenes.

Axis letters: B batch, N pictures, K action of the chunk, A dimension, V bin, C H W picture.
"""

import copy

import torch
from torch import Tensor
from torch.nn import functional as F

from robot_agent.learn.data import Episodes
from robot_agent.models.chunk_policy import ChunkPolicy
from robot_agent.models.precision import mixed_precision
from robot_agent.models.scaling import to_unit


class Anchor:
    """A frozen copy of a policy, and pictures of scenes that must not be forgotten."""

    def __init__(self, policy: ChunkPolicy, old: Episodes, *, batch: int = 16) -> None:
        """Copy the weights as they are now; draw `batch` pictures of `old` at a time."""
        self._base = copy.deepcopy(policy).eval().requires_grad_(False)
        self._old, self._batch = old, batch

    def divergence(self, policy: ChunkPolicy, images_BCHW: Tensor, ids_B: Tensor) -> Tensor:
        """Return the mean Kullback-Leibler divergence of the tokens, base from policy [nat]."""
        with mixed_precision():
            with torch.no_grad():
                base = self._base(images_BCHW, ids_B).float()
            logits = policy(images_BCHW, ids_B).float()
        return divergence(F.log_softmax(base, dim=-1), F.log_softmax(logits, dim=-1))

    def on_old_scenes(self, policy: ChunkPolicy, generator: torch.Generator) -> Tensor:
        """Return the divergence on a batch of old pictures, instructions drawn at random."""
        rows = torch.randint(len(self._old), (self._batch,), generator=generator)
        share = torch.rand(self._batch, generator=generator)
        steps = (share * (self._old.lengths_N[rows] + 1)).long()
        ids = torch.randint(policy.num_instructions, (self._batch,), generator=generator)
        return self.divergence(policy, to_unit(self._old.images_NTHWC[rows, steps]), ids)


def divergence(base_BKAV: Tensor, log_probs_BKAV: Tensor) -> Tensor:
    """Return mean over tokens of sum_v p(v) (log p(v) - log q(v)), p base and q policy [nat]."""
    return (base_BKAV.exp() * (base_BKAV - log_probs_BKAV)).sum(dim=-1).mean()
