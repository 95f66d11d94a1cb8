"""`bench policy`: what the real policy node adds to an inference, over the bare session."""

import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from robot_agent_interfaces.msg import PolicyStatus

from robot_agent.core.errors import ConfigError
from robot_agent.models.bench import compare
from robot_agent.ros import topics
from robot_agent.ros.client import AgentClient
from robot_agent.ros.description import AgentOptions, processes
from robot_agent.ros.up import Agent

NODES = ("sim_world", "arm_guard", "policy")
_STEPS_A_CHUNK, _EPISODE_CHUNKS = 5, 12
_END_S = 60.0
_MAX_ABORTED = 5


def bench_node(
    chunks: int,
    bare: Sequence[str],
    prepare: Callable[[Path], str],
    *,
    domain_id: int | None = None,
) -> dict[str, Any]:
    """Return the times of inferences in the policy node, and bare, at the same moments.

    The node runs whole episodes in simulation over DDS; its time is from the observation that it
    takes to the chunk that its worker hands back, as it reports it in `policy/status`. Beside it
    a process with the same weights and the same picture size infers as often and does no more.

    Args:
        chunks: Inferences of each, about one a second.
        bare: Arguments of `python -m` for the other process; the bundle's folder, the number of
            inferences and the seconds between them are added.
        prepare: Makes the releases in a folder and returns the label of the current one.
        domain_id: Of ROS; None takes this process's.

    Returns:
        `{"node": {"p50_ms", "p99_ms"}, "bare": {...}, "chunks", "overhead_percent"}`.
    """
    with tempfile.TemporaryDirectory(prefix="robot_agent_bench_") as name:
        options = AgentOptions(folder=Path(name))
        label = prepare(options.releases_folder)
        folder = options.releases_folder / "bundles" / label
        nodes = [node for node in processes(options) if node.name in NODES]
        with Agent(options, nodes, domain_id=domain_id) as agent:
            assert agent.client is not None
            words = [sys.executable, "-m", *bare, str(folder), str(chunks), "1.0"]
            child = subprocess.Popen(
                words,
                stdout=subprocess.PIPE,
                env={"OMP_NUM_THREADS": "1", **os.environ},
                stdin=subprocess.DEVNULL,
            )
            try:
                in_node = _in_node(agent.client, chunks)
                alone, _ = child.communicate(timeout=chunks + _END_S)
            finally:
                child.kill()
    if child.returncode:
        raise ConfigError(f"the bare session ended with status {child.returncode}; see above.")
    return compare(in_node, json.loads(alone))


def _in_node(client: AgentClient, chunks: int) -> list[float]:
    """Run episodes until the node has inferred often enough; the first of each is its warm-up."""
    times: dict[tuple[int, int], float] = {}
    aborted = 0
    for number in itertools.count():
        newest: dict[int, float] = {}

        def keep(message: Any, newest: dict[int, float] = newest) -> None:
            newest[message.chunks] = message.inference_ms

        listening = client.node.create_subscription(
            PolicyStatus, topics.POLICY_STATUS, keep, topics.STATUS
        )
        steps = _STEPS_A_CHUNK * min(_EPISODE_CHUNKS, chunks + 1 - len(times))
        report = client.run_task(
            "open the drawer", seed=number, max_steps=steps, is_recorded=False
        )
        client.node.destroy_subscription(listening)
        aborted += bool(report.message)
        if aborted > _MAX_ABORTED:
            raise ConfigError(
                f"{aborted} episodes of the benchmark ended early, limit {_MAX_ABORTED}: "
                f"{report.message} Measure on a machine with less to do."
            )
        first = min(newest, default=0)
        times |= {(number, count): ms for count, ms in newest.items() if count > first + 1}
        if len(times) >= chunks:
            break
    return list(times.values())
