"""Numbers the actions of chunks and sends one every 200 ms."""

from collections.abc import Callable
from dataclasses import replace

from robot_agent.act.plan import Planned
from robot_agent.core.protocols import Clock
from robot_agent.core.types import CONTROL_HZ, Proposal

PERIOD_NS = round(1e9 / CONTROL_HZ)
HEARTBEAT_NS = 50_000_000
"""Longest silence of the loop; the guard holds after five of them."""


class Numbering:
    """Chunk ids and sequence numbers over the life of the proposer; one thread.

    They begin at the clock's milliseconds, so that a proposer that was started again goes on above
    every number that the guard has seen.
    """

    def __init__(self, start_ns: int) -> None:
        """Begin above everything that a proposer before this one can have used."""
        self._chunk_id = self._sequence = start_ns // 1_000_000

    def next_chunk(self) -> int:
        """Return the id of a new chunk."""
        self._chunk_id += 1
        return self._chunk_id

    def number(self, planned: Planned) -> Proposal:
        """Return an action whose turn it is as a proposal; the deadline is set at dispatch."""
        self._sequence += 1
        return Proposal(
            action=planned.action,
            weights_version=planned.chunk.weights_version,
            chunk_id=planned.chunk_id,
            index=planned.index,
            sequence=self._sequence,
            stamp_ns=planned.chunk.observation_stamp_ns,
            deadline_ns=0,
        )


class StepExecutor:
    """Sends one proposal at a time and waits until its 200 ms are over; one thread.

    Steps that follow each other lie on a fixed grid, so that the jitter of one wait is not added
    to the next. A grid begins with the first action of a chunk or after a hold.
    """

    def __init__(
        self,
        clock: Clock,
        send: Callable[[Proposal], None],
        heartbeat: Callable[[], None],
        wait: Callable[[int], None],
    ) -> None:
        """Send through `send`; call `heartbeat` at least every 50 ms while waiting.

        Args:
            clock: Time.
            send: Takes a proposal to the guard.
            heartbeat: Shows that the loop lives.
            wait: Returns at a time [ns], or earlier when something new is to be looked at.
        """
        self._clock, self._send, self._heartbeat, self._wait = clock, send, heartbeat, wait
        self._end_ns = 0
        self._hold = HoldCount()
        self._is_on_grid = False
        self.late_ns: list[int] = []
        """Lateness of each step against its grid; cleared by who reads it."""

    @property
    def end_ns(self) -> int:
        """Time at which the newest action is, or was, executed for its full 200 ms."""
        return self._end_ns

    @property
    def is_holding(self) -> bool:
        """Whether there was no action when one was last looked for."""
        return not self._is_on_grid

    @property
    def starved_ticks(self) -> int:
        """Ticks that found no action ready, since the beginning."""
        return self._hold.ticks

    def execute(
        self,
        proposal: Proposal,
        is_cancelled: Callable[[], bool],
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        """Send `proposal` now and return when its period is over, or at once when cancelled.

        `meanwhile` is called at least every 50 ms and must not wait.
        """
        now_ns = self._clock.now_ns()
        goes_on = self._is_on_grid and now_ns - self._end_ns < PERIOD_NS
        begin_ns = self._end_ns if goes_on else now_ns
        self.late_ns.append(max(now_ns - begin_ns, 0))
        self._hold.end()
        self._end_ns, self._is_on_grid = begin_ns + PERIOD_NS, True
        self._send(replace(proposal, deadline_ns=self._end_ns))
        while (now_ns := self._clock.now_ns()) < self._end_ns and not is_cancelled():
            self._heartbeat()
            meanwhile()
            self._clock.sleep_until(min(self._end_ns, now_ns + HEARTBEAT_NS))
        self._end_ns = min(self._end_ns, now_ns)  # a cancelled step ends when it is cancelled

    def hold(self, *, is_starved: bool) -> None:
        """Wait for at most 50 ms, or until something new is to be looked at."""
        self._is_on_grid = False
        self._heartbeat()
        self._wait(self._clock.now_ns() + HEARTBEAT_NS)
        if is_starved:
            self._hold.lasts(self._clock.now_ns() - self._end_ns)


class HoldCount:
    """Counts the ticks of holds; one that lasts for less than half a tick is jitter."""

    def __init__(self) -> None:
        """Begin at none."""
        self._before = self._now = 0

    @property
    def ticks(self) -> int:
        """Ticks that began without an action, since the beginning."""
        return self._before + self._now

    def lasts(self, duration_ns: int) -> None:
        """Note for how long the present hold lasts already."""
        self._now = max(self._now, (duration_ns + PERIOD_NS // 2) // PERIOD_NS)

    def end(self) -> None:
        """Note that an action has come."""
        self._before, self._now = self.ticks, 0
