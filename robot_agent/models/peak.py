"""Wall time and peak memory of a stage of work, and a number of torch threads for its length."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from robot_agent.core.clock import Stopwatch

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
_RESET_PEAK = "5"


@dataclass
class Stage:
    """What a stage took."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    """Of all threads; what a busy machine does not change."""
    peak_memory_mb: float = 0.0
    """Largest resident memory of the process during the stage."""


@contextmanager
def measured() -> Iterator[Stage]:
    """Measure the block; where the system cannot forget a peak, the peak so far is told."""
    with suppress(OSError):  # not Linux: the peak of the process so far is an upper bound then
        _CLEAR.write_text(_RESET_PEAK, "ascii")
    stage, watch, spent = Stage(), Stopwatch(), _cpu_seconds()
    yield stage
    stage.seconds, stage.cpu_seconds = watch.seconds(), _cpu_seconds() - spent
    stage.peak_memory_mb = peak_memory_mb()


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def resident_mb() -> float:
    """Return the resident memory of this process now."""
    return _status_mb("VmRSS")


def peak_memory_mb() -> float:
    """Return the largest resident memory since the last stage began."""
    return _status_mb("VmHWM")


def _status_mb(key: str) -> float:
    try:
        lines = _STATUS.read_text("ascii").splitlines()
        return float(next(line for line in lines if line.startswith(key)).split()[1]) / 1024.0
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use this many threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
