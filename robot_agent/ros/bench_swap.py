"""`bench swap`: what a swap of weights does to a running loop over DDS, beside a paired run."""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from typing import Any

_SENDER = "robot_agent.ros.bench_swap_loop"


def bench_swap(
    swaps: int = 1000,
    size_mb: float = 34.0,
    rate_hz: float = 50.0,
    *,
    ticks_per_swap: int = 10,
    in_place: bool = False,
    domain_id: int | None = None,
    on_run: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Return the measurement with swaps, and a run of equal length without under `control`.

    A loop of `rate_hz` in its own process takes the policy from its slot at every tick and
    publishes an action over DDS. A helper process reads and hashes weights of `size_mb` into
    shared memory, and a thread of the loop's process maps and offers them, `swaps` times. This
    process receives and looks for torn actions. Missed is a tick that began a whole period late
    or was skipped; lost is one that did not arrive. `in_place` copies new weights over those in
    use instead: a control that must be torn.
    """
    common = {"size_mb": size_mb, "rate_hz": rate_hz, "ticks": swaps * ticks_per_swap}
    on_run("control")
    control = _run({**common, "swaps": 0, "in_place": False}, domain_id)
    on_run("swaps")
    measured = _run({**common, "swaps": swaps, "in_place": in_place}, domain_id)
    return {**measured, "control": control}


def _run(settings: dict[str, Any], domain_id: int | None) -> dict[str, Any]:
    from robot_agent.ros.client import AgentClient

    variables = dict(os.environ)
    if domain_id is not None:
        variables["ROS_DOMAIN_ID"] = str(domain_id)
    with (
        AgentClient("bench_swap", domain_id) as client,
        tempfile.TemporaryDirectory(dir=_shared_memory()) as folder,
    ):
        seen = _Witness(client)
        words = [sys.executable, "-m", _SENDER, folder, json.dumps(settings)]
        sender = subprocess.Popen(words, env=variables, stdout=subprocess.PIPE, text=True)
        try:
            seconds = settings["ticks"] / settings["rate_hz"]
            text = sender.communicate(timeout=10.0 * seconds + 120.0)[0]
        finally:
            sender.kill()
            sender.wait()
        results = json.loads(text)
        seen.wait_for(results["ticks"], 2.0)
    results["torn"] = seen.torn
    results["lost"] = results["ticks"] - seen.received
    return {"rate_hz": settings["rate_hz"], "size_mb": settings["size_mb"], **results}


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
    return "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: PTH112 - its name
