"""How a run is said to an operator, in words that screen and lines share."""

import math

from robot_agent.act.agent_view import SILENT_S, AgentView
from robot_agent.commands.run_board import RunState

CALM, GOOD, WAIT, ALARM = "calm", "good", "wait", "alarm"
_UNCONFIRMED_S = 0.5
_SOLVED = {True: "solved now", False: "not solved"}
_MODES = {
    "idle": (CALM, "IDLE", "armed, nobody moves the arm"),
    "active": (GOOD, "ACTIVE", "the arm is moving"),
    "hold": (WAIT, "HOLD", "the arm waits and goes on by itself"),
    "stopped": (ALARM, "STOPPED", "a person must look, remove the cause and reset"),
}


def headline(state: RunState) -> tuple[str, str, str]:
    """Return how alarming it is, one word, and what it means; the worst comes first."""
    agent = state.agent
    if state.stop == "asked":
        if state.stop_age_s > _UNCONFIRMED_S or agent.is_guard_silent:
            return ALARM, "STOP NOT CONFIRMED", "use the switch in the arm's supply line"
        return ALARM, "STOP", "asked; waiting for the guard"
    if math.isinf(agent.guard_age_s):
        return WAIT, "WAITING", "no guard has been heard yet: is the agent up?"
    if agent.is_guard_silent:
        return ALARM, "GUARD SILENT", f"for {agent.guard_age_s:.0f} s; nobody knows what moves"
    return _MODES.get(agent.mode, (WAIT, agent.mode.upper(), ""))


def rows(state: RunState) -> list[tuple[str, str, str]]:
    """Return (what, value, how alarming), in the order of what an operator looks for."""
    agent = state.agent
    return [
        ("control", _control(agent), GOOD if agent.controller == "operator" else CALM),
        ("causes", ", ".join(agent.causes) or "none", WAIT if agent.causes else CALM),
        ("guard did", _guard_did(agent), CALM),
        ("policy", *_policy(agent)),
        ("weights", *_weights(agent)),
        ("camera", *_camera(agent)),
        ("verdict", state.verdict or "none yet", CALM),
        *([] if agent.is_solved is None else [("simulator", _SOLVED[agent.is_solved], CALM)]),
        *([("reset", _reset(state), ALARM)] if agent.is_latched else []),
    ]


def keys(state: RunState) -> list[tuple[str, str]]:
    """Return (key, what it does) that are of use now; stop is first and always there."""
    always = [("q Esc", "STOP")]
    if state.question is not None:
        return [*always, *state.question.answers.items(), ("Ctrl-C", "leave")]
    judging = [("s", "success"), ("f", "failure"), ("x", "discard"), ("t", "re-record")]
    return [*always, *(judging if state.phase == "running" else []), ("Ctrl-C", "end")]


def line(state: RunState) -> str:
    """Return one line of a log; equal as long as nothing that matters has changed."""
    _, word, meaning = headline(state)
    agent = state.agent
    parts = [f"{word.lower()} ({meaning})" if word not in ("ACTIVE", "IDLE") else word.lower()]
    parts += [f"control {_control(agent)}", f"weights {agent.weights_version or 'none'}"]
    parts += [f"because of {', '.join(agent.causes)}"] if agent.causes else []
    parts += ["camera silent"] if agent.camera_age_s > SILENT_S else []
    parts += [f"verdict {state.verdict}"] if state.verdict else []
    parts += [state.note] if state.note else []
    return ", ".join(parts)


def _control(agent: AgentView) -> str:
    if agent.controller == "operator":
        return next((w for w in agent.changes if w.startswith("control: ")), "operator").replace(
            "control: ", ""
        )
    return agent.controller or "unknown"


def _guard_did(agent: AgentView) -> str:
    if agent.mode != "active" and not agent.changes:
        return "sends nothing new"
    return ", ".join(agent.changes) or "sent as proposed"


def _policy(agent: AgentView) -> tuple[str, str]:
    if math.isinf(agent.policy_age_s):
        return "not heard yet", WAIT
    if agent.policy_age_s > 3 * SILENT_S:
        return "silent; the guard holds the arm", ALARM
    return f"{agent.policy_state}, {agent.inference_ms:.1f} ms an inference", CALM


def _weights(agent: AgentView) -> tuple[str, str]:
    if not agent.weights_version:
        return "none", WAIT
    parts = [agent.weights_version, agent.stage]
    parts += [f"{agent.speed:.0%} speed"] if agent.speed < 1.0 else []
    return ", ".join(part for part in parts if part), CALM


def _camera(agent: AgentView) -> tuple[str, str]:
    if math.isinf(agent.camera_age_s):
        return "no picture yet", WAIT
    if agent.camera_age_s > SILENT_S:
        return "silent: no picture arrives, or it is withheld as unfit", ALARM
    return f"{agent.camera_hz:.1f} pictures/s", CALM


def _reset(state: RunState) -> str:
    """Return what a person types beside the arm, once the cause is gone."""
    cause = state.agent.causes[0] if state.agent.causes else "CAUSE"
    return (
        f"ros2 service call /{state.namespace}/guard/reset "
        f'robot_agent_interfaces/srv/ResetLatch "{{operator_name: you, acknowledge: {cause}}}"'
    )
