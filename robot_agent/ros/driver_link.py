"""One thread that talks to the driver's services, so that neither executor nor tick ever waits."""

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from robot_agent.core.errors import ArmFaultError, RobotAgentError
from robot_agent.guard.contract import ArmContract
from robot_agent.guard.health import Health
from robot_agent.ros import arm_setup
from robot_agent.ros.clock import ScaledClock
from robot_agent.ros.xs_driver import ArmDriver

POLL_S = 0.8
"""Period of the motors' health; 1 Hz is asked for."""
Found = TypeVar("Found")


class DriverLink:
    """Asks the driver in its own thread. `on_health` and `on_error` are called there."""

    def __init__(
        self,
        make: Callable[[], ArmDriver],
        clock: ScaledClock,
        *,
        on_health: Callable[[Health], None],
        on_error: Callable[[str], None],
    ) -> None:
        """Start the thread; the driver is opened with the first question."""
        self._make, self._clock = make, clock
        self._on_health, self._on_error = on_health, on_error
        self._driver: ArmDriver | None = None
        self._contract: ArmContract | None = None
        self._asked: queue.Queue[tuple[Callable[[ArmDriver], Any], Future[Any]]] = queue.Queue()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="driver_link", daemon=True)
        self._thread.start()

    @property
    def way(self) -> str:
        """How it talks to the driver, in words."""
        return self._driver.way if self._driver is not None else "not connected"

    def check(self, contract: ArmContract, timeout_s: float) -> tuple[str, ...]:
        """Set the arm up, and return what does not keep the contract; polling begins then.

        Raises:
            ArmFaultError: The driver did not answer in time, or may not be set up now.
        """

        def work(driver: ArmDriver) -> tuple[str, ...]:
            arm_setup.prepare(driver, contract)
            return arm_setup.inspect(driver, contract)

        found = self.ask(work, timeout_s)
        if not found:
            self._contract = contract
        return found

    def ask(self, work: Callable[[ArmDriver], Found], timeout_s: float) -> Found:
        """Return what `work` finds, done in the link's thread; ArmFaultError after `timeout_s`."""
        done = self.submit(work)
        try:
            return done.result(timeout_s)
        except TimeoutError:
            raise ArmFaultError(
                f"the driver did not answer within {timeout_s:.1f} s. Is it running, and is its "
                f"log free of bus errors? Start it before the guard."
            ) from None

    def submit(self, work: Callable[[ArmDriver], Found]) -> "Future[Found]":
        """Queue `work` and return its future."""
        done: Future[Found] = Future()
        self._asked.put((work, done))
        return done

    def close(self) -> None:
        """End the thread; a call under way is given its own deadline."""
        self._is_over.set()
        self._thread.join(3.0)
        if self._driver is not None and not self._thread.is_alive():
            self._driver.close()
            self._driver = None

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                work, done = self._asked.get(timeout=self._pause_s())
            except queue.Empty:
                self._poll()
                continue
            try:
                self._driver = self._driver or self._make()
                done.set_result(work(self._driver))
            except Exception as error:  # noqa: BLE001 - handed to who asked
                done.set_exception(error)

    def _pause_s(self) -> float:
        # Simulated time may run faster: the guard judges ages by it.
        return max(self._clock.wall_seconds(round(POLL_S * 1e9)), 0.05)

    def _poll(self) -> None:
        if self._contract is None or self._driver is None:
            return
        try:
            now_ns = self._clock.now_ns()
            self._on_health(arm_setup.poll(self._driver, self._contract, now_ns))
        except RobotAgentError as error:
            self._on_error(str(error))
