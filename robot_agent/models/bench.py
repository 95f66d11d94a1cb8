"""How fast the tiny world imagines, by batch, and how long a call takes."""

import resource
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from robot_agent.core.clock import timed
from robot_agent.core.types import Observation
from robot_agent.core.wx250s import NEUTRAL_RAD
from robot_agent.models.peak import torch_threads
from robot_agent.models.tiny_imagination import TinyImagination
from robot_agent.models.tiny_vla import MODEL_SIZE_PX
from robot_agent.models.tiny_world import TinyWorld

OnResult = Callable[[str], None]
"""Hears the name of what was measured."""
_WARM_UP = 5


def bench_imagination(
    world: TinyWorld,
    *,
    seed: int = 0,
    batches: Sequence[int] = (1, 8, 32, 64),
    steps: Sequence[int] = (5, 30),
    threads: int = 1,
    on_result: OnResult = lambda _: None,
) -> dict[str, Any]:
    """Return frames per second of the world model by batch size and steps of the rollout.

    A frame is one picture of one rollout, as bytes on the CPU; the start frames do not count.

    Returns:
        `{"ours": {"fps"}, "by_batch": {"8": {"fps", "by_steps": {"30": fps}}}, "peak_memory_mb"}`
        where `fps` is that of the longest rollout, and `ours` the best of the batches.
    """
    rng = np.random.default_rng(seed)
    imagination = TinyImagination(world)
    by_batch: dict[str, Any] = {}
    with torch_threads(threads):
        for batch in batches:
            _rollout_fps(imagination, batch, 2, rng)
            speeds = {str(n): _rollout_fps(imagination, batch, n, rng) for n in sorted(steps)}
            by_batch[str(batch)] = {"fps": speeds[str(max(steps))], "by_steps": speeds}
            on_result(f"batch {batch}")
    return {
        "ours": {"fps": max(entry["fps"] for entry in by_batch.values()), "threads": threads},
        "by_batch": by_batch,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0,
    }


def compare(in_node: Sequence[float], alone: Sequence[float]) -> dict[str, Any]:
    """Return percentiles of both and the overhead of the medians [%]."""
    both = {}
    for name, times in (("node", in_node), ("bare", alone)):
        p50, p99 = np.percentile(times, (50, 99))
        both[name] = {"p50_ms": float(p50), "p99_ms": float(p99)}
    ratio = both["node"]["p50_ms"] / both["bare"]["p50_ms"]
    return {**both, "chunks": len(in_node), "overhead_percent": 100.0 * (ratio - 1.0)}


def latency(call: Callable[[], object], repeats: int) -> dict[str, float]:
    """Return the 50th and 99th percentile [ms] of the time of a call."""
    for _ in range(_WARM_UP):
        call()
    seconds: list[float] = []
    for _ in range(repeats):
        with timed(seconds):
            call()
    p50, p99 = np.percentile(np.array(seconds) * 1e3, (50, 99))
    return {"p50_ms": float(p50), "p99_ms": float(p99)}


def _rollout_fps(
    imagination: TinyImagination, batch: int, steps: int, rng: np.random.Generator
) -> float:
    size = (MODEL_SIZE_PX, MODEL_SIZE_PX, 3)
    starts = [
        Observation(
            image_hwc=rng.integers(0, 256, size).astype(np.uint8),
            joints_rad=np.array(NEUTRAL_RAD),
            gripper=1.0,
            stamp_ns=0,
        )
        for _ in range(batch)
    ]
    actions = rng.uniform(-0.02, 0.02, (steps, batch, 7))
    imagination.reset(starts)
    seconds: list[float] = []
    with timed(seconds):
        for action in actions:
            imagination.step(action)
    return batch * steps / seconds[0]
