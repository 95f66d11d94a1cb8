# ruff: noqa: N806 - T_base_tool and its kin keep the names of the formulas
"""How the guard's state changes: hold, stop, reset, take over, release; each pure and small."""

from typing import Literal

import numpy as np

from robot_agent.core import wx250s
from robot_agent.core.types import ACTION_DIM, FloatArray
from robot_agent.guard import retreat
from robot_agent.guard.grip import Grip
from robot_agent.guard.limits import GuardConfig, to_ns
from robot_agent.guard.reactions import REACTIONS, strongest
from robot_agent.guard.state import GuardState, ResetRequest, clip_to_hard_limits, evolve
from robot_agent.guard.strain import Strain

Verdict = Literal["accepted", "rejected", "dropped_late", "dropped_duplicate", "dropped_held"]


def count(state: GuardState, verdict: Verdict) -> GuardState:
    """Return the state with one more of what happened to a proposal."""
    more = {verdict: getattr(state.counters, verdict) + 1}
    return evolve(state, counters=evolve(state.counters, **more))


def held_action(state: GuardState) -> FloatArray:
    """Return the Bridge action (7,) of an arm that holds: zeros and the held gripper."""
    action = np.zeros(ACTION_DIM)
    action[6] = state.gripper_target
    return action


def relax(state: GuardState) -> GuardState:
    """Return the state with the target at the measured pose, unless it was relaxed already."""
    if state.is_relaxed:
        return state
    joints_rad = clip_to_hard_limits(state.measured.joints_rad)
    T_target = wx250s.forward(joints_rad)
    return evolve(state, T_target=T_target, joint_target=joints_rad, is_relaxed=True)


def hold(state: GuardState, cause: str) -> GuardState:
    """Hold on `cause`, or note that it is still there. The gripper keeps its target."""
    if REACTIONS[cause].target == "measured":
        state = relax(state)
    others = tuple(item for item in state.holds if item[0] != cause)
    words = state.changes
    if len(others) == len(state.holds):
        words = (*words, f"{cause}: {REACTIONS[cause].says}")
    return evolve(
        state,
        mode="hold",
        holds=(*others, (cause, state.now_ns)),
        changes=words,
        sent=held_action(state),
    )


def clear_holds(config: GuardConfig, state: GuardState) -> GuardState:
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
    return evolve(state, holds=left, mode="hold" if left else "idle")


def stop(state: GuardState, causes: tuple[str, ...]) -> GuardState:
    """Latch a protective stop on causes of REACTIONS; those latched already change nothing."""
    new = tuple(cause for cause in dict.fromkeys(causes) if cause not in state.latched)
    if not new:
        return state
    way_back = None
    if "contact" in new:
        way_back = retreat.begin(state.measured.joints_rad, state.joint_target)
    strong = strongest(new)
    if strong is not None and strong.target == "measured" and not state.latched:
        state = relax(state)
    return evolve(
        state,
        mode="stopped",
        controller="none",
        latched=state.latched + new,
        holds=(),
        retreat=way_back,
        sent=held_action(state),
        changes=tuple(f"{cause}: {REACTIONS[cause].says}" for cause in new),
        counters=evolve(state.counters, stops=state.counters.stops + len(new)),
    )


def reset(state: GuardState, request: ResetRequest, present: tuple[str, ...]) -> GuardState:
    """Remove one acknowledged cause that is gone; the last one leads to idle, never to motion.

    Every latched cause needs its own request: a person who saw one cause has not seen the other.
    Motion needs a second step by the policy or the operator: something proposed after the reset.
    """
    counters, cause = state.counters, request.acknowledge
    operator: object = request.operator
    is_named = isinstance(operator, str) and bool(operator.strip())
    if not is_named or cause not in state.latched or cause in present:
        counters = evolve(counters, refused_resets=counters.refused_resets + 1)
        return evolve(state, counters=counters)
    left = tuple(name for name in state.latched if name != cause)
    counters = evolve(counters, resets=counters.resets + 1)
    state = evolve(state, latched=left, counters=counters)
    if left:
        return state
    state = relax(evolve(state, is_relaxed=False))
    return evolve(
        state,
        mode="idle",
        resume_after_ns=state.now_ns,
        operator_stamp_ns=max(state.operator_stamp_ns, state.now_ns),
        last_sequence=-1,
        last_seen=None,
        num_zero_frames=0,
        strain=Strain(),
        grip=Grip(),
        retreat=None,
        non_finite_ns=(),
        huge_ns=(),
        changes=(f"reset by {operator}: {cause}",),
    )


def take_over(state: GuardState) -> GuardState:
    """Give control to the operator, from the measured pose; the policy's holds end with it."""
    if state.controller == "operator":
        return state
    holds = tuple(item for item in state.holds if REACTIONS[item[0]].scope != "policy")
    return evolve(
        relax(state), controller="operator", holds=holds, mode="hold" if holds else "idle"
    )


def release(state: GuardState) -> GuardState:
    """Take control from the operator; only what the policy sees from now on counts."""
    return evolve(
        relax(state),
        controller="none",
        mode="hold" if state.holds else "idle",
        resume_after_ns=state.now_ns,
        sent=held_action(state),
    )


def remember_fault(config: GuardConfig, state: GuardState, cause: str) -> GuardState:
    """Count a bad proposal in the window, and stop when there were too many."""
    start_ns = state.now_ns - to_ns(config.fault_window_s)
    if cause == "non_finite":
        times = (*(t for t in state.non_finite_ns if t > start_ns), state.now_ns)
        state = evolve(state, non_finite_ns=times)
        if len(times) >= config.max_non_finite:
            return stop(state, ("non_finite_repeated",))
    if cause == "huge_action":
        times = (*(t for t in state.huge_ns if t > start_ns), state.now_ns)
        state = evolve(state, huge_ns=times)
        if len(times) >= config.max_huge:
            return stop(state, ("huge_action_repeated",))
    return state
