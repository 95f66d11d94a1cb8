"""Starts and asks a running agent with a stub policy; shared by the tests of this folder."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from robot_agent.core.clock import Stopwatch
from robot_agent.core.errors import ArmFaultError
from robot_agent.ros.calls import ACTIVATE, ACTIVE, CONFIGURE, INACTIVE
from robot_agent.ros.client import AgentClient
from robot_agent.ros.description import AgentOptions, NodeProcess, processes
from robot_agent.ros.episodes import EpisodeReport

HERE = Path(__file__).parent
VERSIONS: dict[str, dict[str, Any]] = {
    "v1": {"step_m": 0.005},
    "v2": {"step_m": 0.004},
    "v3": {"step_m": 0.003},
    "nan": {"kind": "nan"},
    "slow": {"act_s": 3.0},
    "v4": {"step_m": 0.0045, "state": "SANE"},
    "v5": {"step_m": 0.0035, "state": "SANE"},
    "v6": {"step_m": 0.0025, "state": "SANE"},
    "v7": {"step_m": 0.0015, "state": "SANE"},
    "late": {"act_s": 3.0, "state": "SANE"},
    "wild": {"kind": "nan", "state": "SANE"},
}


def stub_releases(folder: Path) -> Path:
    """Write the stub's versions and return their folder."""
    folder.mkdir(parents=True)
    for version, facts in VERSIONS.items():
        (folder / f"{version}.json").write_text(json.dumps(facts))
    (folder / "current").write_text("v1")
    return folder


def with_stub(options: AgentOptions, leave_out: tuple[str, ...] = ()) -> list[NodeProcess]:
    """Return the processes with the stub policy instead of the real one."""
    stub = (str(HERE / "stub_policy_node.py"),)
    return [
        replace(node, module=stub) if node.name == "policy" else node
        for node in processes(options)
        if node.name not in leave_out
    ]


def until(condition: Callable[[], Any], timeout_s: float, what: str) -> Any:
    """Return the first true value of `condition`; fail after `timeout_s`."""
    watch, pause = Stopwatch(), threading.Event()
    while watch.seconds() < timeout_s:
        value = condition()
        if value:
            return value
        pause.wait(0.01)
    pytest.fail(f"{what}: not within {timeout_s} s")


def is_up(client: AgentClient) -> bool:
    try:
        return _is_brought_up(client)
    except ArmFaultError:  # in the middle of a transition, or of a restart
        return False


def _is_brought_up(client: AgentClient) -> bool:
    for node in ("arm_guard", "policy"):
        state = client.calls.state_of(node)
        if state not in (INACTIVE, ACTIVE):
            client.calls.change_state(node, CONFIGURE)
        if state != ACTIVE and not client.calls.change_state(node, ACTIVATE):
            return False
    return client.guard_state is not None and client.policy_status is not None


def try_reset(client: AgentClient, cause: str) -> bool:
    answer = client.calls.call("guard/reset", operator_name="test", acknowledge=cause)
    return bool(answer.success)


def wait_for_actions(client: AgentClient, count: int, episode: "Future[EpisodeReport]") -> None:
    """Return when the guard has let `count` actions through since the world was reset."""

    def enough() -> bool:
        if episode.done():
            pytest.fail(f"the episode ended early: {episode.result()}")
        state = client.guard_state
        return state is not None and state.accepted >= count

    until(enough, 15.0, f"{count} actions")
