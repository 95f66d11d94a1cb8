"""The guard in one process: keeps the state between ticks for simulation and demonstrators."""

from collections.abc import Callable
from typing import Any

from robot_agent.core.errors import ArmFaultError
from robot_agent.core.types import FloatArray, Proposal, SafeAction
from robot_agent.guard.guard import step
from robot_agent.guard.limits import STEP_S, GuardConfig, to_ns
from robot_agent.guard.state import (
    GuardInputs,
    GuardState,
    Measured,
    OperatorInput,
    initial_state,
)

TICK_S = 0.02
"""Period of the guard (50 Hz)."""
TICK_NS = to_ns(TICK_S)
TICKS_PER_STEP = round(STEP_S / TICK_S)


class GuardSession:
    """A guard with its state; one thread only."""

    def __init__(self, config: GuardConfig | None = None) -> None:
        """Take the limits; call `reset` before the first tick."""
        self._config = config or GuardConfig()
        self._state: GuardState | None = None
        self._sequence = 0

    @property
    def config(self) -> GuardConfig:
        """The limits."""
        return self._config

    @property
    def state(self) -> GuardState:
        """The state after the last tick; ArmFaultError before `reset`."""
        if self._state is None:
            raise ArmFaultError(
                "guard session: no state yet, needs measured joints. Call reset(measured) first."
            )
        return self._state

    def reset(self, measured: Measured, latched: tuple[str, ...] = ()) -> None:
        """Arm at the measured pose, holding; for a new simulated episode."""
        self._state = initial_state(measured, latched=latched)
        self._sequence = 0

    def tick(self, now_ns: int, inputs: GuardInputs) -> SafeAction | None:
        """Return the command of one tick at `now_ns`."""
        action, self._state = step(self._config, self.state, now_ns, inputs)
        return action

    def execute(
        self,
        action: Any,
        now_ns: int,
        move: Callable[[SafeAction], Measured],
        *,
        weights_version: str = "",
    ) -> int:
        """Run one 5 Hz Bridge action as ten ticks and return the time after them, in ns.

        Args:
            action: Bridge action (7,), unchecked.
            now_ns: Simulated monotonic time of the first tick.
            move: Applies a command for 20 ms and returns the joint states measured after it,
                stamped 20 ms later.
            weights_version: Version of the weights that chose the action.

        What was sent, and whether it was accepted at all, is in `state.sent`,
        `state.last_sequence` and `state.changes` afterwards.
        """
        self._sequence += 1
        if self.state.controller == "operator":
            stamp_ns = now_ns + TICK_NS  # the first tick lets go; what was seen before is stale
        else:
            stamp_ns = now_ns
        proposal = Proposal(
            action=action,
            weights_version=weights_version,
            chunk_id=self._sequence,
            index=0,
            sequence=self._sequence,
            stamp_ns=stamp_ns,
            deadline_ns=stamp_ns + to_ns(STEP_S),
        )
        return self._run(
            now_ns, move, lambda at_ns: (proposal if at_ns >= stamp_ns else None, None)
        )

    def hold(self, now_ns: int, move: Callable[[SafeAction], Measured]) -> int:
        """Run ten ticks in which the policy lives and proposes nothing; return the time after."""
        return self._run(now_ns, move, lambda _: (None, None))

    def correct(
        self, action: FloatArray, now_ns: int, move: Callable[[SafeAction], Measured]
    ) -> int:
        """Run one 5 Hz action (7,) of an operator who holds the deadman; else as `execute`."""

        def held(at_ns: int) -> tuple[None, OperatorInput]:
            return None, OperatorInput(
                delta=action[:6], gripper=float(action[6]), deadman=True, stamp_ns=at_ns
            )

        return self._run(now_ns, move, held)

    def _run(
        self,
        now_ns: int,
        move: Callable[[SafeAction], Measured],
        wanted_at: Callable[[int], tuple[Proposal | None, OperatorInput | None]],
    ) -> int:
        measured = self.state.measured
        for _ in range(TICKS_PER_STEP):
            proposal, operator = wanted_at(now_ns)
            inputs = GuardInputs(
                measured=measured, proposal=proposal, operator=operator, policy_alive_ns=now_ns
            )
            command = self.tick(now_ns, inputs)
            now_ns += TICK_NS
            if command is not None:
                measured = move(command)
        return now_ns
