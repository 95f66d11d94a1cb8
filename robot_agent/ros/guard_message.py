"""The guard's state as a message."""

from typing import Any

from robot_agent_interfaces.msg import GuardState

from robot_agent.guard.state import GuardInputs
from robot_agent.guard.state import GuardState as PureState


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
    message.changes = list(state.changes)
    message.joint_target_rad = state.joint_target.tolist()
    message.tool_target_m = state.T_target[:3, 3].tolist()
    message.gripper_target = float(state.gripper_target)
    message.ticks = state.counters.ticks
    message.accepted, message.rejected = state.counters.accepted, state.counters.rejected
    return message
