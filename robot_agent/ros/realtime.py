"""Priority of the calling thread over the rest of the machine, where the machine grants it.

Niceness, not SCHED_FIFO: Fast DDS waits for the listener of a new process by yielding in a loop
(SharedMemGlobal, healthy check, a third of a second). Under FIFO such a loop never lets that
listener run, and the publishing thread stands still for the whole time whenever somebody joins.
With a high nice priority the kernel still wakes us first, and lets the other one answer.
"""

import logging
import os
from pathlib import Path

_LOG = logging.getLogger(__name__)
CONTROL_NICE = -20
"""The guard: before everything else."""
DRIVER_NICE = -10
"""Drivers of camera and simulated arm: before the learner and its like."""
ORDINARY_NICE = 0
CONTROL_PRIORITY, LOADER_PRIORITY = 50, 1
"""Of SCHED_FIFO, where it is asked for."""


def enter(nice: int) -> bool:
    """Ask for a niceness; threads started afterwards inherit it. Return whether it was granted.

    ROBOT_AGENT_REALTIME=0 keeps ordinary priority. Without the right to it (CAP_SYS_NICE, or a
    nice limit) the process goes on as it is, and says so.
    """
    if os.environ.get("ROBOT_AGENT_REALTIME", "1") != "1":
        return False
    try:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    except OSError as error:
        _LOG.warning("no priority of %d: %s. Allow it with a nice limit.", nice, error)
        return False
    return True


def enter_fifo(priority: int) -> bool:
    """Ask for SCHED_FIFO for the calling thread; return whether it was granted.

    Only for a thread that no process joins meanwhile (see above).
    """
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except OSError as error:
        _LOG.warning("no SCHED_FIFO: %s. Allow it with an rtprio limit.", error)
        return False
    return True


def stolen_ms() -> float:
    """Return for how long the host has kept the processors of this virtual machine to itself.

    Summed over processors since the machine began; 0 where the kernel does not count it. While it
    lasts nothing runs here, whatever its priority.
    """
    try:
        words = Path("/proc/stat").read_text().split(maxsplit=9)
        return float(words[8]) * 1000.0 / os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError, ValueError):
        return 0.0
