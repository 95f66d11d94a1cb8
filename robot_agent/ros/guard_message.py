"""The guard's state as a message, and as a line of diagnostics."""

from typing import Any

from robot_agent_interfaces.msg import GuardState

from robot_agent.guard.reactions import REACTIONS
from robot_agent.guard.state import GuardInputs
from robot_agent.guard.state import GuardState as PureState
from robot_agent.ros.diagnostics import ERROR, OK, WARN, Report
from robot_agent.ros.guard_thread import Lateness


def guard_message(now_ns: int, state: PureState, inputs: GuardInputs) -> Any:
    """Return guard/state of one tick; the node adds what it knows about its own timing."""
    message = GuardState(stamp_ns=now_ns, mode=state.mode, controller=state.controller)
    message.latched = bool(state.latched)
    message.causes = [*state.latched, *state.hold_causes]
    message.weights_version = state.last_version
    message.sequence = max(state.last_sequence, 0)
    if inputs.proposal is not None and inputs.proposal.sequence == state.last_sequence:
        message.chunk_id = inputs.proposal.chunk_id
    message.proposed, message.sent = state.proposed.tolist(), state.sent.tolist()
    told = (f"{cause}: {REACTIONS[cause].says}" for cause in state.notes)
    message.changes = [*state.changes, *told]
    message.joint_target_rad = state.joint_target.tolist()
    message.tool_target_m = state.T_target[:3, 3].tolist()
    message.gripper_target = float(state.gripper_target)
    message.ticks = state.counters.ticks
    message.accepted, message.rejected = state.counters.accepted, state.counters.rejected
    return message


def control_words(state: PureState, inputs: GuardInputs) -> str:
    """Return who moves the arm and what keeps it from moving, for the log.

    Waiting for the next proposal is left out: it comes and goes with every chunk.
    """
    causes = [cause for cause in (*state.latched, *state.hold_causes) if cause != "starved"]
    words = f"control: {state.controller}"
    if state.controller == "operator" and inputs.operator is not None:
        words += f" ({inputs.operator.source})"
    return words + (f"; held by {', '.join(causes)}" if causes else "")


def guard_report(lateness: Lateness, state: PureState) -> Report:
    """Return the health of an active guard."""
    values = {
        "mode": state.mode,
        "causes": ", ".join((*state.latched, *state.hold_causes, *state.notes)),
        "ticks": state.counters.ticks,
        "late_ticks": lateness.late_ticks,
        "skipped_ticks": lateness.skipped,
        "late_ms_p50": lateness.percentile_ms(0.5),
        "late_ms_p99": lateness.percentile_ms(0.99),
        "late_ms_p999": lateness.percentile_ms(0.999),
        "late_ms_max": lateness.largest_ns * 1e-6,
    }
    level = ERROR if state.latched else WARN if state.mode == "hold" or state.notes else OK
    return level, state.mode, values


def reset_answer(is_cleared: bool, state: PureState) -> str:
    """Return the answer to a request to reset the latch, in words."""
    left = ", ".join(state.latched) or "nothing"
    if is_cleared:
        return f"still latched: {left}"
    return (
        f"refused: latched are {left}; give your name, acknowledge one of them by its name, and "
        f"remove its cause first"
    )
