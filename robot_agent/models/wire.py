"""Frames between a robot and a policy server: a JSON header and raw arrays, nothing that runs.

A frame is 12 bytes (magic, length of the header, length of the arrays), the header as JSON, and
the arrays' bytes in the header's order.
"""

import hashlib
import hmac
import json
import math
import os
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_agent.core.clock import Stopwatch
from robot_agent.core.errors import ConfigError, InputError, PolicyAwayError

Arrays = Mapping[str, NDArray[Any]]
_MAGIC = b"RAP1"
"""Name and version of the frames."""
_HEAD = struct.Struct("<4sII")
_MAX_HEADER_BYTES = 1 << 16
MAX_ARRAY_BYTES = 64 << 20
"""Four pictures of 2000x2000; more is no observation."""
_TYPES = {"B": np.dtype(np.uint8), "d": np.dtype(np.float64)}
"""Numpy's letters for what a frame may hold."""
_ENCODER = json.JSONEncoder(allow_nan=False)
_MAX_DIMENSIONS = 4
_BUFFER_BYTES = 1 << 20
MIN_TOKEN, _MAX_TOKEN = 16, 1024
SERVER = "server "
"""Before the robot's own challenge, so that no answer of a robot is one of a server."""


def send(
    peer: socket.socket,
    header: Mapping[str, Any],
    arrays: Arrays | None = None,
    *,
    timeout_s: float = 5.0,
) -> None:
    """Send one frame; PolicyAwayError when the peer is gone or does not take it in time."""
    plain = {name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()}
    described = [[name, array.dtype.char, array.shape] for name, array in plain.items()]
    words = _ENCODER.encode({**header, "arrays": described}).encode()
    size = sum(array.nbytes for array in plain.values())
    parts: list[bytes | memoryview] = [
        _HEAD.pack(_MAGIC, len(words), size) + words,
        *(array.data for array in plain.values()),
    ]
    try:
        _limit(peer, socket.SO_SNDTIMEO, timeout_s)
        sent = peer.sendmsg(parts)  # one call for all of it: a blocking socket takes it whole
    except OSError as error:
        raise PolicyAwayError(
            f"policy wire: the peer takes nothing ({error}). Is it running?"
        ) from error
    if sent != len(parts[0]) + size:
        raise PolicyAwayError(
            f"policy wire: the peer took {sent} bytes within {timeout_s:g} s, no more."
        )


def receive(
    peer: socket.socket, timeout_s: float
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the next frame's header and arrays, all of it within `timeout_s`.

    Raises:
        PolicyAwayError: Nothing came in time, or the peer is gone.
        InputError: It speaks something else; names the value and the limit.
    """
    watch = Stopwatch()
    _limit(peer, socket.SO_RCVTIMEO, timeout_s)
    magic, length, size = _HEAD.unpack(_read(peer, _HEAD.size, watch, timeout_s))
    if magic != _MAGIC:
        raise InputError(
            f"policy wire: a frame begins with {magic!r}, must be {_MAGIC!r}. The peer is no "
            f"policy server of this version."
        )
    if length > _MAX_HEADER_BYTES or size > MAX_ARRAY_BYTES:
        raise InputError(
            f"policy wire: a frame of {length} and {size} bytes, limits {_MAX_HEADER_BYTES} and "
            f"{MAX_ARRAY_BYTES}. Nothing of it was read."
        )
    content = _read(peer, length + size, watch, timeout_s)
    header = _header(bytes(content[:length]))
    return header, _arrays(header.pop("arrays", None), content[length:])


def read_token(path: Path) -> str:
    """Return the secret that robot and server share.

    Raises:
        ConfigError: No such file, others may read it, or it holds too little or too much.
    """
    remedy = f"Make one with: (umask 077; openssl rand -hex 16 > {path})"
    try:
        with path.open("rb") as file:
            mode, content = os.fstat(file.fileno()).st_mode, file.read(_MAX_TOKEN + 1)
    except OSError as error:
        raise ConfigError(f"token file {path}: {error.strerror}. {remedy}") from error
    if mode & 0o077:
        raise ConfigError(
            f"token file {path}: has mode {mode & 0o777:o}, must be 600, for its owner alone. "
            f"Run: chmod 600 {path}, and make another token if others may have read it."
        )
    token = content.decode("ascii", "replace").strip()
    if not MIN_TOKEN <= len(token) <= _MAX_TOKEN or not token.isascii():
        raise ConfigError(
            f"token file {path}: holds {len(token)} letters, must hold {MIN_TOKEN} to "
            f"{_MAX_TOKEN} of ASCII. {remedy}"
        )
    return token


def prove(token: str, nonce: str) -> str:
    """Return the answer to a challenge, which only who has the token can give."""
    return hmac.new(token.encode(), nonce.encode(), hashlib.sha256).hexdigest()


def is_proven(token: str, nonce: str, answer: object) -> bool:
    """Return whether an answer was made with the token; compares in constant time."""
    return isinstance(answer, str) and hmac.compare_digest(
        prove(token, nonce).encode(), answer.encode()
    )


def tune(peer: socket.socket) -> None:
    """Make a socket fit for frames: no delay, and room for a picture on the way."""
    peer.setblocking(True)  # limits are the kernel's own, which costs no call in between
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        peer.setsockopt(socket.SOL_SOCKET, buffer, _BUFFER_BYTES)


def _limit(peer: socket.socket, option: int, timeout_s: float) -> None:
    seconds, microseconds = divmod(max(round(timeout_s * 1e6), 1), 1_000_000)
    peer.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", seconds, microseconds))


def _read(peer: socket.socket, count: int, watch: Stopwatch, timeout_s: float) -> memoryview:
    """Return exactly `count` bytes, waited for in the kernel: twice the limit at the very most."""
    view, got = np.empty(count, np.uint8).data, 0
    while got < count:
        try:
            if watch.seconds() > timeout_s:
                raise TimeoutError
            received = peer.recv_into(view[got:], count - got, socket.MSG_WAITALL)
        except (TimeoutError, BlockingIOError) as error:
            raise PolicyAwayError(
                f"policy wire: no answer within {timeout_s:g} s. The server is slow, gone, or "
                f"serves another robot."
            ) from error
        except OSError as error:
            raise PolicyAwayError(f"policy wire: the connection broke ({error}).") from error
        if not received:
            raise PolicyAwayError("policy wire: the peer closed the connection. Look at its log.")
        got += received
    return view


def _header(words: bytes) -> dict[str, Any]:
    try:
        header = json.loads(words)
    except (ValueError, RecursionError) as error:
        raise InputError(f"policy wire: a header is no JSON ({error}).") from error
    if not isinstance(header, dict) or not isinstance(header.get("kind"), str):
        raise InputError("policy wire: a header names no kind, must be an object with one.")
    return header


def _arrays(described: Any, content: memoryview) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    start = 0
    if not isinstance(described, list):
        raise InputError("policy wire: a header describes no arrays, must list them.")
    for entry in described:
        name, kind, shape = _entry(entry)
        count = math.prod(shape)
        end = start + count * kind.itemsize
        if end > len(content) or name in arrays:
            raise InputError(f"policy wire: array '{name}' does not fit its frame.")
        arrays[name] = np.frombuffer(content, kind, count, start).reshape(shape)
        start = end
    if start != len(content):
        raise InputError(f"policy wire: {len(content) - start} bytes belong to no array.")
    return arrays


def _entry(entry: Any) -> tuple[str, Any, tuple[int, ...]]:
    if isinstance(entry, list) and len(entry) == 3:
        name, kind, shape = entry
        is_known = isinstance(name, str) and isinstance(kind, str) and kind in _TYPES
        if is_known and _is_shape(shape):
            return name, _TYPES[kind], tuple(shape)
    raise InputError(
        f"policy wire: array {str(entry)[:80]}, must be a name, one of "
        f"{', '.join(_TYPES)} (numpy's letters), and a shape of positive sides."
    )


def _is_shape(shape: Any) -> bool:
    return (
        isinstance(shape, list)
        and len(shape) <= _MAX_DIMENSIONS
        and all(type(side) is int and 0 < side <= MAX_ARRAY_BYTES for side in shape)
    )
