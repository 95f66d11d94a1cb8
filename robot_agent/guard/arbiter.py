"""Says whose action counts in this tick: operator over policy, and the newest of each once."""

from typing import Any

from robot_agent.core.types import Proposal
from robot_agent.guard.limits import STEP_S, GuardConfig, to_ns
from robot_agent.guard.state import GuardInputs, GuardState, OperatorInput


def operator_in_control(
    config: GuardConfig, inputs: GuardInputs, now_ns: int
) -> OperatorInput | None:
    """Return the operator's command while its deadman is held and it is fresh, else None."""
    operator = inputs.operator
    if operator is None or operator.deadman is not True:
        return None
    if operator.stamp_ns > now_ns + to_ns(config.max_future_s):
        return None
    if now_ns - operator.stamp_ns >= to_ns(config.max_deadman_age_s):
        return None
    return operator


def is_operator_lost(state: GuardState, operator: OperatorInput | None) -> bool:
    """Return whether the operator in control fell silent without letting go of the deadman.

    For a tick in which `operator_in_control` is None. A device that was unplugged cannot say that
    its person wanted the policy to go on.
    """
    had_control = state.controller == "operator" or "operator_lost" in state.hold_causes
    return had_control and operator is not None and operator.deadman is True


def is_operator_step_due(state: GuardState, operator: OperatorInput, now_ns: int) -> bool:
    """Return whether 0.2 s have passed since the operator's last step and a newer one is there."""
    is_new = operator.stamp_ns > state.operator_stamp_ns
    return is_new and now_ns - state.tried_ns >= to_ns(STEP_S)


def look_at(
    config: GuardConfig, state: GuardState, proposal: Any, now_ns: int
) -> tuple[str, str | None]:
    """Return what to do with the newest proposal, and a cause to hold on.

    The verdict is `nothing` (new), `wait` (too soon after the last step), `duplicate`,
    `late`, `reject` or `take`. Freshness is judged by the guard's own time: a stamp or a deadline
    in the future never makes a proposal fresh.
    """
    if proposal is None or proposal is state.last_seen:
        return "nothing", None
    if not _has_integer_stamps(proposal):
        return "reject", "malformed"
    if proposal.sequence <= state.last_sequence:
        return "duplicate", None
    if proposal.stamp_ns > now_ns + to_ns(config.max_future_s):
        return "reject", "future_stamp"
    overdue_ns = max(
        now_ns - proposal.deadline_ns,
        now_ns - proposal.stamp_ns - to_ns(config.max_observation_age_s),
    )
    if overdue_ns > 0:
        return "late", "stale_proposal" if overdue_ns > to_ns(config.max_late_s) else None
    if proposal.stamp_ns <= state.resume_after_ns:
        return "late", None
    if now_ns - state.tried_ns < to_ns(config.min_step_interval_s):
        return "wait", None
    return "take", None


def _has_integer_stamps(proposal: Any) -> bool:
    if not isinstance(proposal, Proposal):
        return False
    stamps: tuple[Any, ...] = (proposal.sequence, proposal.stamp_ns, proposal.deadline_ns)
    return all(type(value) is int for value in stamps)
