"""One run of the loop that `bench swap` measures: a sender, a witness, and what both counted."""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robot_agent.ros import realtime
from robot_agent.store.durable import make_folder, replace_file, storage_errors
from robot_agent.store.strict_json import parse_json_object

_SENDER = "robot_agent.ros.bench_swap_loop"


def run_kept(
    settings: Mapping[str, Any], domain_id: int | None, kept: Path | None
) -> dict[str, Any]:
    """Return the counts of one run: those in the file `kept` where it has the same settings.

    With a file, a table of many runs that was cut short goes on where it was.
    """
    if kept is not None and kept.exists():
        with storage_errors("reading a kept run", kept):
            found = parse_json_object(kept.read_bytes())
        if found["settings"] == dict(settings):
            return dict(found["counts"])
    counts = _run(settings, domain_id)
    if kept is not None:
        whole = json.dumps({"settings": dict(settings), "counts": counts})
        with storage_errors("keeping a run", kept):
            make_folder(kept.parent)
            replace_file(kept, whole.encode())
    return counts


def pooled(runs: Sequence[Mapping[str, Any]], rate_hz: float) -> dict[str, Any]:
    """Return the sums of like runs, and percentiles over all their ticks and swaps."""
    late_ms = np.concatenate([run["late_ns"] for run in runs]) * 1e-6
    p50, p99, p999 = (float(p) for p in np.percentile(late_ms, [50, 99, 99.9]))
    skipped = sum(run["skipped"] for run in runs)
    return {
        **{key: sum(run[key] for run in runs) for key in ("swaps", "torn", "lost", "stolen_ms")},
        "ticks": len(late_ms),
        "missed": int((late_ms >= 1e3 / rate_hz).sum()) + skipped,
        "late_ms": {"p50": p50, "p99": p99, "p999": p999, "max": float(late_ms.max())},
        "late_p999_by_run_ms": [float(np.percentile(run["late_ns"], 99.9)) * 1e-6 for run in runs],
        "seen_to_active_ms": _percentiles([t for run in runs for t in run["swap_ns"]]),
        "work_ms": _percentiles([t for run in runs for t in run["work_ns"]]),
        "roll_back_ms": _percentiles([t for run in runs for t in run["back_ns"]]),
        "nice": max(run["nice"] for run in runs),
        "fifo": all(run["fifo"] for run in runs),
    }


def _percentiles(times_ns: Sequence[int]) -> dict[str, float]:
    times_ms = np.array(times_ns or [0]) * 1e-6
    return {f"p{p}": float(np.percentile(times_ms, p)) for p in (50, 99)}


def _run(settings: Mapping[str, Any], domain_id: int | None) -> dict[str, Any]:
    from robot_agent.ros.client import AgentClient

    variables = dict(os.environ)
    if domain_id is not None:
        variables["ROS_DOMAIN_ID"] = str(domain_id)
    stolen_ms = realtime.stolen_ms()
    with (
        AgentClient("bench_swap", domain_id) as client,
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory(dir=_shared_memory()) as shared,
    ):
        seen = _Witness(client)
        words = [sys.executable, "-m", _SENDER, folder, shared, json.dumps(dict(settings))]
        sender = subprocess.Popen(words, env=variables, stdout=subprocess.PIPE, text=True)
        try:
            seconds = settings["ticks"] / settings["rate_hz"] + settings["swaps"]
            text = sender.communicate(timeout=10.0 * seconds + 120.0)[0]
        finally:
            sender.kill()
            sender.wait()
        counts: dict[str, Any] = json.loads(text)
        ticks = len(counts["late_ns"])
        seen.wait_for(ticks, 2.0)
    stolen_ms = realtime.stolen_ms() - stolen_ms
    return {**counts, "torn": seen.torn, "lost": ticks - seen.received, "stolen_ms": stolen_ms}


class _Witness:
    """Receives actions and judges whether each comes from one version."""

    def __init__(self, client: Any) -> None:
        from robot_agent_interfaces.msg import ActionProposal

        from robot_agent.ros import topics
        from robot_agent.ros.bench_swap_loop import BENCH_TOPIC

        self.received = self.torn = 0
        self._changed = threading.Event()
        client.node.create_subscription(ActionProposal, BENCH_TOPIC, self._take, topics.EVENTS)

    def _take(self, message: Any) -> None:
        self.received += 1
        tags = {f"{value:g}" for value in message.action}
        self.torn += tags != {message.weights_version}
        self._changed.set()

    def wait_for(self, count: int, timeout_s: float) -> None:
        """Wait for stragglers."""
        while self.received < count and self._changed.wait(timeout_s):
            self._changed.clear()


def _shared_memory() -> str | None:
    """Return the folder of shared memory where the machine has one."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
