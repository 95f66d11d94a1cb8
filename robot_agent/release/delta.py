"""A delta: what turns one file of weights into another, exactly, in far fewer bytes.

A step of reinforcement learning moves few 16-bit weights to a neighbouring number and leaves the
others. Both files are read as little-endian words, in blocks. Small numbers stand close together,
so they change more often: each block is sorted by the exponents of the base, which both sides
know, and cut into segments of like numbers. A segment holds its differences as gaps and values
where they are rare, else all of them. Nothing here is trusted: a reader compares the result with
the size and hash in a signed manifest.

Layout: magic, u32 length of the header, header (canonical JSON), then per segment: kind u8, u32
and u32 lengths of two deflated streams (RFC 1950), the streams.
"""

import hashlib
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from robot_agent.core.errors import BundleRejectedError, InputError
from robot_agent.release.manifest import FileRecord
from robot_agent.store.strict_json import canonical_json, parse_json_object

Words = NDArray[Any]
"""Unsigned words (N,) of 2 or 4 bytes."""

DELTA_NAME = "policy.delta"
SCHEMA = 1
BLOCK_WORDS = 1 << 20
_SEGMENT_WORDS = 1 << 15
_MAGIC = b"weights delta\n"
_MAX_HEADER_BYTES = 4096
_EQUAL, _SPARSE, _DENSE = 0, 1, 2
_SPARSE_SHARE, _DENSE_SHARE = 4, 32
"""Up to one changed word in 4 gaps are tried, from one in 32 on all differences; the shorter."""
_ESCAPE = 255
"""A gap byte that says: so far, and further."""


@dataclass(frozen=True, kw_only=True)
class DeltaHeader:
    """From what to what a delta leads."""

    base: str
    """Hash of the base's manifest."""
    base_sha256: str
    """Of the base's weights."""
    sha256: str
    """Of the rebuilt weights."""
    size: int
    """Bytes of the weights, the same on both sides."""
    word: int
    """Bytes of a word, 2 or 4."""
    schema: int = SCHEMA


def write_delta(
    base: BinaryIO, new: BinaryIO, target: BinaryIO, *, base_hash: str, word: int = 2
) -> DeltaHeader:
    """Write what leads from `base` to `new` into `target`, in blocks; return its header.

    Raises:
        InputError: The files differ in size: weights of another layout have no delta.
    """
    if word not in (2, 4):
        raise InputError(f"delta: word={word} bytes, must be 2 or 4. Use that of the weights.")
    sizes = [stream.seek(0, 2) for stream in (base, new)]
    if sizes[0] != sizes[1]:
        raise InputError(
            f"delta: {sizes[1]} bytes of weights on a base of {sizes[0]}, must be equal. "
            f"Send the whole weights."
        )
    header = DeltaHeader(
        base=base_hash, base_sha256=_sha256(base), sha256=_sha256(new), size=sizes[1], word=word
    )
    encoded = canonical_json(asdict(header))
    target.write(_MAGIC + struct.pack("<I", len(encoded)) + encoded)
    for old, newer in zip(_blocks(base, word), _blocks(new, word), strict=True):
        for segment in _segments(_folded(old, newer)[_order(old)]):
            target.write(_encode(segment))
    return header


def read_header(delta: BinaryIO, bundle: str) -> DeltaHeader:
    """Return the header at the start of a delta; BundleRejectedError names what is wrong."""
    limit = "the header of a delta"
    start = delta.read(len(_MAGIC) + 4)
    if len(start) != len(_MAGIC) + 4 or not start.startswith(_MAGIC):
        raise BundleRejectedError(bundle, f"{DELTA_NAME} magic", start[:32], limit)
    (length,) = struct.unpack("<I", start[len(_MAGIC) :])
    if length > _MAX_HEADER_BYTES:
        limit = f"at most {_MAX_HEADER_BYTES} bytes"
        raise BundleRejectedError(bundle, f"{DELTA_NAME} header size", length, limit)
    content = delta.read(length)
    try:
        fields = parse_json_object(content, _MAX_HEADER_BYTES)
        header = DeltaHeader(**fields)
        is_sane = canonical_json(asdict(header)) == content and type(header.word) is int
    except (ValueError, TypeError) as error:
        raise BundleRejectedError(bundle, f"{DELTA_NAME} header", error, limit) from error
    if not is_sane or header.schema != SCHEMA or header.word not in (2, 4):
        raise BundleRejectedError(bundle, f"{DELTA_NAME} header", fields, f"schema {SCHEMA}")
    return header


def apply_delta(
    base: BinaryIO, delta: BinaryIO, target: BinaryIO, wanted: FileRecord, bundle: str
) -> None:
    """Rebuild weights into `target` and compare them with what the signed manifest says.

    At most `wanted.size` bytes are written and no stream is inflated beyond its block, so that a
    hostile delta cannot fill memory or disk. What was written before an error is worth nothing.

    Raises:
        BundleRejectedError: Names the delta, the check, the value and the limit.
    """
    header = read_header(delta, bundle)
    if (header.sha256, header.size) != (wanted.sha256, wanted.size):
        value, limit = (header.sha256, header.size), (wanted.sha256, wanted.size)
        raise BundleRejectedError(bundle, f"{DELTA_NAME} result", value, limit)
    size = base.seek(0, 2)
    found = _sha256(base)
    if (found, size) != (header.base_sha256, header.size):
        limit = (header.base_sha256, header.size)
        raise BundleRejectedError(bundle, f"{DELTA_NAME} base", (found, size), limit)
    sha256, left = hashlib.sha256(), wanted.size
    for number, old in enumerate(_blocks(base, header.word)):
        try:
            content = _decode_block(old, delta)[:left]
        except ValueError as error:
            check = f"{DELTA_NAME} block {number}"
            raise BundleRejectedError(bundle, check, error, "whole") from error
        left -= len(content)
        sha256.update(content)
        target.write(content)
    if delta.read(1):
        raise BundleRejectedError(bundle, f"{DELTA_NAME} end", "followed by more", "the end")
    if left or sha256.hexdigest() != wanted.sha256:
        raise BundleRejectedError(
            bundle, f"{DELTA_NAME} sha256", sha256.hexdigest(), wanted.sha256
        )


def word_of(weights: Path) -> int:
    """Return the bytes of most numbers in a safetensors file: 2 for 16-bit weights, else 4."""
    from safetensors import safe_open

    sizes = {2: 0, 4: 0}
    with safe_open(str(weights), "numpy") as file:
        for name in file.keys():  # noqa: SIM118 - the handle is no mapping
            part = file.get_slice(name)
            count = int(np.prod(part.get_shape(), dtype=np.int64))
            sizes[2 if part.get_dtype() in ("BF16", "F16", "I16") else 4] += count
    return 2 if sizes[2] > sizes[4] else 4


def _sha256(stream: BinaryIO) -> str:
    stream.seek(0)
    digest = hashlib.sha256()
    while piece := stream.read(1 << 20):
        digest.update(piece)
    stream.seek(0)
    return digest.hexdigest()


def _blocks(stream: BinaryIO, word: int) -> Iterator[Words]:
    """Yield the words of a file in blocks; zeros fill the last word."""
    stream.seek(0)
    while piece := stream.read(BLOCK_WORDS * word):
        piece += bytes(-len(piece) % word)
        yield np.frombuffer(piece, f"<u{word}")


def _order(old: Words) -> NDArray[np.int64]:
    """Return the places of a block's words by the magnitude of the base, the same everywhere."""
    shift = 7 if old.itemsize == 2 else 23  # where the exponent of bf16, and of float32, begins
    return np.argsort(((old >> shift) & 0xFF).astype(np.uint8), kind="stable")


def _segments(words: Words) -> Iterator[Words]:
    for start in range(0, len(words), _SEGMENT_WORDS):
        yield words[start : start + _SEGMENT_WORDS]


def _folded(old: Words, new: Words) -> Words:
    """Return the differences modulo the word: 0, -1, 1, -2 ... become 0, 1, 2, 3 ..."""
    change = (new - old).view(f"<i{new.itemsize}")
    return ((change << 1) ^ (change >> (8 * change.itemsize - 1))).view(new.dtype)


def _decode_block(old: Words, delta: BinaryIO) -> bytes:
    """Return one block of the new file; ValueError when the delta does not spell one."""
    order, folded = _order(old), np.empty_like(old)
    parts = [_decode(len(segment), old.dtype, delta) for segment in _segments(order)]
    folded[order] = np.concatenate(parts)
    half, odd = folded >> 1, folded & 1
    return (old + (half ^ (np.zeros_like(odd) - odd))).astype(old.dtype).tobytes()


def _encode(folded: Words) -> bytes:
    """Return one segment of folded differences."""
    places = np.flatnonzero(folded)
    if not len(places):
        return _framed(_EQUAL, b"", b"")
    candidates = []
    if len(places) <= len(folded) // _SPARSE_SHARE:
        gaps = np.diff(places, prepend=-1) - 1
        escapes, rest = np.divmod(gaps, _ESCAPE)
        stream = np.full(len(gaps) + int(escapes.sum()), _ESCAPE, np.uint8)
        stream[np.cumsum(escapes + 1) - 1] = rest
        candidates.append(_framed(_SPARSE, stream.tobytes(), _planes(folded[places])))
    if len(places) >= len(folded) // _DENSE_SHARE:
        candidates.append(_framed(_DENSE, b"", _planes(folded)))
    return min(candidates, key=len)


def _decode(count: int, dtype: np.dtype[Any], delta: BinaryIO) -> Words:
    """Return one segment of `count` folded differences."""
    size = count * dtype.itemsize
    kind, *lengths = struct.unpack("<BII", _exactly(delta, 9))
    if max(lengths) > 2 * size + 1024:
        raise ValueError(f"{max(lengths)} bytes for a segment of {size}")
    streams = [_exactly(delta, length) for length in lengths]
    folded = np.zeros(count, dtype)
    if kind == _EQUAL and lengths == [0, 0]:
        return folded
    if kind == _DENSE and not lengths[0]:
        return _words(_inflate(streams[1], size), dtype, count)
    if kind == _SPARSE:
        places = _places(_inflate(streams[0], 2 * count), count)
        folded[places] = _words(_inflate(streams[1], size), dtype, len(places))
        return folded
    raise ValueError(f"kind {kind} with streams of {lengths} bytes")


def _places(stream: bytes, count: int) -> NDArray[np.int64]:
    """Return the positions that the gap bytes spell, all below `count`."""
    gaps = np.frombuffer(stream, np.uint8)
    ends = np.flatnonzero(gaps != _ESCAPE)
    if not len(ends) or ends[-1] != len(gaps) - 1:
        raise ValueError("a gap without an end")
    places: NDArray[np.int64] = np.cumsum(gaps, dtype=np.int64)[ends] + np.arange(len(ends))
    if places[-1] >= count:
        raise ValueError(f"word {places[-1]} of a block of {count}")
    return places


def _planes(words: Words) -> bytes:
    """Return all low bytes, then all higher ones: what is mostly zero stands together."""
    return words.view(np.uint8).reshape(len(words), -1).T.tobytes()


def _words(planes: bytes, dtype: np.dtype[Any], count: int) -> Words:
    if len(planes) != count * dtype.itemsize:
        raise ValueError(f"{len(planes)} bytes of values for {count} words")
    columns = np.frombuffer(planes, np.uint8).reshape(dtype.itemsize, -1)
    return np.ascontiguousarray(columns.T).view(dtype).ravel()


def _framed(kind: int, *streams: bytes) -> bytes:
    packed: Sequence[bytes] = [zlib.compress(s, 9) if s else b"" for s in streams]
    return struct.pack("<BII", kind, *map(len, packed)) + b"".join(packed)


def _inflate(stream: bytes, max_bytes: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        content = inflater.decompress(stream, max_bytes + 1)
    except zlib.error as error:
        raise ValueError(error) from error
    if len(content) > max_bytes or not inflater.eof or inflater.unused_data:
        raise ValueError(f"a stream that does not end within {max_bytes} bytes")
    return content


def _exactly(stream: BinaryIO, length: int) -> bytes:
    content = stream.read(length)
    if len(content) != length:
        raise ValueError(f"cut short: {len(content)} of {length} bytes")
    return content
