"""What is inside a safetensors file: names, shapes, types, finite numbers, norms."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize

Tensors = Mapping[str, NDArray[Any]]

_NUMPY_TYPES = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U8": np.uint8,
    "BOOL": np.bool_,
}
"""Types that a bundle may hold, besides BF16, which numpy lacks."""


_BLOCK = 8192
"""Numbers; OpenBLAS uses several threads from 10,000 on, which would wait for busy cores."""


@dataclass(frozen=True)
class TensorSummary:
    """One tensor, measured without a framework."""

    shape: tuple[int, ...]
    dtype: str
    is_finite: bool
    norm: float
    """Euclidean norm of the values, in float64."""


def summarize(content: bytes) -> dict[str, TensorSummary]:
    """Return a summary of every tensor in the bytes of a safetensors file.

    Raises:
        ValueError: The bytes are no safetensors file, or hold a type outside the allow-list.
    """
    return {name: _summary(entry) for name, entry in _entries(content)}


def load_tensors(content: bytes) -> dict[str, NDArray[Any]]:
    """Return every tensor; BF16 as float32. ValueError as `summarize`."""
    return {name: _values(entry) for name, entry in _entries(content)}


def first_not_finite(summaries: Mapping[str, TensorSummary]) -> str | None:
    """Return the name of a tensor with NaN or infinity, or None."""
    return next((name for name, tensor in summaries.items() if not tensor.is_finite), None)


def digests(content: bytes) -> dict[str, str]:
    """Return a SHA-256 over type, shape and bytes of every tensor. ValueError as `summarize`."""
    return {
        name: hashlib.sha256(
            f"{entry['dtype']}{list(entry['shape'])}".encode() + bytes(entry["data"])
        ).hexdigest()
        for name, entry in _entries(content)
    }


def first_difference(content: bytes, other: bytes) -> str | None:
    """Return the first tensor that two safetensors files do not share bit for bit, or None."""
    ours, theirs = digests(content), digests(other)
    names = sorted(ours.keys() | theirs.keys())
    return next((name for name in names if ours.get(name) != theirs.get(name)), None)


def largest_norm_ratio(
    summaries: Mapping[str, TensorSummary], parent: Mapping[str, TensorSummary]
) -> tuple[str, float]:
    """Return the tensor whose norm changed most from its parent, and max(new/old, old/new).

    Norms below 1e-6 count as 1e-6, so that two tensors of zeros have ratio 1. The sets of names
    must be equal.
    """
    worst, ratio = "", 1.0
    for name, tensor in summaries.items():
        new, old = max(tensor.norm, 1e-6), max(parent[name].norm, 1e-6)
        change = max(new / old, old / new)
        if change > ratio:
            worst, ratio = name, change
    return worst, ratio


def layout(summaries: Mapping[str, TensorSummary]) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return names, shapes and types: what two bundles of one architecture share."""
    return {name: (tensor.shape, tensor.dtype) for name, tensor in summaries.items()}


def _entries(content: bytes) -> list[tuple[str, dict[str, Any]]]:
    try:
        entries: list[tuple[str, dict[str, Any]]] = deserialize(content)  # type: ignore[no-untyped-call]  # no stubs
    except SafetensorError as error:
        raise ValueError(f"no safetensors file ({error})") from error
    for name, entry in entries:
        if entry["dtype"] not in _NUMPY_TYPES and entry["dtype"] != "BF16":
            raise ValueError(f"type {entry['dtype']} of {name}")
    return sorted(entries, key=lambda item: item[0])


def _values(entry: dict[str, Any]) -> NDArray[Any]:
    if entry["dtype"] == "BF16":
        high = np.frombuffer(entry["data"], "<u2").astype(np.uint32) << 16
        return high.view(np.float32).reshape(entry["shape"])
    kind = np.dtype(_NUMPY_TYPES[entry["dtype"]]).newbyteorder("<")
    return np.frombuffer(entry["data"], kind).reshape(entry["shape"])


def _summary(entry: dict[str, Any]) -> TensorSummary:
    values = _values(entry)
    square = _sum_of_squares(values)
    # Squares of anything but float64 cannot pass the range of float64: finite then means all are.
    finite = math.isfinite(square) or values.dtype.kind != "f" or bool(np.isfinite(values).all())
    norm = math.sqrt(square) if finite else math.nan
    return TensorSummary(tuple(entry["shape"]), str(entry["dtype"]), finite, norm)


def _sum_of_squares(values: NDArray[Any]) -> float:
    """Return the sum in float64, in blocks that fit a cache and that BLAS leaves to one thread."""
    flat, total = values.ravel(), 0.0
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK].astype(np.float64)
        total += float(block @ block)
    return total
