"""`bench record`: what the recorder costs and loses, and what the guard's ticks feel of it."""

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from robot_agent.core.clock import Stopwatch
from robot_agent.core.errors import ArmFaultError
from robot_agent.ros import topics
from robot_agent.ros.bench_control import NODES, measure_ticks
from robot_agent.ros.bench_record_sender import JOINTS_HZ, PICTURE_HZ
from robot_agent.ros.client import AgentClient
from robot_agent.ros.description import AgentOptions, NodeProcess, processes
from robot_agent.ros.up import Agent
from robot_agent.store.episode_format import RECORDING_NAME
from robot_agent.store.episode_store import EpisodeStore
from robot_agent.store.recording import STREAM_IMAGE_TOPIC, STREAM_JOINTS_TOPIC, stamps_of

_SENDER = "robot_agent.ros.bench_record_sender"
_BENCH, _SETTLE_S = "bench", 2.0


def bench_record(
    seconds: float,
    size_px: tuple[int, int] = (640, 480),
    *,
    domain_id: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Return `core_percent pictures{recorded,lost} joints{..} steps mb_per_s ticks{with,without}`.

    The real recorder listens to a process that plays a camera at 30 Hz, joints at 100 Hz and a
    guard that accepts 5 actions a second. Beside them the real arm_guard ticks in its own process:
    first while nothing is recorded, up to a minute, then while it is. The share of a core is user
    plus system time of the recorder's process over the time between start and end of the episode.
    """
    with tempfile.TemporaryDirectory(prefix="robot_agent_bench_") as name:
        folder = Path(name)
        with (
            _guard(folder / "guard", domain_id) as guard,
            _recorder(folder, domain_id) as agent,
            _sender(size_px, domain_id),
        ):
            say("ticks without recording")
            without = measure_ticks(_client(guard), min(seconds, 60.0))
            say(f"recording for {seconds:g} s")
            ticks, share = _record(agent, _client(guard), seconds)
        return {
            **_found(folder / "episodes"),
            **share,
            "ticks": {"with": ticks, "without": without},
        }


def _record(agent: Agent, guard: AgentClient, seconds: float) -> tuple[Any, dict[str, Any]]:
    client, pid = _client(agent), agent.pid("recorder")
    threading.Event().wait(_SETTLE_S)
    answer = client.calls.call(
        topics.EPISODE_START, instruction="bench", scene="", allow_unknown_task=True
    )
    if not answer.success:
        raise ArmFaultError(f"{topics.EPISODE_START}: {answer.message}")
    watch, before_s = Stopwatch(), cpu_seconds(pid)
    ticks = measure_ticks(guard, seconds)
    took_s, used_s = watch.seconds(), cpu_seconds(pid) - before_s
    answer = client.calls.call(topics.EPISODE_END, timeout_s=60.0, outcome="unknown", judged_by="")
    if not answer.success or answer.message:
        raise ArmFaultError(f"{topics.EPISODE_END}: {answer.message}. The episode stopped early.")
    memory_mb = _status_kb(pid, "VmHWM") / 1024
    return ticks, {
        "core_percent": 100.0 * used_s / took_s,
        "seconds": took_s,
        "peak_memory_mb": memory_mb,
    }


def _found(folder: Path) -> dict[str, Any]:
    """Return what the episode holds; a gap in the stamps of a schedule is a loss."""
    store = EpisodeStore(folder)
    info = store.describe(store.list()[0])
    path = folder / info.id / RECORDING_NAME
    results: dict[str, Any] = {"steps": info.num_steps}
    spanned_s = 0.0
    for name, topic, hz in (
        ("pictures", STREAM_IMAGE_TOPIC, PICTURE_HZ),
        ("joints", STREAM_JOINTS_TOPIC, JOINTS_HZ),
    ):
        stamps_ns = np.array(stamps_of(path, topic), np.int64)
        lost = np.round(np.diff(stamps_ns) * 1e-9 * hz).astype(int) - 1
        results[name] = {"recorded": len(stamps_ns), "lost": int(lost.sum())}
        spanned_s = float(stamps_ns[-1] - stamps_ns[0]) * 1e-9
    return {**results, "mb_per_s": info.recording_bytes / 1e6 / max(spanned_s, 1e-9)}


def cpu_seconds(pid: int) -> float:
    """Return user plus system seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _status_kb(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _client(agent: Agent) -> AgentClient:
    assert agent.client is not None
    return agent.client


def _guard(folder: Path, domain_id: int | None) -> Agent:
    options = AgentOptions(folder=folder, camera_size_px=(160, 120), camera_hz=10.0)
    nodes = [node for node in processes(options) if node.name in NODES]
    late = {"late_ms": 19.99}
    nodes = [
        replace(n, parameters={**n.parameters, **late}) if n.name == "arm_guard" else n
        for n in nodes
    ]
    return Agent(options, nodes, domain_id=domain_id)


def _recorder(folder: Path, domain_id: int | None) -> Agent:
    options = AgentOptions(folder=folder, namespace=_BENCH)
    parameters = {"store": str(folder / "episodes"), "streams": True}
    return Agent(
        options, [NodeProcess(name="recorder", parameters=parameters)], domain_id=domain_id
    )


@contextmanager
def _sender(size_px: tuple[int, int], domain_id: int | None) -> Iterator[None]:
    words = [sys.executable, "-m", _SENDER, _BENCH, *map(str, size_px)]
    variables = dict(os.environ)
    if domain_id is not None:
        variables["ROS_DOMAIN_ID"] = str(domain_id)
    child = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=variables
    )
    try:
        yield
    finally:
        assert child.stdin is not None
        child.stdin.close()
        try:
            child.wait(10.0)
        finally:
            child.kill()
