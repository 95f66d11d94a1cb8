"""Real-time priority of the calling thread, where the machine grants it."""

import logging
import os

_LOG = logging.getLogger(__name__)
CALLBACK_PRIORITY = 40
"""SCHED_FIFO priority of callbacks and of the middleware's threads."""
CONTROL_PRIORITY = 50
"""Of the control thread; the number that ros2_control gives its asynchronous parts."""


def enter(priority: int) -> bool:
    """Ask for SCHED_FIFO; threads started afterwards inherit it. Return whether it was granted.

    ROBOT_AGENT_REALTIME=0 keeps ordinary priority. Without the right to it (CAP_SYS_NICE, or an
    rtprio limit) the process goes on as it is, and says so.
    """
    if os.environ.get("ROBOT_AGENT_REALTIME", "1") != "1":
        return False
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except OSError as error:
        _LOG.warning("no real-time priority: %s. Allow it with an rtprio limit.", error)
        return False
    return True
