"""A thread that does one thing at a fixed rate, against absolute deadlines."""

import threading
from collections.abc import Callable

from robot_agent.ros import realtime
from robot_agent.ros.clock import ScaledClock


class Ticker:
    """Calls `work(due_ns, late_ns)` every period; lateness never adds up.

    Timers of the executor would wait behind callbacks. A period that was missed whole is skipped
    and counted, never made up by a burst.
    """

    def __init__(
        self,
        clock: ScaledClock,
        period_ns: int,
        work: Callable[[int, int], None],
        *,
        on_error: Callable[[BaseException], None],
        name: str,
        nice: int | None = None,
    ) -> None:
        """Prepare a stopped ticker; `on_error` hears what `work` raises, then ticking goes on."""
        self._clock, self._period_ns, self._work = clock, period_ns, work
        self._on_error, self._name, self._nice = on_error, name, nice
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.skipped = 0

    @property
    def is_running(self) -> bool:
        """Whether the thread ticks."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Start ticking now."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Stop after the tick under way; may be called twice and from any thread but its own."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_s)
        self._thread = None

    def _run(self) -> None:
        if self._nice is not None:
            realtime.enter(self._nice)
        due_ns = self._clock.now_ns()
        while not self._stop.is_set():
            late_ns = self._clock.now_ns() - due_ns
            try:
                self._work(due_ns, max(late_ns, 0))
            except Exception as error:  # noqa: BLE001 - the one place that keeps the loop alive
                self._on_error(error)
            due_ns += self._period_ns
            behind = (self._clock.now_ns() - due_ns) // self._period_ns
            if behind > 0:
                self.skipped += behind
                due_ns += behind * self._period_ns
            self._clock.sleep_until(due_ns)
