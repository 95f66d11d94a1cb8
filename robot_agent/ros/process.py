"""Starts and ends a node: one executor, one thread for callbacks, and work beside it."""

import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

from robot_agent.core.errors import RobotAgentError
from robot_agent.ros import environment, realtime

PARENT_VARIABLE = "ROBOT_AGENT_PARENT"
"""Set by the supervisor to its process id; a node does not outlive it."""
_SWITCH_INTERVAL_S = 0.0005
_SIGNAL_CHECK_S = 0.1
"""Python runs a signal's handler only between waits of the executor."""


class Closable(Protocol):
    """A node that owns threads."""

    def close(self) -> None:
        """Stop the threads; called once, before the node is destroyed."""


def run(make: Callable[[], Any], arguments: Sequence[str] | None = None, *, nice: int = 0) -> int:
    """Run the node that `make` returns until SIGINT or SIGTERM; return the exit status.

    A failure at the start is one line for the person who started it. An exception in a callback
    ends the process, so that the supervisor sees it and starts it again, inactive. On a signal the
    node's threads end first and ROS last, so that nobody publishes into a closed context.

    `nice` is for small processes with a control thread: every thread asks for this niceness, also
    those of the middleware and those that only hold the interpreter's lock while it waits.
    """
    environment.prepare()
    log_to_stderr()
    if nice:
        realtime.enter(nice)
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
    is_told_to_end = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: is_told_to_end.set())
    rclpy.init(
        args=list(arguments) if arguments is not None else None,
        signal_handler_options=SignalHandlerOptions.NO,
    )
    executor = SingleThreadedExecutor()
    node = None
    try:
        node = make()
        executor.add_node(node)
        gc.freeze()  # what lives from the start need not be looked through again
        while not is_told_to_end.is_set() and not _is_orphan():
            _spin_once(executor)
    except RobotAgentError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    finally:
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


def log_to_stderr() -> None:
    """Let what the packages below say be read in the node's log, beside ROS's own lines."""
    logger = logging.getLogger("robot_agent")
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("[%(levelname)s] [%(name)s]: %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)


def _spin_once(executor: Any) -> None:
    """Run what is ready; a transition that the node's state does not allow must not end it.

    rclpy (7.1) raises on such a request, from whomever it comes, and leaves it without an answer.
    """
    try:
        executor.spin_once(timeout_sec=_SIGNAL_CHECK_S)
    except rclpy_implementation.RCLError as error:
        if "Transition is not registered" not in str(error):
            raise
        sys.stderr.write("refused: a transition that this node's state does not allow\n")


def _is_orphan() -> bool:
    """Return whether the supervisor that started this process is gone."""
    parent = os.environ.get(PARENT_VARIABLE)
    return parent is not None and os.getppid() != int(parent)


def in_thread(node: Any, work: Callable[[], Any], name: str) -> Any:
    """Start `work` in a thread and return a future for a coroutine callback to await.

    The executor goes on with other callbacks meanwhile. The awaiting callback must belong to a
    reentrant group, or be the execute callback of an action.
    """
    future: Any = Future()

    def body() -> None:
        try:
            future.set_result(work())
        except Exception as error:  # noqa: BLE001 - handed to the coroutine that awaits it
            future.set_exception(error)
        if node.executor is not None:
            node.executor.wake()

    threading.Thread(target=body, name=name, daemon=True).start()
    return future
