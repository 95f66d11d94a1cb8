"""`bench control`: how late the guard's ticks are, idle, under load and beside training."""

import os
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray

from robot_agent.ros import topics
from robot_agent.ros.bench_load import PROGRAMS, load
from robot_agent.ros.client import AgentClient
from robot_agent.ros.description import AgentOptions, processes
from robot_agent.ros.episodes import EpisodeCalls
from robot_agent.ros.up import Agent

NODES = ("sim_world", "arm_guard")


def bench_control(
    seconds: float = 20.0,
    conditions: Sequence[str] = tuple(PROGRAMS),
    *,
    domain_id: int | None = None,
    on_condition: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Return, per condition, `ticks missed late_ms{p50,p99,p999,max}` of the real arm_guard.

    The guard runs in its own process against the simulated robot over DDS. A tick is missed when
    it begins a whole period (20 ms) late or is skipped. The first condition is the control run.
    """
    results: dict[str, Any] = {}
    count = os.cpu_count() or 1
    with tempfile.TemporaryDirectory(prefix="robot_agent_bench_") as name:
        options = AgentOptions(folder=Path(name), camera_size_px=(160, 120), camera_hz=10.0)
        nodes = [
            replace(node, parameters={**node.parameters, "late_ms": 19.99})
            if node.name == "arm_guard"
            else node
            for node in processes(options)
            if node.name in NODES
        ]
        with Agent(options, nodes, domain_id=domain_id) as agent:
            assert agent.client is not None
            for condition in conditions:
                on_condition(condition)
                with load(condition, count):
                    results[condition] = measure_ticks(agent.client, seconds)
    return results


def measure_ticks(client: AgentClient, seconds: float) -> dict[str, Any]:
    """Activate the guard anew, so that it counts from zero, and read what it says at the end."""
    EpisodeCalls(client.calls).reset_world(0, "", "open")
    newest: dict[str, str] = {}

    def keep(message: Any) -> None:
        for status in message.status:
            if status.hardware_id == "guard" and status.values:
                newest.update({value.key: value.value for value in status.values})

    subscription = client.node.create_subscription(DiagnosticArray, topics.DIAGNOSTICS, keep, 10)
    threading.Event().wait(seconds)
    client.node.destroy_subscription(subscription)
    return {
        "ticks": int(newest.get("ticks", 0)),
        "missed": int(newest.get("late_ticks", 0)) + int(newest.get("skipped_ticks", 0)),
        "late_ms": {
            name: float(newest.get(f"late_ms_{name}", "nan"))
            for name in ("p50", "p99", "p999", "max")
        },
    }
