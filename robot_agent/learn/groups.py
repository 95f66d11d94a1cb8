"""Dynamic sampling: groups that teach wait until there are enough, and none too many is lost."""

from collections.abc import Sequence

import numpy as np

from robot_agent.learn.grpo import group_advantages, require_finite
from robot_agent.learn.rollouts import Rollouts, merge, take_groups


def mixed_groups(rollouts: Rollouts) -> list[int]:
    """Return the groups whose rewards differ; the others have no advantage and teach nothing."""
    advantage = group_advantages(rollouts.reward_B, rollouts.group, kept_B=rollouts.kept_B)
    largest = np.abs(advantage).reshape(-1, rollouts.group).max(axis=1)
    return [int(group) for group in np.flatnonzero(largest > 0.0)]


class WaitingGroups:
    """Groups of mixed reward between imagination and update.

    Fewer than `least` wait for those of the next iteration; what is beyond `most` waits for the
    next update. A group never waits for more than `max_staleness` updates: it is dropped then.
    """

    def __init__(self, *, least: int, most: int, max_staleness: int) -> None:
        """Begin with none."""
        self._least, self._most, self._max_staleness = least, most, max_staleness
        self.parts: list[Rollouts] = []
        """Oldest first."""
        self.dropped = 0
        """Groups that became too old."""

    def add(self, rollouts: Rollouts) -> None:
        """Keep the groups of mixed reward; TrainingDivergedError when one is no number."""
        require_finite(rollouts)
        groups = mixed_groups(rollouts)
        if groups:
            self.parts.append(take_groups(rollouts, groups))

    def take(self, version: int) -> Rollouts | None:
        """Return the groups of the next update, or None while there are too few.

        Args:
            version: Update count of the weights that are to be updated.
        """
        fresh = [p for p in self.parts if version - p.version <= self._max_staleness]
        self.dropped += _count(self.parts) - _count(fresh)
        self.parts = fresh
        if not fresh or _count(fresh) < self._least:
            return None
        taken, rest, room = list[Rollouts](), list[Rollouts](), self._most
        for part in fresh:
            num = _count([part])
            if room:
                taken.append(take_groups(part, range(min(room, num))))
            if num > room:
                rest.append(take_groups(part, range(room, num)))
            room = max(0, room - num)
        self.parts = rest
        return merge(taken)


def _count(parts: Sequence[Rollouts]) -> int:
    return sum(len(part.reward_B) // part.group for part in parts)
