"""The only file that reads time: monotonic seconds for control, wall time for names and logs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

_STAMP = "%Y%m%dT%H%M%S"


class SystemClock:
    """The machine's monotonic clock."""

    def now_ns(self) -> int:
        """Return nanoseconds on CLOCK_MONOTONIC, the same in every process of a machine."""
        return time.monotonic_ns()

    def sleep_until(self, deadline_ns: int) -> None:
        """Sleep until `deadline_ns`; return at once when it has passed."""
        delay_ns = deadline_ns - time.monotonic_ns()
        if delay_ns > 0:
            time.sleep(delay_ns * 1e-9)


class FakeClock:
    """A clock that moves only when told, so that tests of seconds take no time."""

    def __init__(self, start_ns: int = 0) -> None:
        """Start at `start_ns` nanoseconds."""
        self._now_ns = start_ns

    def now_ns(self) -> int:
        """Return the time set so far, in nanoseconds."""
        return self._now_ns

    def sleep_until(self, deadline_ns: int) -> None:
        """Jump to `deadline_ns`, never back."""
        self._now_ns = max(self._now_ns, deadline_ns)

    def advance(self, seconds: float) -> None:
        """Move forward by `seconds`."""
        self._now_ns += round(seconds * 1e9)


class Stopwatch:
    """Seconds since it was made; for progress and reports, not for control."""

    def __init__(self) -> None:
        """Start counting."""
        self._start_ns = time.monotonic_ns()

    def seconds(self) -> float:
        """Return the seconds since the stopwatch was made."""
        return (time.monotonic_ns() - self._start_ns) * 1e-9


class ThreadStopwatch:
    """Processor seconds of the thread that made it; what a busy machine does not change."""

    def __init__(self) -> None:
        """Start counting."""
        self._start_ns = time.thread_time_ns()

    def seconds(self) -> float:
        """Return the processor seconds since then; to be asked in the same thread."""
        return (time.thread_time_ns() - self._start_ns) * 1e-9


class ProcessStopwatch:
    """Processor seconds of all threads of the process."""

    def __init__(self) -> None:
        """Start counting."""
        self._start_ns = time.process_time_ns()

    def seconds(self) -> float:
        """Return the processor seconds since then."""
        return (time.process_time_ns() - self._start_ns) * 1e-9


@contextmanager
def timed(into: list[float]) -> Iterator[None]:
    """Append the seconds that the block took to `into`."""
    watch = Stopwatch()
    yield
    into.append(watch.seconds())


def wall_stamp() -> str:
    """Return the wall-clock time in UTC as `20260131T235959`: for file names, logs, expiry."""
    return datetime.now(UTC).strftime(_STAMP)


def days_since(stamp: str) -> float:
    """Return the days since a `wall_stamp`; for people only, as wall clocks are set and jump."""
    return (datetime.now(UTC) - _time_of(stamp)).total_seconds() / 86_400


def days_between(earlier: str, later: str) -> float:
    """Return the days from one `wall_stamp` to another; ValueError when one is none."""
    return (_time_of(later) - _time_of(earlier)).total_seconds() / 86_400


def _time_of(stamp: str) -> datetime:
    return datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)
