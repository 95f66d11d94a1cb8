"""A low-rank adapter on a named base: weights that travel as two thin matrices for each tensor.

The whole weights are base + alpha / rank * B @ A, rounded to the base's type, and the signed
manifest speaks of them. Everyone must round alike, so the product is summed in float64, one rank
after the other, by operations that IEEE 754 defines; no matrix library orders them its own way.
Merging holds the weights in memory three times.

Layout: a safetensors file with `X.lora_A.weight` (rank, in) and `X.lora_B.weight` (out, rank) in
float32 for a tensor `X.weight` (out, in), and in its metadata the base, the result and the scale.

Source: Hu et al., LoRA (arXiv 2106.09685), equation 3 and section 4.1; names as in peft 0.17.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save as save_tensors

from robot_agent.core.errors import BundleRejectedError, InputError
from robot_agent.release.manifest import FileRecord
from robot_agent.release.tensors import Tensors, load_tensors
from robot_agent.store.strict_json import parse_json_object

ADAPTER_NAME = "policy.adapter"
_DOWN, _UP = ".lora_A.weight", ".lora_B.weight"
_ROWS = 1 << 20
"""Numbers of a tensor that are merged at once."""
_FLOATS = {"F64": np.float64, "F32": np.float32, "F16": np.float16}


@dataclass(frozen=True, kw_only=True)
class AdapterHeader:
    """From what to what an adapter leads."""

    base: str
    """Hash of the base's manifest."""
    base_sha256: str
    """Of the base's weights."""
    sha256: str
    """Of the merged weights."""
    rank: int
    alpha: float


def merged(base: bytes, adapter: Tensors, alpha: float) -> bytes:
    """Return the safetensors file of `base` with an adapter merged in, the same everywhere.

    Raises:
        InputError: A matrix is missing, has another shape, or belongs to no tensor of the base.
    """
    start = 8 + int.from_bytes(base[:8], "little")
    entries = parse_json_object(base[8:start], start)
    pairs = _pairs(adapter, entries)
    parts = [base[:start]]
    for name, entry in sorted(_located(entries), key=lambda item: item[1]["data_offsets"]):
        begin, end = (start + offset for offset in entry["data_offsets"])
        content = memoryview(base)[begin:end]
        if name in pairs:
            parts.append(_merge_one(content, entry, *pairs[name], alpha))
        else:
            parts.append(bytes(content))
    return b"".join(parts)


def write_adapter(
    base: bytes, new: bytes, adapter: Tensors, *, base_hash: str, alpha: float
) -> bytes:
    """Return the file that leads from `base` to `new`.

    Raises:
        InputError: It would not: the weights were merged in another way, or changed since.
    """
    found = hashlib.sha256(merged(base, adapter, alpha)).hexdigest()
    wanted = hashlib.sha256(new).hexdigest()
    if found != wanted:
        raise InputError(
            f"adapter: merged into the base it gives weights {found[:12]}, must give "
            f"{wanted[:12]}, those of the release. Merge with release.adapter.merged before "
            f"signing, or export a delta."
        )
    ranks = {matrix.shape[0] for name, matrix in adapter.items() if name.endswith(_DOWN)}
    header = AdapterHeader(
        base=base_hash,
        base_sha256=hashlib.sha256(base).hexdigest(),
        sha256=wanted,
        rank=max(ranks),
        alpha=float(alpha),
    )
    metadata = {name: json.dumps(value) for name, value in asdict(header).items()}
    return save_tensors({n: np.ascontiguousarray(m) for n, m in adapter.items()}, metadata)


def read_saved(content: bytes, file: str) -> tuple[dict[str, NDArray[Any]], float]:
    """Return the matrices and alpha of an adapter as training saves it (`save_adapter`)."""
    try:
        about = _metadata(content)
        return load_tensors(content), float(json.loads(about["lora"])["alpha"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{file}: is no saved adapter ({error}), must hold alpha and matrices. Save it again."
        ) from error


def _metadata(content: bytes) -> dict[str, str]:
    start = 8 + int.from_bytes(content[:8], "little")
    return dict(parse_json_object(content[8:start], start)["__metadata__"])


def read_adapter(content: bytes, bundle: str) -> tuple[AdapterHeader, dict[str, NDArray[Any]]]:
    """Return what an adapter says of itself and its matrices; BundleRejectedError when none."""
    try:
        about = _metadata(content)
        header = AdapterHeader(**{name: json.loads(value) for name, value in about.items()})
        fits = (
            all(type(value) is str for value in (header.base, header.base_sha256, header.sha256))
            and type(header.rank) is int
            and type(header.alpha) is float
            and math.isfinite(header.alpha)
        )
        if not fits:
            raise ValueError(f"fields {about}")
        return header, load_tensors(content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleRejectedError(bundle, f"{ADAPTER_NAME} header", error, "an adapter") from error


def apply_adapter(base: bytes, content: bytes, wanted: FileRecord, bundle: str) -> bytes:
    """Return the merged weights after comparing them with what the signed manifest says.

    Raises:
        BundleRejectedError: Names the adapter, the check, the value and the limit.
    """
    header, adapter = read_adapter(content, bundle)
    if header.sha256 != wanted.sha256:
        raise BundleRejectedError(bundle, f"{ADAPTER_NAME} result", header.sha256, wanted.sha256)
    found = hashlib.sha256(base).hexdigest()
    if found != header.base_sha256:
        raise BundleRejectedError(bundle, f"{ADAPTER_NAME} base", found, header.base_sha256)
    try:
        whole = merged(base, adapter, header.alpha)
    except InputError as error:
        raise BundleRejectedError(bundle, ADAPTER_NAME, error, "fitting its base") from error
    sha256 = hashlib.sha256(whole).hexdigest()
    if sha256 != wanted.sha256:
        raise BundleRejectedError(bundle, f"{ADAPTER_NAME} sha256", sha256, wanted.sha256)
    return whole


def _located(entries: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((name, entry) for name, entry in entries.items() if name != "__metadata__")


def _pairs(
    adapter: Tensors, entries: Mapping[str, Any]
) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    """Return A and B by the name of the tensor that they change."""
    stems = {name.removesuffix(_DOWN).removesuffix(_UP) for name in adapter}
    pairs = {}
    for stem in sorted(stems):
        down, up, entry = (
            adapter.get(stem + _DOWN), adapter.get(stem + _UP), entries.get(f"{stem}.weight"),
        )  # fmt: skip
        if down is None or up is None or entry is None:
            raise InputError(
                f"adapter: {stem} has {'no ' if entry is None else 'a '}tensor in the base, must "
                f"have one, and both of its matrices. Is it an adapter of this base?"
            )
        shape, fits = list(entry["shape"]), down.ndim == up.ndim == 2
        if not fits or [len(up), down.shape[1]] != shape or len(down) != up.shape[1]:
            raise InputError(
                f"adapter: {stem} is {up.shape} times {down.shape}, must give {shape}. Is it an "
                f"adapter of this base?"
            )
        if not (np.isfinite(down).all() and np.isfinite(up).all()):
            raise InputError(f"adapter: {stem} is not finite, must be. Train it again.")
        pairs[f"{stem}.weight"] = down, up
    if not pairs:
        raise InputError("adapter: has no matrices, must have at least one pair.")
    return pairs


def _merge_one(
    content: memoryview,
    entry: Mapping[str, Any],
    down: NDArray[Any],
    up: NDArray[Any],
    alpha: float,
) -> bytes:
    kind, columns = entry["dtype"], down.shape[1]
    if kind != "BF16" and kind not in _FLOATS:
        raise InputError(f"adapter: a tensor of {kind} cannot be adapted, must hold floats.")
    plain = np.dtype("<u2") if kind == "BF16" else np.dtype(_FLOATS[kind]).newbyteorder("<")
    old = np.frombuffer(content, plain).reshape(-1, columns)
    step, scale, parts = max(_ROWS // columns, 1), alpha / len(down), []
    a_matrix, b_matrix = down.astype(np.float64), up.astype(np.float64)
    for first in range(0, len(old), step):
        rows = old[first : first + step]
        change = np.zeros(rows.shape)
        for index in range(len(a_matrix)):
            change += b_matrix[first : first + step, index, None] * a_matrix[index]
        parts.append(_rounded(_widened(rows, kind) + scale * change, kind, plain))
    return b"".join(parts)


def _widened(rows: NDArray[Any], kind: str) -> NDArray[np.float64]:
    if kind == "BF16":
        return (rows.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return rows.astype(np.float64)


def _rounded(values: NDArray[np.float64], kind: str, plain: np.dtype[Any]) -> bytes:
    """Return numbers in the base's type, rounded to nearest, ties to even."""
    if kind != "BF16":
        return values.astype(plain).tobytes()
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()
