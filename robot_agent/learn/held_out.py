"""Stops practice when a judge and a member that it never sees no longer agree with it."""

from typing import Any

from robot_agent.models.chunk_policy import ChunkPolicy


class HeldOutCheck:
    """Remembers the best weights by held-out success, and goes back to them."""

    def __init__(self, max_drop: float) -> None:
        """Allow held-out success to fall by `max_drop` from its best."""
        self._max_drop = max_drop
        self._best = -1.0
        self._practised = 0.0
        self._weights: dict[str, Any] = {}

    def stops(self, practised: float, held_out: float, policy: ChunkPolicy) -> str:
        """Return why practice must end, or nothing; then `policy` has its best weights again.

        Args:
            practised: Success in practice since the last look.
            held_out: Success as the held-out judge sees it in the held-out member.
            policy: Weights of this moment.
        """
        if held_out >= self._best:
            self._best, self._practised = held_out, practised
            self._weights = policy.copied()
            return ""
        if held_out > self._best - self._max_drop or practised <= self._practised:
            return ""
        policy.restore(self._weights)
        return (
            f"held-out success fell from {self._best:.2f} to {held_out:.2f} while practice rose "
            f"from {self._practised:.2f} to {practised:.2f}; the weights of the best look stay"
        )
