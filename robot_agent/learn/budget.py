"""How long an adaptation may take, and how it says how far it is."""

from collections.abc import Callable

from robot_agent.core.clock import Stopwatch
from robot_agent.core.errors import RobotAgentError

Say = Callable[[str, int, float, float, str], None]
"""Called with stage, round, share done, seconds left of the budget, message."""


class OutOfBudgetError(RobotAgentError):
    """Work that was broken off because its time is used up; what was whole before stays."""


class Budget:
    """Minutes from the start; stages ask it between steps."""

    def __init__(self, minutes: float, say: Say, *, reserve_s: float = 60.0) -> None:
        """Count from now; `reserve_s` is kept for the gate and the swap."""
        self._limit_s = 60.0 * minutes
        self._reserve_s = min(reserve_s, 0.2 * self._limit_s)
        self._say = say
        self._watch = Stopwatch()

    def seconds(self) -> float:
        """Return the seconds used."""
        return self._watch.seconds()

    def seconds_left(self) -> float:
        """Return the seconds that work may still take, the reserve kept."""
        return max(0.0, self._limit_s - self._reserve_s - self.seconds())

    def is_over(self) -> bool:
        """Return whether only the reserve is left."""
        return self.seconds_left() <= 0.0

    def say(self, stage: str, round_index: int, share: float, message: str) -> None:
        """Report progress."""
        left = max(0.0, self._limit_s - self.seconds())
        self._say(stage, round_index, share, left, message)
