"""How the seconds of a run divide into its stages, summed over its threads."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from robot_agent.core.clock import Stopwatch, ThreadStopwatch


class StageTimes:
    """Seconds and calls by stage; any thread may add to it."""

    def __init__(self, watch: type[Stopwatch | ThreadStopwatch] = Stopwatch) -> None:
        """Begin with nothing; count by the clock, or by the processor where stages overlap."""
        self._watch = watch
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.calls: defaultdict[str, int] = defaultdict(int)
        self._lock = threading.Lock()

    @contextmanager
    def of(self, stage: str, calls: int = 1) -> Iterator[None]:
        """Count the block's seconds for a stage."""
        watch = self._watch()
        try:
            yield
        finally:
            spent_s = watch.seconds()
            with self._lock:
                self.seconds[stage] += spent_s
                self.calls[stage] += calls

    def finish(self, total_s: float, rest: str = "policy, update") -> None:
        """Call what is left of `total_s` the rest."""
        self.seconds[rest] += max(0.0, total_s - sum(self.seconds.values()))

    def shares(self) -> dict[str, float]:
        """Return the share of each stage, 0 to 1, the largest first."""
        total = sum(self.seconds.values()) or 1.0
        ranked = sorted(self.seconds.items(), key=lambda item: -item[1])
        return {stage: spent / total for stage, spent in ranked}
