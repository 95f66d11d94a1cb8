"""How fast the tiny policy's design answers, by backend, batch, threads and size; and memory."""

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from robot_agent.core.clock import Stopwatch
from robot_agent.core.types import ImageArray, Observation
from robot_agent.core.wx250s import NEUTRAL_RAD
from robot_agent.models.bench_backends import BFLOAT16, COMPILED, backends, forward
from robot_agent.models.bench_memory import grown_mb, keep
from robot_agent.models.onnx_policy import Precision, export_policy
from robot_agent.models.peak import torch_threads
from robot_agent.models.precision import has_fast_bfloat16
from robot_agent.models.tiny_policy import TinyPolicy, TinyPolicyConfig
from robot_agent.models.tiny_vla import ActionLogits, TinyVla

OnResult = Callable[[str], None]
"""Hears the name of what was measured."""
MID = TinyPolicyConfig(channels=(64, 128, 192), hidden=3072)
"""The tiny design at ten times its size, with random weights."""
_WARM_UP = 5


@dataclass(frozen=True, kw_only=True)
class PolicyBenchConfig:
    """What is measured."""

    repeats: int = 200
    threads: tuple[int, ...] = (1, 2)
    batches: tuple[int, ...] = (1, 8)
    sizes: tuple[str, ...] = ("tiny", "mid")
    is_compiled: bool = True


def bench_policy(
    network: TinyPolicy,
    instructions: Sequence[str],
    images: ImageArray,
    config: PolicyBenchConfig,
    *,
    seed: int = 0,
    on_result: OnResult = lambda _: None,
) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Return the time of an inference and its memory, by name, and what was left out, in words.

    At batch 1 it is the time from a 640x480 picture to a chunk of actions; at others that of the
    network alone. Backends take turns, so that a busy moment hits all alike; the first calls do
    not count. Exports are held against torch on `images` (B, 64, 64, 3) first.

    Returns:
        `{"torch_fp32_1_thread": {"p50_ms", "p99_ms", "memory_mb"}, ...}`: `mid_` before the name
        where the network is the larger one, `_batch_8` behind it at that batch. Memory is
        measured in a process of each row's own, see `bench_memory.grown_mb`.
    """
    left_out = _left_out(config)
    results: dict[str, dict[str, float]] = {}
    for size in config.sizes:
        sized = network if size == "tiny" else _random(network.config.num_instructions, seed)
        exported = _exported(sized, images)
        with tempfile.TemporaryDirectory(prefix="robot_agent_bench_") as name:
            folder = Path(name)
            keep(folder, sized, exported)
            for count in config.threads:
                made = backends(partial(_same, sized), exported.__getitem__, count)
                made = {name: make for name, make in made.items() if name not in left_out}
                with torch_threads(count):
                    timed = _times_ms(made, instructions, config, seed)
                for (backend, batch), times in timed.items():
                    label = _label(size, backend, count, batch)
                    results[label] = _row(times, grown_mb(folder, backend, count, batch))
                    on_result(label)
    return results, [f"{name} is left out: {why}" for name, why in left_out.items()]


def _same(network: TinyPolicy) -> TinyPolicy:
    return network


def _row(times_ms: Sequence[float], memory_mb: float) -> dict[str, float]:
    p50, p99 = np.percentile(times_ms, (50, 99))
    return {"p50_ms": float(p50), "p99_ms": float(p99), "memory_mb": memory_mb}


def _left_out(config: PolicyBenchConfig) -> dict[str, str]:
    """Return the backends that are not measured, and why."""
    found = {}
    if not config.is_compiled:
        found[COMPILED] = "--no-compile"
    elif shutil.which("g++") is None:
        found[COMPILED] = "no g++ on the PATH"
    if not has_fast_bfloat16():
        found[BFLOAT16] = "this processor emulates it, which takes many times as long"
    return found


def _label(size: str, backend: str, threads: int, batch: int) -> str:
    name = f"{backend}_{threads}_thread{'s' if threads > 1 else ''}"
    name = name if size == "tiny" else f"{size}_{name}"
    return name if batch == 1 else f"{name}_batch_{batch}"


def _times_ms(
    makers: Mapping[str, Callable[[], ActionLogits]],
    instructions: Sequence[str],
    config: PolicyBenchConfig,
    seed: int,
) -> dict[tuple[str, int], list[float]]:
    """Return the times of every backend and batch, the backends in turns."""
    made = {name: make() for name, make in makers.items()}
    found = {}
    for batch in config.batches:
        calls = {name: _call(backend, batch, instructions, seed) for name, backend in made.items()}
        for name, times in _in_turns(calls, config.repeats).items():
            found[name, batch] = times
    return found


def _call(
    backend: ActionLogits, batch: int, instructions: Sequence[str], seed: int
) -> Callable[[], object]:
    if batch > 1:
        return partial(forward, backend, batch)
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (480, 640, 3)).astype(np.uint8)
    policy = TinyVla(backend, instructions, version="bench")
    policy.reset(instructions[0], seed)
    return partial(policy.act, Observation(image, np.array(NEUTRAL_RAD), 1.0, 0))


def _in_turns(calls: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(_WARM_UP + repeats):
        for name, call in calls.items():
            watch = Stopwatch()
            call()
            if turn >= _WARM_UP:
                times[name].append(watch.seconds() * 1e3)
    return times


def _random(num_instructions: int, seed: int) -> TinyPolicy:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TinyPolicy(
            TinyPolicyConfig(
                num_instructions=num_instructions, channels=MID.channels, hidden=MID.hidden
            )
        ).eval()


def _exported(network: TinyPolicy, images: ImageArray) -> Mapping[Precision, bytes]:
    ids = [i % network.config.num_instructions for i in range(len(images))]
    names: tuple[Precision, ...] = ("fp32", "int8")
    return {name: export_policy(network, images, ids, precision=name)[0] for name in names}
