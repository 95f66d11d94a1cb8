"""Calls into device libraries that may never come back, each in a thread and with a limit."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError

from robot_agent.core.errors import InputError


def contained(work: Callable[[], None], timeout_s: float, what: str) -> None:
    """Run `work` in a thread of its own and return when it is done.

    A thread that hangs is left behind: it ends with the process and holds nobody up. What the
    work raises is raised here.

    Raises:
        InputError: It did not come back in time.
    """
    done: Future[None] = Future()

    def body() -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - handed to the caller
            done.set_exception(error)
        else:
            done.set_result(None)

    threading.Thread(target=body, name=what, daemon=True).start()
    try:
        done.result(timeout_s)
    except FutureTimeoutError as error:
        raise InputError(
            f"{what}: hangs for {timeout_s:.1f} s; it is left behind. Unplug the camera and plug "
            f"it in again."
        ) from error
