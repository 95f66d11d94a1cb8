"""The published model as a `WorldModel`: pictures in, Bridge actions in, pictures out.

Axis letters: B batch, K actions of a chunk, A action (7), C H W picture or latent.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robot_agent.core.errors import InputError
from robot_agent.core.protocols import Autoencoder
from robot_agent.core.types import ACTION_DIM, FloatArray, ImageArray, Observation, require_array
from robot_agent.models.scaling import resize_squashed, to_bytes, to_unit
from robot_agent.models.worldgym.actions import ActionSlots


class LatentSampler(Protocol):
    """What imagines latents: ours or the published one."""

    def reset(self, latents_BTCHW: Tensor) -> None:
        """Begin from known frames."""

    def step(self, actions_BKA: Tensor) -> Tensor:
        """Return the next K latents."""

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rollouts only."""


@dataclass(frozen=True, kw_only=True)
class ImaginationConfig:
    """What stands between the model and the robot."""

    picture_px: int = 256
    """Side of the square pictures that the autoencoder takes."""
    latency_steps: int = 0
    """See `ActionSlots`."""


class DitImagination:
    """A batch of imagined episodes; action t leads from frame t to frame t + 1."""

    def __init__(
        self,
        sampler: LatentSampler,
        autoencoder: Autoencoder,
        config: ImaginationConfig | None = None,
    ) -> None:
        """Join a sampler and the autoencoder of its latents."""
        self._sampler, self._autoencoder = sampler, autoencoder
        self._config = config or ImaginationConfig()
        self._slots = ActionSlots(0, self._config.latency_steps)
        self._batch = 0

    def reset(self, observations: Sequence[Observation]) -> ImageArray:
        """Begin from real observations; return their frames (B, H, W, 3)."""
        size = self._config.picture_px
        images = np.stack([resize_squashed(o.image_hwc, size) for o in observations])
        latents = self._autoencoder.encode(to_unit(images))
        latents = require_finite("latents of the start frames", latents)
        self._batch = len(images)
        self._sampler.reset(latents[:, None])
        self._slots = ActionSlots(self._batch, self._config.latency_steps)
        return images

    def step(self, actions_BA: NDArray[np.float64]) -> ImageArray:
        """Advance every rollout by one Bridge action (B, 7); return frames (B, H, W, 3).

        Raises:
            InputError: Actions of another number, dimension or scale, or not finite; or the model
                answers with numbers that are not finite.
        """
        actions = require_array("actions", actions_BA, (self._batch, ACTION_DIM))
        return self.step_chunk(actions[:, None])[:, 0]

    def step_chunk(self, actions_BKA: FloatArray) -> ImageArray:
        """Advance by K Bridge actions at once (B, K, 7); return frames (B, K, H, W, 3)."""
        actions = require_array("actions", actions_BKA, (self._batch, None, ACTION_DIM))
        if not self._batch:
            raise InputError("actions: no rollout is left to advance. Call reset first.")
        latents = self._sampler.step(self._slots.push(actions))
        latents = require_finite("imagined latents", latents)
        images = to_bytes(self._autoencoder.decode(latents.flatten(0, 1)))
        return images.reshape(*latents.shape[:2], *images.shape[1:])

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rollouts only; finished ones leave the batch."""
        self._sampler.keep(rows)
        self._slots.keep(rows)
        self._batch = len(rows)


def require_finite(name: str, latents: Tensor) -> Tensor:
    """Return latents that are finite; InputError otherwise."""
    if not torch.isfinite(latents).all():
        rows = torch.isfinite(latents).flatten(1).all(dim=1).logical_not().nonzero().flatten()
        raise InputError(
            f"{name}: {len(rows)} of {len(latents)} hold numbers that are not finite, must be "
            f"none. Check the weights and the frames: robot-agent doctor"
        )
    return latents
