"""A batch of imagined episodes: what an update needs of them, joined and split by groups.

Axis letters: B rollouts, N chunks, K action of a chunk, A dimension, T time, H W C picture.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robot_agent.core.types import FloatArray, ImageArray

_TENSORS = ("images_BNHWC", "tokens_BNKA", "log_probs_BNKA", "mask_BN", "instructions_B")
_ARRAYS = ("success_B", "reward_B", "progress_B", "steps_B")


@dataclass(eq=False)
class Rollouts:
    """A batch of imagined episodes with everything that an update needs."""

    images_BNHWC: Tensor
    """Pictures at the start of each chunk (B, N, 64, 64, 3) uint8."""
    tokens_BNKA: Tensor
    log_probs_BNKA: Tensor
    """Of the tokens under the weights that drew them."""
    mask_BN: Tensor
    """1 for chunks that began before the rollout ended."""
    instructions_B: Tensor
    success_B: FloatArray
    """1 or 0; NaN where the judge could not say, and such a rollout is not kept: unknown is no
    failure."""
    reward_B: FloatArray
    progress_B: FloatArray
    """Best progress."""
    steps_B: NDArray[np.int64]
    """Imagined steps until success or the horizon."""
    group: int
    """Rollouts of one start frame stand together in groups of this size."""
    version: int
    """Update count of the weights that drew them; of a batch, the oldest."""
    clip: ImageArray
    """Frames of the first rollout (T + 1, 64, 64, 3), for reports."""
    kept_B: NDArray[np.bool_] | None = None
    """Rollouts on which the members agree; None keeps all."""
    clips_BTHWC: ImageArray | None = None
    """All frames (B, T + 1, 64, 64, 3), until a judge of clips has seen them."""

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], group: int, version: int) -> "Rollouts":
        """Return the rollouts of `tensors_of`."""
        values: dict[str, Any] = {name: tensors[name] for name in _TENSORS}
        values |= {name: tensors[name].numpy() for name in (*_ARRAYS, "clip")}
        if "kept_B" in tensors:
            values["kept_B"] = tensors["kept_B"].numpy()
        return cls(**values, group=group, version=version)


def tensors_of(rollouts: Rollouts) -> dict[str, Tensor]:
    """Return everything of the rollouts but group and version."""
    found = {name: getattr(rollouts, name) for name in _TENSORS}
    found |= {name: torch.from_numpy(getattr(rollouts, name)) for name in (*_ARRAYS, "clip")}
    if rollouts.kept_B is not None:
        found["kept_B"] = torch.from_numpy(rollouts.kept_B)
    return found


def merge(parts: Sequence[Rollouts]) -> Rollouts:
    """Return rollouts of several worlds as one batch; groups stay whole."""
    joined: dict[str, Any] = {
        name: torch.cat([getattr(part, name) for part in parts]) for name in _TENSORS
    } | {name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS}
    if any(part.kept_B is not None for part in parts):
        joined["kept_B"] = np.concatenate([_kept(part) for part in parts])
    oldest = min(part.version for part in parts)
    return Rollouts(**joined, group=parts[0].group, version=oldest, clip=parts[0].clip)


def take_groups(rollouts: Rollouts, groups: Sequence[int]) -> Rollouts:
    """Return some groups of a batch, in the order given."""
    rows = (np.array(groups, int)[:, None] * rollouts.group + np.arange(rollouts.group)).ravel()
    picked: dict[str, Any] = {
        name: getattr(rollouts, name)[torch.from_numpy(rows)] for name in _TENSORS
    } | {name: getattr(rollouts, name)[rows] for name in _ARRAYS}
    if rollouts.kept_B is not None:
        picked["kept_B"] = rollouts.kept_B[rows]
    return dataclasses.replace(rollouts, **picked)


def _kept(rollouts: Rollouts) -> NDArray[np.bool_]:
    return np.ones(len(rollouts.reward_B), bool) if rollouts.kept_B is None else rollouts.kept_B
