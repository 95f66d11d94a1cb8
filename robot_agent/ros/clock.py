"""The clock that all nodes of one robot share; in simulation it may run faster than the wall."""

from robot_agent.core.clock import SystemClock
from robot_agent.core.config import require_range


class ScaledClock:
    """The machine's monotonic clock times a factor, the same in every process.

    Nothing is synchronised: every process of a machine reads the same CLOCK_MONOTONIC, so scaled
    stamps compare across processes as the plain ones do. On a robot the factor is 1.
    """

    def __init__(self, factor: float = 1.0) -> None:
        """Run `factor` times as fast as the wall, 0.1 to 20, exact to a thousandth."""
        require_range("time_factor", factor, 0.1, 20.0)
        self._thousandths = round(factor * 1000)
        self._clock = SystemClock()

    def now_ns(self) -> int:
        """Return scaled monotonic nanoseconds."""
        return self._clock.now_ns() * self._thousandths // 1000

    def sleep_until(self, deadline_ns: int) -> None:
        """Sleep until the scaled `deadline_ns`; return at once when it has passed."""
        self._clock.sleep_until(-(-deadline_ns * 1000 // self._thousandths))

    def wall_seconds(self, duration_ns: int) -> float:
        """Return how long a scaled duration takes on the wall, for time-outs of threads."""
        return max(0.0, duration_ns * 1e-6 / self._thousandths)
