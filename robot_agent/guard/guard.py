# ruff: noqa: N803, N806 - T_base_tool and its kin keep the names of the formulas
"""The pure guard at 50 Hz, and the only maker of `SafeAction`."""

from dataclasses import replace
from typing import Any

import numpy as np

from robot_agent.core import wx250s
from robot_agent.core.types import FloatArray, SafeAction
from robot_agent.guard import arbiter, watchdog
from robot_agent.guard.limits import (
    GRIPPER_GAIN_PER_M,
    MAX_GRIPPER_PWM,
    STEP_S,
    GuardConfig,
    to_ns,
)
from robot_agent.guard.reactions import REACTIONS, strongest
from robot_agent.guard.sanitise import sanitise
from robot_agent.guard.screen import screen
from robot_agent.guard.state import (
    Controller,
    Counters,
    GuardInputs,
    GuardState,
    OperatorInput,
    clip_to_hard_limits,
)

PRESENT_CAUSES = frozenset(
    {"operator_stop", "second_publisher", "driver_silent", "bad_joint_states"}
)
"""Stops whose cause can still be there when a person wants to reset them."""


def step(
    config: GuardConfig, state: GuardState, now_ns: int, inputs: GuardInputs
) -> tuple[SafeAction | None, GuardState]:
    """Return the command of this tick and the new state; pure, no clock, no file, no exception.

    The command repeats the target between steps: the servo's time profile (250 ms) interpolates.
    None is returned only while there are no joint states at all: then nothing may be sent.

    Args:
        config: The limits.
        state: What the last tick returned, or `initial_state`.
        now_ns: Monotonic time; a time before the last tick counts as that tick's.
        inputs: What is newest now.

    Cost: about 0.02 ms without and 1 ms with a new proposal.
    """
    now_ns = max(now_ns, state.now_ns)
    counters = replace(state.counters, ticks=state.counters.ticks + 1)
    state = replace(state, now_ns=now_ns, accepted_this_tick=False, counters=counters)
    state, present = watchdog.take_measurement(config, state, inputs, now_ns)
    if inputs.num_command_publishers != 1:
        present = ("second_publisher", *present)
    if inputs.stop:
        present = ("operator_stop", *present)
    if state.latched and inputs.reset is not None:
        state = _reset(state, inputs, present)
    if present:
        state = _latch(state, present)
    if not state.latched:
        state = _control(config, state, inputs)
    return _command(state, inputs), state


def _command(state: GuardState, inputs: GuardInputs) -> SafeAction | None:
    if inputs.measured is None:
        return None
    return SafeAction(
        joints_rad=state.joint_target,
        gripper_pwm=_gripper_pwm(state),
        tool_target=state.T_target,
        gripper_target=state.gripper_target,
        weights_version=state.last_version,
        sequence=state.last_sequence,
        changes=state.changes,
    )


def _gripper_pwm(state: GuardState) -> float:
    """Return Bridge's P-loop on the finger; 0 while the finger's position is not known."""
    if "driver_silent" in state.latched or "bad_joint_states" in state.latched:
        return 0.0
    error_m = wx250s.finger_from_opening(state.gripper_target) - float(state.measured.finger_m)
    return MAX_GRIPPER_PWM * min(max(error_m * GRIPPER_GAIN_PER_M, -1.0), 1.0)


def relax(state: GuardState) -> GuardState:
    """Return the state with the target at the measured pose, unless it was relaxed already."""
    if state.is_relaxed:
        return state
    joints_rad = clip_to_hard_limits(state.measured.joints_rad)
    return replace(
        state, T_target=wx250s.forward(joints_rad), joint_target=joints_rad, is_relaxed=True
    )


def _latch(state: GuardState, causes: tuple[str, ...]) -> GuardState:
    new = tuple(cause for cause in dict.fromkeys(causes) if cause not in state.latched)
    if not new:
        return state
    counters = replace(state.counters, stops=state.counters.stops + len(new))
    strong = strongest(new)
    if strong is not None and strong.target == "measured" and not state.latched:
        state = relax(state)
    return replace(
        state,
        mode="stopped",
        controller="none",
        latched=state.latched + new,
        holds=(),
        sent=_held(state),
        changes=tuple(f"{cause}: {REACTIONS[cause].says}" for cause in new),
        counters=counters,
    )


def _reset(state: GuardState, inputs: GuardInputs, present: tuple[str, ...]) -> GuardState:
    """Remove one acknowledged cause that is gone; the last one leads to idle, never to motion."""
    request = inputs.reset
    counters = state.counters
    named = request is not None and bool(str(request.operator).strip())
    cause = request.acknowledge if request is not None else ""
    if not named or cause not in state.latched or cause in present:
        counters = replace(counters, refused_resets=counters.refused_resets + 1)
        return replace(state, counters=counters)
    counters = replace(counters, resets=counters.resets + 1)
    left = tuple(name for name in state.latched if name != cause)
    state = replace(state, latched=left, counters=counters)
    if left:
        return state
    state = relax(replace(state, is_relaxed=False))
    return replace(
        state,
        mode="idle",
        resume_after_ns=state.now_ns,
        last_sequence=-1,
        last_seen=None,
        num_zero_frames=0,
        non_finite_ns=(),
        huge_ns=(),
        changes=(),
    )


def _control(config: GuardConfig, state: GuardState, inputs: GuardInputs) -> GuardState:
    state = _clear_holds(config, state)
    operator = arbiter.operator_in_control(config, inputs, state.now_ns)
    if operator is not None:
        state = _take_over(state)
        state = _drop_proposal(state, inputs)
        if arbiter.is_operator_step_due(state, operator, state.now_ns):
            state = _operator_step(config, state, operator)
    else:
        if state.controller == "operator":
            state = _release(state)
        state = _watch_policy(config, state, inputs)
        state = _policy_step(config, state, inputs)
    if not state.holds:
        return state
    counters = replace(state.counters, held_ticks=state.counters.held_ticks + 1)
    return replace(state, counters=counters)


def _clear_holds(config: GuardConfig, state: GuardState) -> GuardState:
    """Drop the causes that have been away long enough; the arm then waits for a proposal."""
    if not state.holds:
        return state
    wait_ns = to_ns(config.hold_clear_s)
    left = tuple(
        (cause, seen_ns)
        for cause, seen_ns in state.holds
        if REACTIONS[cause].clear != "wait" or state.now_ns - seen_ns < wait_ns
    )
    if len(left) == len(state.holds):
        return state
    return replace(state, holds=left, mode="hold" if left else "idle")


def _hold(state: GuardState, cause: str) -> GuardState:
    """Hold on `cause`, or note that it is still there."""
    if cause not in state.hold_causes:
        words = (*state.changes, f"{cause}: {REACTIONS[cause].says}")
        state = replace(state, changes=words, sent=_held(state))
    if REACTIONS[cause].target == "measured":
        state = relax(state)
    holds = tuple(item for item in state.holds if item[0] != cause)
    return replace(state, mode="hold", holds=(*holds, (cause, state.now_ns)))


def _held(state: GuardState) -> FloatArray:
    action = np.zeros(7)
    action[6] = state.gripper_target
    return action


def _take_over(state: GuardState) -> GuardState:
    """Give control to the operator, from the measured pose; the policy's holds end with it."""
    if state.controller == "operator":
        return state
    holds = tuple(item for item in state.holds if REACTIONS[item[0]].scope != "policy")
    state = relax(state)
    mode = state.mode if holds == state.holds else "idle"
    return replace(state, controller="operator", holds=holds, mode=mode)


def _release(state: GuardState) -> GuardState:
    """Take control from the operator; only what the policy saw afterwards counts."""
    state = relax(state)
    return replace(
        state, controller="none", mode="idle", resume_after_ns=state.now_ns, sent=_held(state)
    )


def _drop_proposal(state: GuardState, inputs: GuardInputs) -> GuardState:
    if inputs.proposal is None or inputs.proposal is state.last_seen:
        return state
    counters = replace(state.counters, dropped_held=state.counters.dropped_held + 1)
    return replace(state, counters=counters, last_seen=inputs.proposal)


def _watch_policy(config: GuardConfig, state: GuardState, inputs: GuardInputs) -> GuardState:
    is_silent = watchdog.is_policy_silent(config, inputs, state.now_ns)
    if is_silent and (state.mode == "active" or "policy_silent" in state.hold_causes):
        state = _hold(state, "policy_silent")
        return replace(state, last_sequence=-1, resume_after_ns=state.now_ns)
    return state


def _policy_step(config: GuardConfig, state: GuardState, inputs: GuardInputs) -> GuardState:
    verdict, cause = arbiter.look_at(config, state, inputs.proposal, state.now_ns)
    if verdict in ("none", "wait"):
        if state.mode == "active" and watchdog.is_starved(config, state, state.now_ns):
            state = _hold(state, "starved")
        return state
    proposal = inputs.proposal
    state = replace(state, last_seen=proposal)
    if verdict == "take" and proposal is not None:
        state = replace(
            state, last_sequence=proposal.sequence, last_version=str(proposal.weights_version)
        )
        life_ns = state.now_ns + to_ns(config.max_proposal_life_s)
        return _try(config, state, proposal.action, "policy", min(proposal.deadline_ns, life_ns))
    state = _count(state, verdict)
    return state if cause is None else _hold(replace(state, changes=()), cause)


def _count(state: GuardState, verdict: str) -> GuardState:
    name = {"duplicate": "dropped_duplicate", "late": "dropped_late"}.get(verdict, "rejected")
    counters: Counters = replace(state.counters, **{name: getattr(state.counters, name) + 1})
    return replace(state, counters=counters)


def _operator_step(config: GuardConfig, state: GuardState, operator: OperatorInput) -> GuardState:
    state = replace(state, operator_stamp_ns=operator.stamp_ns, last_version=operator.source)
    gripper = state.gripper_target if operator.gripper is None else operator.gripper
    action: Any = operator.delta
    if isinstance(action, np.ndarray) and action.shape == (6,):
        action = np.append(action, gripper)
    return _try(config, state, action, "operator", state.now_ns + to_ns(STEP_S))


def _try(
    config: GuardConfig, state: GuardState, proposed: Any, who: Controller, expires_ns: int
) -> GuardState:
    """Judge one action and take it over, or hold."""
    action, cause = sanitise(proposed)
    shown = np.zeros(7) if action is None else action
    state = replace(state, proposed=shown, changes=())
    if action is None or cause is not None:
        return _refuse(config, state, cause or "malformed")
    waiting = [name for name in state.hold_causes if REACTIONS[name].clear == "wait"]
    if waiting:
        counters = replace(state.counters, dropped_held=state.counters.dropped_held + 1)
        return replace(state, counters=counters, changes=(f"held: {', '.join(waiting)}",))
    joints_rad = state.measured.joints_rad
    T_previous = wx250s.forward(joints_rad) if state.is_relaxed else state.T_target
    screened = screen(config, T_previous, joints_rad, action)
    if screened.cause is not None:
        return _refuse(config, replace(state, changes=screened.changes), screened.cause)
    return replace(
        state,
        mode="active",
        controller=who,
        holds=(),
        T_target=screened.T_target,
        joint_target=screened.joints_rad,
        gripper_target=float(screened.sent[6]),
        is_relaxed=False,
        accepted_ns=state.now_ns,
        expires_ns=expires_ns,
        accepted_this_tick=True,
        sent=screened.sent,
        changes=screened.changes,
        counters=replace(state.counters, accepted=state.counters.accepted + 1),
    )


def _refuse(config: GuardConfig, state: GuardState, cause: str) -> GuardState:
    """Count a refused action, hold, and stop when faults of this kind repeat in the window."""
    state = _hold(_count(state, "reject"), cause)
    start_ns = state.now_ns - to_ns(config.fault_window_s)
    if cause == "non_finite":
        times = (*(t for t in state.non_finite_ns if t > start_ns), state.now_ns)
        state = replace(state, non_finite_ns=times)
        if len(times) >= config.max_non_finite:
            return _latch(state, ("non_finite_repeated",))
    if cause == "huge_action":
        times = (*(t for t in state.huge_ns if t > start_ns), state.now_ns)
        state = replace(state, huge_ns=times)
        if len(times) >= config.max_huge:
            return _latch(state, ("huge_action_repeated",))
    return state
