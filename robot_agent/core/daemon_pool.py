"""Threads that a program may leave behind: nobody waits for them at its end."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

Result = TypeVar("Result")


class DaemonPool:
    """Runs calls in threads, begun in the order given; use it in a `with`.

    Unlike the standard library's pool, leaving the block waits for no call that is under way, and
    the end of the program neither: a server that does not answer keeps nobody.
    """

    def __init__(self, threads: int, name: str) -> None:
        """Start the threads; one alone also ends the calls in the order given."""
        self._waiting: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads, self._is_closed = threads, threading.Event()
        for index in range(threads):
            threading.Thread(target=self._work, name=f"{name}-{index}", daemon=True).start()

    def submit(self, call: Callable[..., Result], *arguments: Any) -> "Future[Result]":
        """Return what the call will return or raise."""
        future: Future[Result] = Future()

        def run() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = call(*arguments)
            except BaseException as error:  # noqa: BLE001 - whoever asked gets it, all of it
                future.set_exception(error)
            else:
                future.set_result(result)

        if self._is_closed.is_set():
            future.cancel()
        else:
            self._waiting.put(run)
        return future

    def close(self) -> None:
        """Begin no call that is still waiting; those under way are left alone."""
        self._is_closed.set()
        for _ in range(self._threads):
            self._waiting.put(None)

    def _work(self) -> None:
        while (run := self._waiting.get()) is not None and not self._is_closed.is_set():
            run()

    def __enter__(self) -> "DaemonPool":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End without waiting."""
        self.close()
