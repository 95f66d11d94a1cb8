"""The tiny world model as a `WorldModel`: rollouts of many start frames in one batch.

Axis letters: B batch, A action (7), C H W picture.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robot_agent.core.bridge_action import bridge_state
from robot_agent.core.errors import InputError
from robot_agent.core.protocols import Autoencoder
from robot_agent.core.types import ACTION_DIM, FloatArray, ImageArray, Observation, require_array
from robot_agent.models.precision import mixed_precision
from robot_agent.models.scaling import (
    resize_squashed,
    scale_actions,
    scale_states,
    to_bytes,
    to_unit,
    unscale_states,
)
from robot_agent.models.tiny_world import SIZE_PX, TinyWorld

MAX_ACTION = 0.5
"""No Bridge action has a larger step [m or rad]; a larger number is of another scale."""


class TinyImagination:
    """A batch of imagined episodes; action t leads from frame t to frame t+1."""

    def __init__(
        self,
        world: TinyWorld,
        autoencoder: Autoencoder | None = None,
        picture_px: int = SIZE_PX,
    ) -> None:
        """Take a trained network; set to evaluation mode here.

        Args:
            world: The network.
            autoencoder: Of its latents; None when it imagines RGB.
            picture_px: Side of the square pictures.
        """
        self._world, self._autoencoder, self._picture_px = world.eval(), autoencoder, picture_px
        self._image = self._first = torch.zeros(0, world.config.seen, 1, 1)
        self._state = self._previous_action = torch.zeros(0, ACTION_DIM)

    def reset(self, observations: Sequence[Observation]) -> ImageArray:
        """Begin from real observations; return their frames (B, H, W, 3)."""
        size = self._picture_px
        images = np.stack([resize_squashed(o.image_hwc, size) for o in observations])
        states = np.stack([bridge_state(o.joints_rad, o.gripper) for o in observations])
        pictures = to_unit(images)
        if self._autoencoder is not None:
            pictures = self._autoencoder.encode(pictures).float()
        self._first = self._image = pictures
        self._state = scale_states(states)
        self._previous_action = torch.zeros(len(images), ACTION_DIM)
        return images

    def step(self, actions_BA: NDArray[np.float64]) -> ImageArray:
        """Advance every rollout by one Bridge action (B, 7); return frames (B, H, W, 3).

        Raises:
            InputError: Actions of another number, dimension or scale, or not finite.
        """
        actions = require_array("actions", actions_BA, (len(self._image), ACTION_DIM))
        largest = float(np.abs(actions[:, :6]).max(initial=0.0))
        if largest > MAX_ACTION:
            raise InputError(
                f"actions: largest component {largest:.2f} is over {MAX_ACTION} m or rad: these "
                f"are not Bridge actions. Un-normalise them first."
            )
        self._advance(scale_actions(actions))
        if self._autoencoder is None:
            return to_bytes(self._image)
        return to_bytes(self._autoencoder.decode(self._image))

    @torch.no_grad()
    def _advance(self, action_BA: Tensor) -> None:
        with mixed_precision():
            image, state = self._world(
                self._image, self._first, self._state, action_BA, self._previous_action
            )
        self._image, self._state = image.float(), state.float()
        self._previous_action = action_BA

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rollouts only; finished ones leave the batch."""
        index = torch.tensor(list(rows), dtype=torch.long)
        self._image, self._first = self._image[index], self._first[index]
        self._state, self._previous_action = self._state[index], self._previous_action[index]

    @property
    def tool_states(self) -> FloatArray:
        """Imagined Bridge states (B, 7) of the tools."""
        return unscale_states(self._state)
