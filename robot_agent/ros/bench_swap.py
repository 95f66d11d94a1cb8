"""`bench swap`: what a swap of weights does to a running loop over DDS, beside a paired run."""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robot_agent.evaluate.statistics import fisher_p
from robot_agent.ros import realtime

_SENDER = "robot_agent.ros.bench_swap_loop"


@dataclass(frozen=True, kw_only=True)
class SwapOptions:
    """How `bench swap` is run."""

    ticks_per_swap: int = 10
    """Ticks of the loop for each swap."""
    lerobot_swaps: int = 0
    """Swaps of the third run, for comparison; 0 leaves it out."""
    in_place: bool = False
    """New weights are copied over those in use: a control that must be torn."""
    fifo: bool = False
    """Where the machine permits it, run the loop under SCHED_FIFO, and what brings the weights of
    either run at the lowest such priority."""


def bench_swap(
    swaps: int = 1000,
    size_mb: float = 34.0,
    rate_hz: float = 50.0,
    *,
    options: SwapOptions | None = None,
    domain_id: int | None = None,
    on_run: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Return the measurement with swaps, and a run of equal length without under `control`.

    A loop of `rate_hz` in its own process takes the policy from its slot at every tick and
    publishes an action over DDS. A helper process verifies a signed bundle of `size_mb` as the
    robot does (signature, sizes, hashes, schema, finite numbers) into shared memory, and a thread
    of the loop's process offers it, `swaps` times. This process receives and looks for
    torn actions. Missed is a tick that began a whole period late or was skipped; lost is one that
    did not arrive. `seen_to_active_ms` runs from the moment the bundle is there to the first
    action of it, `work_ms` leaves out the wait for the tick.

    With `lerobot_swaps`, a third run brings as many versions by a stream that is loaded in the
    loop's process (`bench_swap_stream`), under `lerobot_style`; `ratio` and `work_ratio` are our
    medians to theirs.
    """
    options = options or SwapOptions()
    common = {"size_mb": size_mb, "rate_hz": rate_hz, "fifo": options.fifo}
    ticks = swaps * options.ticks_per_swap
    on_run("control")
    control = _run({**common, "ticks": ticks, "swaps": 0, "road": "none"}, domain_id)
    on_run("swaps")
    road = "in_place" if options.in_place else "slot"
    results = _run({**common, "ticks": ticks, "swaps": swaps, "road": road}, domain_id)
    results |= {"control": control, "comparison": _compared(results, control)}
    if options.lerobot_swaps:
        on_run("lerobot_style")
        count = options.lerobot_swaps
        settings = {"ticks": count * options.ticks_per_swap, "swaps": count}
        theirs = _run({**common, **settings, "road": "lerobot_style"}, domain_id)
        results |= {"lerobot_style": theirs}
        for key, of in (("ratio", "seen_to_active_ms"), ("work_ratio", "work_ms")):
            results[key] = results[of]["p50"] / theirs[of]["p50"]
    results["scheduling"] = {
        "nice": results["nice"],
        "wanted_nice": realtime.CONTROL_NICE,
        "fifo": results["fifo"],
        "load_average": list(os.getloadavg()),
    }
    return results


def _compared(swapping: dict[str, Any], control: dict[str, Any]) -> dict[str, Any]:
    """Return whether swaps cost ticks: one-sided p, difference of lateness, 3/N bound."""
    return {
        "fisher_p": fisher_p(
            swapping["missed"], swapping["ticks"], control["missed"], control["ticks"]
        ),
        "p999_difference_ms": swapping["late_ms"]["p999"] - control["late_ms"]["p999"],
        "missed_bound": 3.0 / swapping["ticks"] if not swapping["missed"] else None,
    }


def _run(settings: dict[str, Any], domain_id: int | None) -> dict[str, Any]:
    from robot_agent.ros.client import AgentClient

    variables = dict(os.environ)
    if domain_id is not None:
        variables["ROS_DOMAIN_ID"] = str(domain_id)
    with (
        AgentClient("bench_swap", domain_id) as client,
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory(dir=_shared_memory()) as shared,
    ):
        seen = _Witness(client)
        words = [sys.executable, "-m", _SENDER, folder, shared, json.dumps(settings)]
        sender = subprocess.Popen(words, env=variables, stdout=subprocess.PIPE, text=True)
        try:
            seconds = settings["ticks"] / settings["rate_hz"] + settings["swaps"]
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
    return "/dev/shm" if Path("/dev/shm").is_dir() else None
