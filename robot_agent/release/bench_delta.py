"""How many bytes an update by reinforcement learning needs: simulated 16-bit weights, by size."""

import hashlib
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from robot_agent.core.clock import Stopwatch
from robot_agent.core.config import require_range
from robot_agent.release.delta import apply_delta, write_delta
from robot_agent.release.manifest import FileRecord

Floats = NDArray[np.float32]

_TENSOR = 1 << 20
"""Numbers of one simulated tensor: all that is in memory at a time."""
_BETAS, _EPSILON = (0.9, 0.999), 1e-8


@dataclass(frozen=True, kw_only=True)
class DeltaBenchConfig:
    """A simulated update; the defaults are World-Gymnast's (arXiv 2602.02454, section 4.1)."""

    size_mb: float = 140.0
    """Weights in bf16: 140 MB are a hundredth of 7 billion."""
    updates: int = 5
    """Optimiser steps between two releases; the published script saves every 5."""
    learning_rate: float = 5e-6
    """Of Adam, constant."""
    age: int = 0
    """Steps from the 16-bit checkpoint that was loaded to the base. Master weights, in float32,
    begin on 16-bit numbers and drift between them: the older, the more of them change."""
    spread: float = 0.02
    """Standard deviation of the weights."""
    coherence: float = 0.0
    """Correlation of one weight's gradients from step to step; 1 always pulls the same way."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require_range("size_mb", self.size_mb, 0.001, 20_000.0, "MB")
        require_range("updates", self.updates, 1, 10_000)
        require_range("age", self.age, 0, 100_000)
        require_range("learning_rate", self.learning_rate, 0.0, 1e-2)
        require_range("spread", self.spread, 1e-6, 10.0)
        require_range("coherence", self.coherence, 0.0, 1.0)


def measure(config: DeltaBenchConfig, folder: Path, seed: int = 0) -> dict[str, Any]:
    """Simulate, write the delta, rebuild, compare; return sizes, times and the ratio."""
    base, new, rebuilt = (folder / name for name in ("base", "new", "rebuilt"))
    changed, count = _simulate(config, base, new, np.random.default_rng(seed))
    with base.open("rb") as old, new.open("rb") as newer, (folder / "delta").open("w+b") as delta:
        watch = Stopwatch()
        write_delta(old, newer, delta, base_hash="0" * 64, word=2)
        pack_s, delta_bytes = watch.seconds(), delta.tell()
        size = newer.seek(0, 2)
        newer.seek(0)
        wanted = FileRecord(hashlib.file_digest(newer, "sha256").hexdigest(), size)
        delta.seek(0)
        watch = Stopwatch()
        with rebuilt.open("wb") as target:
            apply_delta(old, delta, target, wanted, "bench")
        rebuild_s = watch.seconds()
    return {
        "weights_mb": size / 1e6,
        "delta_mb": delta_bytes / 1e6,
        "ratio": size / delta_bytes,
        "changed_share": changed / count,
        "pack_mb_s": size / 1e6 / pack_s,
        "rebuild_mb_s": size / 1e6 / rebuild_s,
        "is_exact": True,  # apply_delta has compared size and SHA-256
    }


def to_bfloat16(values: Floats) -> NDArray[np.uint16]:
    """Return the bits of the nearest bf16 numbers, ties to even; values must be finite."""
    bits = values.view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return (rounded >> np.uint32(16)).astype(np.uint16)


def _simulate(
    config: DeltaBenchConfig, base: Path, new: Path, rng: np.random.Generator
) -> tuple[int, int]:
    """Write weights before and after; return how many of how many changed."""
    count = max(1, round(config.size_mb * 1e6 / 2))
    sizes = [_TENSOR] * (count // _TENSOR) + [count % _TENSOR] * bool(count % _TENSOR)
    changed = 0
    with base.open("wb") as old, new.open("wb") as newer:
        for stream in (old, newer):
            _write_header(stream, sizes)
        for before, after in _tensors(config, sizes, rng):
            changed += int((before != after).sum())
            old.write(before.tobytes())
            newer.write(after.tobytes())
    return changed, count


def _write_header(stream: BinaryIO, sizes: list[int]) -> None:
    entries, offset = {}, 0
    for number, size in enumerate(sizes):
        ends = [offset, offset + 2 * size]
        entries[f"{number:06d}"] = {"dtype": "BF16", "shape": [size], "data_offsets": ends}
        offset = ends[1]
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 8)
    stream.write(struct.pack("<Q", len(header)) + header)


def _tensors(
    config: DeltaBenchConfig, sizes: list[int], rng: np.random.Generator
) -> Iterator[tuple[NDArray[np.uint16], NDArray[np.uint16]]]:
    for size in sizes:
        drawn: Floats = rng.standard_normal(size, np.float32) * np.float32(config.spread)
        loaded = (to_bfloat16(drawn).astype(np.uint32) << np.uint32(16)).view(np.float32)
        before, after = _adam(config, size, rng)
        yield to_bfloat16(loaded + before), to_bfloat16(loaded + after)


def _adam(config: DeltaBenchConfig, size: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return what Adam's steps add up to at the base and after it, gradients of unit variance.

    Source: D. Kingma, J. Ba, Adam, arXiv 1412.6980, algorithm 1.
    """
    constant = rng.standard_normal(size, np.float32)
    first, second, total = (np.zeros(size, np.float32) for _ in range(3))
    base = total.copy()
    pull, noise = np.float32(config.coherence), np.float32((1 - config.coherence**2) ** 0.5)
    for step in range(1, config.age + config.updates + 1):
        gradient = pull * constant + noise * rng.standard_normal(size, np.float32)
        first += np.float32(1 - _BETAS[0]) * (gradient - first)
        second += np.float32(1 - _BETAS[1]) * (gradient * gradient - second)
        scale = np.float32(config.learning_rate / (1 - _BETAS[0] ** step))
        root = np.sqrt(second * np.float32(1 / (1 - _BETAS[1] ** step)))
        total -= scale * first / (root + np.float32(_EPSILON))
        if step == config.age:
            base = total.copy()
    return base, total
