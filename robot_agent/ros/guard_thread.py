"""The guard's loop: newest inputs in, one command out, every 20 ms; decisions are in `guard`."""

import logging
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from robot_agent.core.types import Proposal, SafeAction
from robot_agent.guard.guard import step
from robot_agent.guard.health import Health
from robot_agent.guard.limits import GuardConfig
from robot_agent.guard.state import (
    GuardInputs,
    GuardState,
    Measured,
    OperatorInput,
    ResetRequest,
    initial_state,
)
from robot_agent.ros.clock import ScaledClock
from robot_agent.ros.ticker import Ticker

_LOG = logging.getLogger(__name__)
PERIOD_NS = 20_000_000
HISTOGRAM_NS = 200_000
"""Width of a bin of the lateness histogram."""
NUM_BINS = 500

Reply = Callable[[bool, GuardState], None]


@dataclass
class Mailbox:
    """Newest inputs; ROS callbacks write under the lock, the guard's thread reads."""

    measured: Measured | None = None
    proposal: Proposal | None = None
    operator: OperatorInput | None = None
    policy_alive_ns: int | None = None
    stop: bool = False
    """Stays set until a tick has seen it, also while the guard is inactive."""
    reset: tuple[ResetRequest, Reply] | None = None
    num_publishers: int = 1
    health: Health | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> tuple[GuardInputs, Reply | None]:
        """Return the inputs of one tick; stop and reset are handed out once."""
        with self.lock:
            request, reply = self.reset if self.reset is not None else (None, None)
            inputs = GuardInputs(
                measured=self.measured,
                proposal=self.proposal,
                operator=self.operator,
                policy_alive_ns=self.policy_alive_ns,
                stop=self.stop,
                reset=request,
                num_command_publishers=self.num_publishers,
                health=self.health,
            )
            self.stop, self.reset = False, None
        return inputs, reply


@dataclass
class Lateness:
    """Histogram of how late ticks began; written by the guard's thread, read by diagnostics."""

    bins: list[int] = field(default_factory=lambda: [0] * (NUM_BINS + 1))
    late_ticks: int = 0
    skipped: int = 0
    largest_ns: int = 0

    def add(self, late_ns: int, limit_ns: int) -> None:
        """Count one tick; later than `limit_ns` is late."""
        self.bins[min(late_ns // HISTOGRAM_NS, NUM_BINS)] += 1
        self.late_ticks += late_ns > limit_ns
        self.largest_ns = max(self.largest_ns, late_ns)

    def percentile_ms(self, fraction: float) -> float:
        """Return the lateness [ms] that `fraction` of the ticks did not exceed, to one bin."""
        wanted, seen = fraction * sum(self.bins), 0
        for index, count in enumerate(self.bins):
            seen += count
            if seen >= wanted:
                return min((index + 1) * HISTOGRAM_NS, max(self.largest_ns, 1)) * 1e-6
        return self.largest_ns * 1e-6


class GuardThread:
    """Ticks the pure guard. `state` belongs to its thread while it runs."""

    def __init__(
        self,
        config: GuardConfig,
        clock: ScaledClock,
        *,
        command: Callable[[SafeAction], None],
        report: Callable[[int, GuardState, GuardInputs], None],
        late_ns: int,
    ) -> None:
        """Prepare; `command` sends, `report` publishes, both are called in the guard's thread."""
        self._config, self._clock, self._late_ns = config, clock, late_ns
        self._command, self._report = command, report
        self.mailbox = Mailbox()
        self.lateness = Lateness()
        self.state: GuardState | None = None
        self.starved_ticks = 0
        self._ticker = Ticker(
            clock,
            PERIOD_NS,
            self._tick,
            on_error=self._fail,
            name="arm_guard",
        )

    def start(self, measured: Measured, latched: tuple[str, ...]) -> None:
        """Arm at the measured pose, on the causes latched before, and begin to tick."""
        with self.mailbox.lock:
            self.mailbox.proposal = None
            self.mailbox.operator = None
        self.state = initial_state(measured, latched=latched)
        self.lateness = Lateness()
        self.starved_ticks = 0
        self._ticker.start()

    def stop(self) -> None:
        """End ticking; nothing more is sent and the servos keep their last target."""
        self._ticker.stop()

    @property
    def is_running(self) -> bool:
        """Whether it ticks."""
        return self._ticker.is_running

    def _tick(self, due_ns: int, late_ns: int) -> None:
        del due_ns
        if self.state is None:
            return
        self.lateness.add(late_ns, self._late_ns)
        self.lateness.skipped = self._ticker.skipped
        inputs, reply = self.mailbox.take()
        before = self.state
        now_ns = self._clock.now_ns()
        action, self.state = step(self._config, before, now_ns, inputs)
        if action is not None:
            self._command(action)
        self.starved_ticks += "starved" in self.state.hold_causes
        self._report(now_ns, self.state, inputs)
        if reply is not None:
            reply(self.state.counters.resets > before.counters.resets, self.state)

    def _fail(self, error: BaseException) -> None:
        """Latch on a fault of the loop itself; only a person ends it."""
        _LOG.error("guard: %s", "".join(traceback.format_exception(error)))
        if self.state is not None and "guard_fault" not in self.state.latched:
            self.state = replace(
                self.state,
                mode="stopped",
                controller="none",
                latched=(*self.state.latched, "guard_fault"),
            )
