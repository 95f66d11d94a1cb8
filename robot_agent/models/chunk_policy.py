"""What practice needs of a policy's network, small or large.

Axis letters: B batch, K action of the chunk (5), A dimension (7), V bin of a token, C H W picture.
"""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Self

import numpy as np
from torch import Tensor, nn

from robot_agent.core.bridge_action import Normalization
from robot_agent.core.types import FloatArray


class ChunkPolicy(nn.Module, ABC):
    """Pictures (B, 3, H, W) in [0, 1] and instruction ids (B,) to logits (B, K, 7, V) of a chunk.

    Every token of the chunk is drawn by itself given the picture, so that log-probabilities are
    exact. Parameters that ask for no gradient are a frozen base: no update copies or keeps them.
    """

    @property
    @abstractmethod
    def num_instructions(self) -> int:
        """Number of instruction ids."""

    @abstractmethod
    def bin_centers(self) -> Tensor:
        """Return the value (V,) of every bin in [-1, 1]."""

    def bridge_actions(self, tokens_BKA: Tensor) -> FloatArray:
        """Return the Bridge actions (..., 7) of tokens (..., 7)."""
        centers = self.bin_centers().double().numpy()
        return Normalization().unnormalize(np.asarray(centers[tokens_BKA.numpy()]))

    def trained(self) -> dict[str, Tensor]:
        """Return the parameters that training changes, by name; not copies."""
        return {name: p.detach() for name, p in self.named_parameters() if p.requires_grad}

    def twin(self) -> Self:
        """Return a copy that shares the frozen base and has trained parameters of its own."""
        kept = {id(p): p for p in self.parameters() if not p.requires_grad}
        return copy.deepcopy(self, kept)

    def copied(self) -> dict[str, Tensor]:
        """Return copies of what training changes."""
        return {name: value.clone() for name, value in self.trained().items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go back to weights of `copied`; KeyError when they are of another network."""
        own = self.trained()
        if own.keys() != tensors.keys():
            raise KeyError(f"weights: {sorted(own.keys() ^ tensors.keys())[:4]} fit no parameter")
        for name, value in own.items():
            value.copy_(tensors[name])
