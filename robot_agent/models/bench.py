"""How fast the tiny policy answers, by backend, and the tiny world imagines, by batch."""

import resource
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robot_agent.core.clock import timed
from robot_agent.core.types import ImageArray, Observation
from robot_agent.core.wx250s import NEUTRAL_RAD
from robot_agent.models.onnx_policy import OnnxLogits, Precision, export_policy
from robot_agent.models.peak import torch_threads
from robot_agent.models.precision import fast_autocast
from robot_agent.models.tiny_imagination import TinyImagination
from robot_agent.models.tiny_policy import TinyPolicy
from robot_agent.models.tiny_vla import MODEL_SIZE_PX, ActionLogits, TinyVla
from robot_agent.models.tiny_world import TinyWorld

OnResult = Callable[[str], None]
"""Hears the name of what was measured."""
_WARM_UP = 5


class Bfloat16Logits:
    """The torch network with its matrix products and convolutions in bfloat16."""

    def __init__(self, network: TinyPolicy) -> None:
        """Take a trained network; set to evaluation mode here."""
        self._network = network.eval()

    def __call__(self, image_BCHW: Tensor, instruction_B: Tensor) -> Tensor:
        """Return logits as float32."""
        with fast_autocast():
            logits: Tensor = self._network(image_BCHW, instruction_B).float()
        return logits

    def bin_centers(self) -> Tensor:
        """Return the centres of the bins."""
        return self._network.bin_centers()


def bench_policy(
    network: TinyPolicy,
    instructions: Sequence[str],
    images: ImageArray,
    *,
    seed: int = 0,
    repeats: int = 200,
    threads: Sequence[int] = (1, 2),
    on_result: OnResult = lambda _: None,
) -> dict[str, dict[str, float]]:
    """Return the time from a camera picture to a chunk of actions, by backend and threads.

    The picture is 640x480; one picture at a time; the first few calls do not count. The exported
    networks are held against torch on `images` (B, 64, 64, 3) first.

    Returns:
        `{"torch_fp32_1_thread": {"p50_ms", "p99_ms", "network_p50_ms"}, ...}`; the last is the
        network alone.
    """
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (480, 640, 3)).astype(np.uint8)
    observation = Observation(
        image_hwc=image, joints_rad=np.array(NEUTRAL_RAD), gripper=1.0, stamp_ns=0
    )
    exported = _exported(network, images)
    results = {}
    for count in threads:
        with torch_threads(count):
            for name, backend in _backends(network, exported, count).items():
                policy = TinyVla(backend, instructions, version="bench")
                policy.reset(instructions[0], seed)
                full = latency(partial(policy.act, observation), repeats)
                alone = latency(partial(_forward, backend), repeats)
                label = f"{name}_{count}_thread{'s' if count > 1 else ''}"
                results[label] = {**full, "network_p50_ms": alone["p50_ms"]}
                on_result(label)
    return results


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


def _exported(network: TinyPolicy, images: ImageArray) -> Mapping[Precision, bytes]:
    ids = [i % network.config.num_instructions for i in range(len(images))]
    names: tuple[Precision, ...] = ("fp32", "int8")
    return {name: export_policy(network, images, ids, precision=name)[0] for name in names}


def _backends(
    network: TinyPolicy, exported: Mapping[Precision, bytes], threads: int
) -> dict[str, ActionLogits]:
    return {
        "torch_fp32": network.eval(),
        "torch_bf16": Bfloat16Logits(network),
        "onnx_fp32": OnnxLogits(exported["fp32"], threads=threads),
        "onnx_int8": OnnxLogits(exported["int8"], threads=threads),
    }


@torch.no_grad()
def _forward(backend: ActionLogits) -> Tensor:
    image = torch.full((1, 3, MODEL_SIZE_PX, MODEL_SIZE_PX), 0.5)
    return backend(image, torch.zeros(1, dtype=torch.long))


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
