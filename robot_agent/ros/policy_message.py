"""What the policy node says about itself, as a message."""

from typing import Any

from robot_agent_interfaces.msg import PolicyStatus

from robot_agent.release.road import Progress
from robot_agent.ros.policy_runner import PolicyRunner


def policy_message(now_ns: int, runner: PolicyRunner, progress: Progress) -> Any:
    """Return policy/status: what acts, what is being proven, and how the loop runs."""
    slot, status = runner.slot.status(), runner.status
    message = PolicyStatus(stamp_ns=now_ns, instruction=status.instruction)
    message.state = "running" if runner.is_running else "idle"
    message.active_version, message.previous_version = slot.active, slot.previous
    is_waiting = progress.stage in ("shadow", "armed")
    message.candidate_version = slot.candidate or (progress.version if is_waiting else "")
    message.chunk_id, message.chunks = status.chunk_id, status.chunks
    message.starved_ticks = status.starved_ticks
    message.dropped_actions = status.dropped_actions
    message.inference_ms, message.swaps = status.inference_ms, slot.swapped
    message.last_swap_ms = slot.last_swap_s * 1e3
    message.stage, message.stage_message = progress.stage.value, progress.words
    message.repeat_start, message.speed = progress.repeats_start, progress.speed
    message.backend = getattr(runner.slot.active, "backend", "torch")
    message.message = status.message
    return message
