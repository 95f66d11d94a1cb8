"""Really kills a process, or makes the disk refuse, at each change that it makes to the disk.

A warm process forks a child per point. The child counts its calls into the system by a profile
hook and dies by SIGKILL, or gets an OSError, at the chosen one: before or after the call.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass

CALLS = frozenset(
    {"write", "pwrite", "fsync", "mkdir", "rename", "replace", "ftruncate", "open", "unlink"}
)


@dataclass
class Outcome:
    """How a child ended."""

    killed: bool
    acknowledged: list[str]
    """What it reported as done before it ended."""


def count_points(action: Callable[[Callable[[str], None]], None]) -> int:
    """Return how many points `action` has: two per call, before and after it."""
    seen = 0

    def hook(frame: object, event: str, function: object) -> None:
        nonlocal seen
        seen += _counts(event, function)

    def acknowledge(name: str) -> None:
        sys.setprofile(None)
        sys.setprofile(hook)

    sys.setprofile(hook)
    try:
        action(acknowledge)
    finally:
        sys.setprofile(None)
    return seen


def run_to_point(
    action: Callable[[Callable[[str], None]], None], point: int, error: int | None = None
) -> Outcome:
    """Run `action(acknowledge)` in a child that is killed (or gets `error`) at `point`."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _child(action, point, error, writing)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        acknowledged = pipe.read().split()
    _, status = os.waitpid(pid, 0)
    return Outcome(os.WIFSIGNALED(status), acknowledged)


def _child(
    action: Callable[[Callable[[str], None]], None], point: int, error: int | None, writing: int
) -> None:
    seen = 0

    def hook(frame: object, event: str, function: object) -> None:
        nonlocal seen
        seen += _counts(event, function)
        if seen == point:
            seen += 1
            if error is None:
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(error, os.strerror(error))

    def acknowledge(name: str) -> None:
        sys.setprofile(None)
        os.write(writing, f"{name}\n".encode())
        sys.setprofile(hook)

    code = 0
    sys.setprofile(hook)
    try:
        action(acknowledge)
    except Exception as problem:  # noqa: BLE001  # the child must end here whatever happens
        sys.setprofile(None)
        code = 1
        os.write(writing, f"error:{type(problem).__name__}\n".encode())
    os._exit(code)


def _counts(event: str, function: object) -> int:
    if event not in {"c_call", "c_return"} or getattr(function, "__name__", "") not in CALLS:
        return 0
    return int(not isinstance(getattr(function, "__self__", None), io.BytesIO))


NO_SPACE, FAILING = errno.ENOSPC, errno.EIO
