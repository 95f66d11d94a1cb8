"""Kills a program, or lets the kernel refuse, at each system call that it makes on files.

A warm process forks a child for each point, strace takes hold of it and injects at the n-th call
of one name. Unlike `crash_points`, which stops at Python's functions, this reaches every call.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from tests.store.system_calls import require_strace

Action = Callable[[Callable[[str], None]], None]
ERRORS = ("ENOSPC", "EIO", "EROFS", "EMFILE", "EDQUOT")
KILL = "SIGKILL"
_OF_FILES = "%file,%desc"
_REPORT = "writev"
"""The call that reports; a fault there would hide what was done."""
_GO = signal.SIGUSR1
_WAIT_S = 20.0


@dataclass(frozen=True)
class Point:
    """The n-th call of a name."""

    call: str
    number: int


@dataclass(frozen=True)
class Ended:
    """How a child ended."""

    killed: bool
    acks: tuple[str, ...]
    """What it reported as done, and `error:` with the kind of exception that ended it."""


def points_of(action: Action) -> list[Point]:
    """Return every call on files that `action` makes, in order."""
    with tempfile.NamedTemporaryFile("r") as log:
        _run(action, ["-e", f"trace={_OF_FILES}", "-o", log.name])
        names = re.findall(r"^(?:\d+ +)?(\w+)\(", log.read(), re.MULTILINE)
    seen: Counter[str] = Counter()
    points = []
    for name in names:
        seen[name] += 1
        if name == _REPORT:
            continue
        points.append(Point(name, seen[name]))
    return points


def run_to(action: Action, point: Point, fault: str) -> Ended:
    """Run `action` in a child that is killed, or refused with an error, at `point`."""
    what = "signal=SIGKILL" if fault == KILL else f"error={fault}"
    injected = f"inject={point.call}:{what}:when={point.number}"
    words = ["-e", f"trace={point.call}", "-e", injected, "-o", "/dev/null"]
    return _run(action, words)


def _run(action: Action, words: list[str]) -> Ended:
    require_strace()
    told = os.pipe()
    signal.pthread_sigmask(signal.SIG_BLOCK, {_GO})
    pid = os.fork()
    if pid == 0:
        _child(action, told)
    os.close(told[1])
    tracer = subprocess.Popen(
        ["strace", "-p", str(pid), *words], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    try:
        _await_attached(tracer)
        os.kill(pid, _GO)
        acks = _read_all(told[0])
        _, status = os.waitpid(pid, 0)
    finally:
        tracer.kill()
        tracer.communicate()
    return Ended(os.WIFSIGNALED(status), tuple(acks.decode().split("\n")[:-1]))


def _await_attached(tracer: subprocess.Popen[bytes]) -> None:
    assert tracer.stderr is not None
    ready, _, _ = select.select([tracer.stderr], [], [], _WAIT_S)
    line = tracer.stderr.readline() if ready else b"(nothing)"
    if b"attached" not in line:
        raise RuntimeError(f"strace said {line!r}, must attach. May this process use ptrace?")


def _read_all(descriptor: int) -> bytes:
    parts = []
    while part := os.read(descriptor, 1 << 16):
        parts.append(part)
    os.close(descriptor)
    return b"".join(parts)


def _child(action: Action, told: tuple[int, int]) -> None:
    code = 1
    try:
        os.close(told[0])
        signal.alarm(int(_WAIT_S))
        signal.sigwait({_GO})  # no call on files, so that strace counts only what comes after
        action(lambda text: _tell(told[1], text))
        code = 0
    except BaseException as problem:  # noqa: BLE001  # the child must end here whatever happens
        _tell(told[1], f"error:{type(problem).__name__}:{problem}".replace("\n", " "))
    finally:
        os._exit(code)


def _tell(descriptor: int, text: str) -> None:
    """Report by a call that is not injected into: what was done is done."""
    os.writev(descriptor, [f"{text}\n".encode()])


Live = Callable[[Path, Callable[[str], None]], None]
Problems = Callable[[Path, Sequence[str]], list[str]]


def sweep(live: Live, problems: Problems, faults: Sequence[str], share: int) -> dict[str, object]:
    """Try every `share`-th pair of a call and a fault; return how many, and what broke.

    One process for each processor, held to it with what it forks and traces: a call that is
    traced changes process four times, and on one processor that is fast.
    """
    with tempfile.TemporaryDirectory(dir=_memory()) as scratch:
        live(_new(scratch), lambda _: None)  # imports and caches are done once
        points = points_of(_prepared(live, scratch))
        pairs = [(point, fault) for fault in faults for point in points][::share]
        processors = sorted(os.sched_getaffinity(0))
        parts = [pairs[number :: len(processors)] for number in range(len(processors))]
        with ProcessPoolExecutor(len(parts), mp_context=get_context("fork")) as workers:
            begun = [
                workers.submit(_try_all, live, problems, scratch, processor, part)
                for processor, part in zip(processors, parts, strict=True)
            ]
            found = [work.result() for work in begun]
    calls = dict(Counter(point.call for point in points))
    bad = [problem for words, _ in found for problem in words]
    unhit = sum(count for _, count in found)
    return {"points": len(points), "calls": calls, "tried": len(pairs), "bad": bad,
            "not_killed": unhit}  # fmt: skip


def _try_all(
    live: Live,
    problems: Problems,
    scratch: str,
    processor: int,
    pairs: Sequence[tuple[Point, str]],
) -> tuple[list[str], int]:
    """Return what broke, and how many should have been killed and were not."""
    os.sched_setaffinity(0, {processor})
    bad, unhit = [], 0
    for point, fault in pairs:
        folder = _new(scratch)
        ended = run_to(lambda acknowledge, folder=folder: live(folder, acknowledge), point, fault)
        unhit += fault == KILL and not ended.killed
        acks = [ack for ack in ended.acks if not ack.startswith("error:")]
        found = problems(folder, acks)
        found += [ack for ack in ended.acks if _is_untidy(ack)]
        bad += [f"{fault} at {point.call} {point.number}: {problem}" for problem in found]
        shutil.rmtree(folder, ignore_errors=True)
    return bad, unhit


def _new(scratch: str) -> Path:
    return Path(tempfile.mkdtemp(dir=scratch))


def _prepared(live: Live, scratch: str) -> Action:
    folder = _new(scratch)
    return lambda acknowledge: live(folder, acknowledge)


def _is_untidy(ack: str) -> bool:
    """Return whether a program ended by an error that tells nobody what to do."""
    tidy = ("error:StorageError:", "error:BundleRejectedError:", "error:MemoryError:")
    return ack.startswith("error:") and not ack.startswith(tidy)


def _memory() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
