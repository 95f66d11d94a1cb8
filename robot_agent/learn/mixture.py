"""Episodes of several sources with weights, and batches that hold each in its share.

Axis letters: B batch, T time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from robot_agent.core.config import require_range
from robot_agent.core.errors import InputError
from robot_agent.learn.data import Episodes, Window, choose_windows, cut_windows, join
from robot_agent.learn.processes import num_processes, own_rows

Choice = TypeVar("Choice", NDArray[np.int64], Tensor)


def shares_of(weights: Sequence[float]) -> tuple[float, ...]:
    """Return weights as shares that add up to 1; InputError unless each is over 0."""
    if not weights or not all(weight > 0.0 for weight in weights):
        raise InputError(
            f"weights of the sources: {list(weights)}, each must be over 0. Leave a source out "
            f"that is to have none."
        )
    return tuple(weight / sum(weights) for weight in weights)


def counts_of(shares: Sequence[float], batch: int, rng: np.random.Generator) -> list[int]:
    """Return how many rows of a batch each source gets: its share on average, rounded either way.

    Systematic sampling: one random offset decides the rounding of all, so that the counts add up.
    """
    if len(shares) == 1:
        return [batch]
    ends = np.floor(np.cumsum(shares)[:-1] * batch + rng.random() + 1e-9).astype(int)
    counts: list[int] = np.diff(ends, prepend=0, append=batch).tolist()
    return counts


def own_choices(chosen: Sequence[Choice]) -> list[Choice]:
    """Return this process's rows of what was chosen for all processes, source by source."""
    total = sum(len(choice) for choice in chosen)
    own, first, found = range(total)[own_rows(total)], 0, []
    for choice in chosen:
        found.append(choice[[row - first for row in own if first <= row < first + len(choice)]])
        first += len(choice)
    return found


@dataclass(frozen=True, eq=False)
class Mixture:
    """What is trained on, in shares, and what is only measured on."""

    parts: tuple[Episodes, ...]
    shares: tuple[float, ...] = (1.0,)
    held_out: tuple[Episodes, ...] = ()
    """Never trained on; early stop and sample clips look at it."""

    def __post_init__(self) -> None:
        """Check that there is a share for each part."""
        if len(self.parts) != len(self.shares):
            raise ValueError(f"{len(self.parts)} parts, {len(self.shares)} shares")
        require_range("sum of shares", sum(self.shares), 0.999, 1.001)

    def draw(self, batch: int, unroll: int, rng: np.random.Generator) -> Window:
        """Draw `batch` windows for this process; all processes together draw one batch."""
        total = batch * num_processes()
        counts = counts_of(self.shares, total, rng)
        chosen = [
            choose_windows(part, count, unroll, rng)
            for part, count in zip(self.parts, counts, strict=True)
        ]
        pairs = zip(self.parts, own_choices(chosen), strict=True)
        return join([cut_windows(part, own, unroll) for part, own in pairs if len(own)])


def with_replay(scene: Episodes, replay: Episodes | None, share: float) -> Mixture:
    """Return a scene mixed with old episodes, which get `share` of each batch."""
    if replay is None or share == 0.0:
        return Mixture((scene,))
    return Mixture((scene, replay), (1.0 - share, share)) if share < 1.0 else Mixture((replay,))
