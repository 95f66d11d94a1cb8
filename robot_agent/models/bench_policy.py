"""How fast the tiny policy's design answers, by backend, batch, threads and size; and memory."""

import gc
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robot_agent.core.clock import Stopwatch
from robot_agent.core.types import ImageArray, Observation
from robot_agent.core.wx250s import NEUTRAL_RAD
from robot_agent.models.onnx_policy import OnnxLogits, Precision, export_policy
from robot_agent.models.peak import measured, resident_mb, torch_threads
from robot_agent.models.tiny_policy import TinyPolicy, TinyPolicyConfig
from robot_agent.models.tiny_vla import MODEL_SIZE_PX, ActionLogits, TinyVla

OnResult = Callable[[str], None]
"""Hears the name of what was measured."""
MID = TinyPolicyConfig(channels=(64, 128, 192), hidden=3072)
"""The tiny design at ten times its size, with random weights."""
_WARM_UP = 5


class Bfloat16Logits:
    """The torch network with its matrix products and convolutions in bfloat16."""

    def __init__(self, network: TinyPolicy) -> None:
        """Take a trained network; set to evaluation mode here."""
        self._network = network.eval()

    def __call__(self, image_BCHW: Tensor, instruction_B: Tensor) -> Tensor:
        """Return logits as float32."""
        with torch.autocast("cpu", torch.bfloat16):
            logits: Tensor = self._network(image_BCHW, instruction_B).float()
        return logits

    def bin_centers(self) -> Tensor:
        """Return the centres of the bins."""
        return self._network.bin_centers()


class CompiledLogits:
    """The torch network through torch.compile, which needs a C++ compiler on a CPU."""

    def __init__(self, network: TinyPolicy) -> None:
        """Take a trained network; it is compiled at its first call of a batch size."""
        torch._dynamo.reset()  # what was compiled for another number of threads
        self._network = network.eval()
        self._compiled = torch.compile(network, dynamic=False)

    def __call__(self, image_BCHW: Tensor, instruction_B: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self._compiled(image_BCHW, instruction_B)
        return logits

    def bin_centers(self) -> Tensor:
        """Return the centres of the bins."""
        return self._network.bin_centers()


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
        where the network is the larger one, `_batch_8` behind it at that batch. Memory is what
        the process grew by while the backend was made and first called [MB]; pages that an
        earlier backend let go are used again, so it is a lower bound.
    """
    if not config.is_compiled or shutil.which("g++") is None:
        why = "--no-compile" if not config.is_compiled else "no g++ on the PATH"
        notes, is_compiled = [f"torch_compiled is left out: {why}"], False
    else:
        notes, is_compiled = [], True
    results: dict[str, dict[str, float]] = {}
    for size in config.sizes:
        sized = network if size == "tiny" else _random(network.config.num_instructions, seed)
        exported = _exported(sized, images)
        for count in config.threads:
            with torch_threads(count):
                backends = _backends(sized, exported, count, is_compiled=is_compiled)
                prefix = "" if size == "tiny" else f"{size}_"
                thread = f"{count}_thread{'s' if count > 1 else ''}"
                names = {f"{prefix}{name}_{thread}": make for name, make in backends.items()}
                found = _measure(names, instructions, config, seed)
                results |= found
                for name in found:
                    on_result(name)
    return results, notes


def _measure(
    makers: Mapping[str, Callable[[], ActionLogits]],
    instructions: Sequence[str],
    config: PolicyBenchConfig,
    seed: int,
) -> dict[str, dict[str, float]]:
    """Return the figures of every batch, the backends in turns."""
    made: dict[str, ActionLogits] = {}
    memory: dict[str, float] = {}
    for name, make in makers.items():
        gc.collect()
        before = resident_mb()
        with measured() as stage:
            made[name] = make()
            _forward(made[name], 1)
        memory[name] = max(stage.peak_memory_mb - before, 0.0)
    results = {}
    for batch in config.batches:
        calls = {name: _call(backend, batch, instructions, seed) for name, backend in made.items()}
        for name, times in _in_turns(calls, config.repeats).items():
            p50, p99 = np.percentile(times, (50, 99))
            label = name if batch == 1 else f"{name}_batch_{batch}"
            results[label] = {
                "p50_ms": float(p50),
                "p99_ms": float(p99),
                "memory_mb": memory[name],
            }
    return results


def _call(
    backend: ActionLogits, batch: int, instructions: Sequence[str], seed: int
) -> Callable[[], object]:
    if batch > 1:
        return partial(_forward, backend, batch)
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


def _backends(
    network: TinyPolicy, exported: Mapping[Precision, bytes], threads: int, *, is_compiled: bool
) -> dict[str, Callable[[], ActionLogits]]:
    backends: dict[str, Callable[[], Any]] = {
        "torch_fp32": network.eval,
        "torch_bf16": lambda: Bfloat16Logits(network),
        "onnx_fp32": lambda: OnnxLogits(exported["fp32"], threads=threads),
        "onnx_int8": lambda: OnnxLogits(exported["int8"], threads=threads),
    }
    if is_compiled:
        backends["torch_compiled"] = lambda: CompiledLogits(network)
    return backends


@torch.no_grad()
def _forward(backend: ActionLogits, batch: int) -> Tensor:
    image = torch.full((batch, 3, MODEL_SIZE_PX, MODEL_SIZE_PX), 0.5)
    return backend(image, torch.zeros(batch, dtype=torch.long))
