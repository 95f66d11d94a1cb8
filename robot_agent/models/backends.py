"""What runs the tiny policy on this machine: torch or its export, by measured latency."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from robot_agent.core.clock import Stopwatch
from robot_agent.core.config import build
from robot_agent.core.errors import BundleRejectedError, ConfigError, InputError
from robot_agent.core.types import ImageArray
from robot_agent.models.onnx_policy import (
    LIMITS,
    OnnxCheckConfig,
    OnnxLogits,
    compare_policies,
)
from robot_agent.models.scaling import to_unit
from robot_agent.models.tiny_policy import TinyPolicy
from robot_agent.models.tiny_vla import ActionLogits

_LOG = logging.getLogger(__name__)
_REPEATS, _WARM_UP = 20, 3


@dataclass(frozen=True)
class Backend:
    """What was chosen, and what was measured."""

    name: str
    """torch or onnx."""
    logits: ActionLogits
    p50_ms: Mapping[str, float] = field(default_factory=dict)
    """Median time of one picture, by backend; empty when there was no choice."""


def choose_backend(
    network: TinyPolicy,
    exported: bytes | None,
    images: ImageArray,
    instruction_ids: Sequence[int],
    *,
    name: str,
    limits: Mapping[str, Any] | None = None,
) -> Backend:
    """Return the faster of the weights and their export, as measured here and now; it is logged.

    The export is held against the weights on the bundle's recorded observations first.

    Args:
        network: The weights.
        exported: `policy.onnx` of the same bundle, whose hash was checked, or None.
        images: Recorded observations (N, 64, 64, 3) uint8.
        instruction_ids: Of each.
        name: Of the release, for the log.
        limits: What the export was held to when it was published, `OnnxCheckConfig` by name;
            those of int8 where a release does not say.

    Raises:
        BundleRejectedError: The export is no model, or disagrees with the weights.
    """
    if exported is None:
        return Backend("torch", network)
    try:
        held_to = LIMITS["int8"]
        if limits is not None:
            held_to = build(OnnxCheckConfig, limits, f"{name}/report.json.export.limits")
        onnx = OnnxLogits(exported, name=f"{name}/policy.onnx")
        compare_policies(network, onnx, images, instruction_ids).require(held_to, name)
    except (ConfigError, InputError) as error:
        raise BundleRejectedError(name, "policy.onnx", error, "the weights' own export") from error
    backends: dict[str, ActionLogits] = {"torch": network, "onnx": onnx}
    times = _times_ms(backends, images[:1], instruction_ids[:1])
    p50_ms = {backend: float(np.median(values)) for backend, values in times.items()}
    chosen = min(p50_ms, key=p50_ms.__getitem__)
    measured = ", ".join(f"{backend} {ms:.2f} ms" for backend, ms in p50_ms.items())
    _LOG.info("%s: runs with %s (median of %d: %s)", name, chosen, _REPEATS, measured)
    return Backend(chosen, backends[chosen], p50_ms)


@torch.no_grad()
def _times_ms(
    backends: Mapping[str, ActionLogits], image: ImageArray, ids: Sequence[int]
) -> dict[str, list[float]]:
    """Return the times of each, taken in turns so that a busy moment hits all alike."""
    picture, instruction = to_unit(image), torch.tensor(list(ids))
    times: dict[str, list[float]] = {name: [] for name in backends}
    for turn in range(_WARM_UP + _REPEATS):
        for name, logits in backends.items():
            watch = Stopwatch()
            logits(picture, instruction)
            if turn >= _WARM_UP:
                times[name].append(watch.seconds() * 1e3)
    return times
