"""The actions that lie ahead, each at the step for which it is meant."""

from collections import deque
from dataclasses import dataclass

import numpy as np

from robot_agent.act.execution import ExecutionConfig, caught_up, fade, mix
from robot_agent.core.types import ACTION_DIM, Chunk, FloatArray

_REMEMBERED = 32
"""Executed actions that are kept for guidance."""


@dataclass(frozen=True, eq=False)
class Planned:
    """One action that waits for its step."""

    action: FloatArray
    """Bridge action (7,)."""
    predictions: tuple[FloatArray, ...]
    """What chunks said about this step, oldest first."""
    chunk: Chunk
    """The newest of these chunks."""
    chunk_id: int
    """Number of that chunk among all of the proposer."""
    index: int
    """Position in that chunk."""


@dataclass(frozen=True, eq=False)
class Ahead:
    """What a new chunk must go on from."""

    actions: FloatArray
    """Executed and planned Bridge actions (N, 7), from the step of the observation on."""
    frozen: int
    """How many of them will have been executed when the chunk comes, as far as one can tell."""

    @property
    def weights(self) -> FloatArray:
        """How much each of them binds the chunk (N,): 1 while frozen, then fading."""
        overlap = len(self.actions) - self.frozen
        return np.array([1.0] * self.frozen + [fade(index, overlap) for index in range(overlap)])


class Plan:
    """Actions by step; a step is one executed action, counted over the life of the plan.

    A tick in which the arm holds is no step: the arm is still where the next action expects it.
    So no action is executed at a step that is not its own or a second time, and what comes after
    its step is dropped. One thread.
    """

    def __init__(self, config: ExecutionConfig) -> None:
        """Begin empty."""
        self._config = config
        self._ahead: dict[int, Planned] = {}
        self._done: deque[FloatArray] = deque(maxlen=_REMEMBERED)
        self.next_step = 0
        """Step of the next action."""
        self.dropped = 0
        """Actions that came after their step."""

    def __len__(self) -> int:
        """Return the number of actions that lie ahead."""
        return len(self._ahead)

    def clear(self) -> None:
        """Forget what lies ahead and behind; the count of steps goes on."""
        self._ahead.clear()
        self._done.clear()

    def take(self, chunk: Chunk, chunk_id: int, step: int, *, continues: bool) -> None:
        """Plan with a new chunk; what lay ahead is left only as far as it is in the new plan.

        Args:
            chunk: Bridge actions (K, 7), the first of them for `step`.
            chunk_id: Its number.
            step: The step that came next when the chunk's observation was made.
            continues: Whether what lies ahead is of the same weights and instruction; otherwise
                nothing of it is mixed in.
        """
        actions = chunk.actions[: self._config.horizon or None]
        late = min(self.next_step - step, len(actions))
        self.dropped += late
        if self._config.catches_up and late and late <= len(self._done):
            actions = caught_up(actions, late, np.array(list(self._done)[-late:]))
        before = self._ahead if continues else {}
        overlap = min(len(before), len(actions) - late)
        self._ahead = {}
        for index in range(late, len(actions)):
            old = before.get(step + index)
            action, predictions = self._join(old, actions[index], index - late, overlap)
            self._ahead[step + index] = Planned(action, predictions, chunk, chunk_id, index)

    def _join(
        self, old: Planned | None, action: FloatArray, index: int, overlap: int
    ) -> tuple[FloatArray, tuple[FloatArray, ...]]:
        """Return the action of one step and the predictions behind it."""
        if old is not None and self._config.mode == "real_time_chunking":
            share = fade(index, overlap)
            action = mix((old.action, action), (share, 1.0 - share))
        elif old is not None and self._config.mode == "temporal_ensembling":
            predictions = (*old.predictions, action)
            weights = np.exp(-self._config.decay * np.arange(len(predictions)))
            return mix(predictions, weights.tolist()), predictions
        return action, (action,)

    def pop(self) -> Planned | None:
        """Return the action of the next step and go on to the one after it, or None."""
        planned = self._ahead.pop(self.next_step, None)
        if planned is not None:
            self.next_step += 1
            self._done.append(planned.action)
        return planned

    def ahead(self, step: int, frozen: int) -> Ahead:
        """Return what was executed and is planned from `step` on."""
        num_done = self.next_step - step
        done = list(self._done)[len(self._done) - num_done :] if num_done else []
        actions = [*done, *(planned.action for planned in self._ahead.values())]
        stacked = np.array(actions) if actions else np.zeros((0, ACTION_DIM))
        return Ahead(stacked, min(num_done + frozen, len(stacked)))
