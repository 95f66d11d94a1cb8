"""Numbers the actions of chunks and sends one every 200 ms."""

from collections.abc import Callable
from dataclasses import replace

from robot_agent.core.protocols import Clock
from robot_agent.core.types import CONTROL_HZ, Chunk, Proposal

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

    def proposals(self, chunk: Chunk) -> list[Proposal]:
        """Return the chunk's actions as numbered proposals; the deadline is set at dispatch."""
        self._chunk_id += 1
        numbered = []
        for index, action in enumerate(chunk.actions):
            self._sequence += 1
            numbered.append(
                Proposal(
                    action=action,
                    weights_version=chunk.weights_version,
                    chunk_id=self._chunk_id,
                    index=index,
                    sequence=self._sequence,
                    stamp_ns=chunk.observation_stamp_ns,
                    deadline_ns=0,
                )
            )
        return numbered


class StepExecutor:
    """Sends one proposal at a time and waits until its 200 ms are over; one thread.

    The steps of a chunk lie on a fixed grid that begins with its first action, so that the jitter
    of one wait is not added to the next.
    """

    def __init__(
        self, clock: Clock, send: Callable[[Proposal], None], heartbeat: Callable[[], None]
    ) -> None:
        """Send through `send`; call `heartbeat` at least every 50 ms while waiting."""
        self._clock, self._send, self._heartbeat = clock, send, heartbeat
        self._end_ns = 0
        self.late_ns: list[int] = []
        """Lateness of each step against the grid of its chunk; cleared by who reads it."""

    @property
    def end_ns(self) -> int:
        """Time at which the newest action was executed for its full 200 ms."""
        return self._end_ns

    def execute(self, proposal: Proposal, is_cancelled: Callable[[], bool]) -> None:
        """Send `proposal` now and return when its period is over, or at once when cancelled."""
        now_ns = self._clock.now_ns()
        on_grid = proposal.index > 0 and now_ns - self._end_ns < PERIOD_NS
        begin_ns = self._end_ns if on_grid else now_ns
        self.late_ns.append(max(now_ns - begin_ns, 0))
        self._end_ns = begin_ns + PERIOD_NS
        self._send(replace(proposal, deadline_ns=self._end_ns))
        while (now_ns := self._clock.now_ns()) < self._end_ns and not is_cancelled():
            self._heartbeat()
            self._clock.sleep_until(min(self._end_ns, now_ns + HEARTBEAT_NS))
        self._end_ns = min(self._end_ns, now_ns)  # a cancelled step ends when it is cancelled
