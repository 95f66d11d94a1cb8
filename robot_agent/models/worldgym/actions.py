"""From Bridge actions to the slots of the published model: scaling, pairing, latency.

Axis letters: B batch, T time, K actions of a chunk, A action (7 or 10).
Source: world-gymnast/world-model-eval, download_data.py (published_method.md 2.4).
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robot_agent.core.config import require_range
from robot_agent.core.errors import InputError
from robot_agent.core.types import ACTION_DIM, FloatArray, require_array

SLOT_DIM = 10
"""`[dx dy dz droll dpitch dyaw gripper base_x base_y base_yaw]`; an arm leaves the last 3 zero."""
SCALE_PER_M, SCALE_PER_RAD = 35.0, 5.6
LIMIT_M, LIMIT_RAD = 1.74, 1.39
"""Where the training data were clipped, scaled; that is 5 cm and 0.25 rad."""
MAX_ACTION = 0.5
"""No Bridge action has a larger step [m or rad]; a larger number is of another scale."""


def scaled_actions(actions: FloatArray) -> NDArray[np.float32]:
    """Return slots (..., 10) of Bridge actions (..., 7); gripper -1 = open, 1 = closed.

    Raises:
        InputError: Another dimension, a number that is not finite, or actions of another scale.
    """
    lead = np.asarray(actions).shape[:-1]
    actions = require_array("actions", actions, (*lead, ACTION_DIM))
    largest = float(np.abs(actions[..., :6]).max(initial=0.0))
    if largest > MAX_ACTION:
        raise InputError(
            f"actions: largest component {largest:.2f} is over {MAX_ACTION} m or rad: these are "
            f"not Bridge actions. Un-normalise them first."
        )
    slots = np.zeros((*lead, SLOT_DIM), np.float32)
    slots[..., :3] = np.clip(actions[..., :3] * SCALE_PER_M, -LIMIT_M, LIMIT_M)
    slots[..., 3:6] = np.clip(actions[..., 3:6] * SCALE_PER_RAD, -LIMIT_RAD, LIMIT_RAD)
    slots[..., 6] = np.where(actions[..., 6] > 0.5, -1.0, 1.0)  # rounded, as the training data
    return slots


class ActionSlots:
    """Pairs actions with frames: slot t + 1 + latency holds action t, which leads to frame t + 1.

    Training pushes a whole episode, a rollout pushes chunk after chunk: the same code pairs both.
    Slots before the first action are zero, which the model reads as "do not move".
    """

    def __init__(self, batch: int, latency_steps: int = 0) -> None:
        """Begin at frame 0.

        Args:
            batch: Rollouts.
            latency_steps: Measured steps between a logged action and its effect in the picture,
                beyond the next frame; 0 on an arm that waits for its moves.
        """
        require_range("latency_steps", latency_steps, 0, 10)
        self._waiting_BLA = torch.zeros(batch, latency_steps, SLOT_DIM)

    def push(self, actions_BKA: FloatArray) -> Tensor:
        """Return the slots (B, K, 10) of the next K frames."""
        require_array("actions", actions_BKA, (len(self._waiting_BLA), None, ACTION_DIM))
        pushed = torch.from_numpy(scaled_actions(actions_BKA))
        waiting = torch.cat([self._waiting_BLA, pushed], dim=1)
        count = pushed.shape[1]
        self._waiting_BLA = waiting[:, count:]
        return waiting[:, :count]

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rollouts only."""
        self._waiting_BLA = self._waiting_BLA[torch.tensor(list(rows), dtype=torch.long)]


def slots_of_episodes(actions_BTA: FloatArray, latency_steps: int = 0) -> Tensor:
    """Return the slots (B, T + 1, 10) of all frames of episodes of T actions."""
    slots = ActionSlots(len(actions_BTA), latency_steps).push(actions_BTA)
    return torch.cat([torch.zeros(len(slots), 1, SLOT_DIM), slots], dim=1)
