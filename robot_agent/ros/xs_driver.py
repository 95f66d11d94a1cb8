"""Interbotix's driver as a client sees it: information, registers, modes, torque, reboot, moves.

Two ways with one contract: the driver's services called directly, and `interbotix_xs_modules`
where it can be imported. Every method blocks, with a deadline, and belongs to one thread that is
neither the executor's nor the guard's.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from interbotix_xs_msgs.srv import (
    OperatingModes,
    Reboot,
    RegisterValues,
    RobotInfo,
    TorqueEnable,
)
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from robot_agent.core.clock import Stopwatch
from robot_agent.core.errors import ArmFaultError
from robot_agent.ros import topics

ANSWER_S = 2.0
"""Deadline of one call."""
_READ_TIMES = 3
"""How often a reading is asked for within that deadline."""
START_S = 15.0
"""How long a driver that still starts is waited for."""
SendJoints = Callable[[Sequence[float]], None]
"""Publishes joint targets [rad] for the group `arm`, through the guard's only publisher."""


_SERVICES = {
    RobotInfo: "get_robot_info",
    OperatingModes: "set_operating_modes",
    TorqueEnable: "torque_enable",
    Reboot: "reboot_motors",
}


class ArmDriver(Protocol):
    """What the guard needs of the driver beside commands and joint states."""

    way: str
    """How it talks, in words."""

    def info(self, cmd_type: str, name: str) -> Any:
        """Return RobotInfo of a group or a motor."""

    def read(self, cmd_type: str, name: str, register: str) -> tuple[int, ...]:
        """Return a register, motor by motor; short when a motor did not answer."""

    def write(self, cmd_type: str, name: str, register: str, value: int) -> None:
        """Set a register; the driver does not say whether it worked, so read it back."""

    def set_mode(self, cmd_type: str, name: str, mode: str, profile: tuple[str, int, int]) -> None:
        """Set mode and profile (type, velocity, acceleration). Torque drops meanwhile."""

    def torque(self, cmd_type: str, name: str, *, is_on: bool) -> None:
        """Switch torque."""

    def reboot(self, cmd_type: str, name: str, *, is_smart: bool) -> None:
        """Restart motors, with `is_smart` only those in error; torque drops, RAM is lost."""

    def move(self, joints_rad: Sequence[float], send: SendJoints) -> None:
        """Send the arm to joints [rad] through `send`; returns at once."""

    def close(self) -> None:
        """Let go of the driver."""


class ServiceDriver:
    """The driver's services, called directly."""

    way = "services"

    def __init__(
        self, namespace: str, answer_s: float = ANSWER_S, start_s: float = START_S
    ) -> None:
        """Make clients in `namespace`.

        Raises:
            ArmFaultError: No driver offers its services there in time.
        """
        self._answer_s = answer_s
        # A name of its own: a launch file may rename the process's node by a global argument.
        self._node = Node("arm_driver_client", namespace=namespace, use_global_arguments=False)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._clients = {
            kind: self._node.create_client(kind, name) for kind, name in _SERVICES.items()
        }
        self._get = self._node.create_client(RegisterValues, "get_motor_registers")
        self._set = self._node.create_client(RegisterValues, "set_motor_registers")
        for client in (*self._clients.values(), self._get, self._set):
            if not client.wait_for_service(timeout_sec=start_s):
                self.close()
                raise ArmFaultError(
                    f"{client.srv_name}: no such service within {start_s:.1f} s. Start the "
                    f"driver: ros2 launch interbotix_xsarm_control xsarm_control.launch.py"
                )

    def _ask(self, client: Any, request: Any, times: int = 1) -> Any:
        """Return the answer; what only reads may be asked several `times` within the deadline.

        DDS drops an answer to who has only just been discovered.
        """
        for _ in range(times):
            future = client.call_async(request)
            watch, limit_s = Stopwatch(), self._answer_s / times
            # spin_until_future_complete leaves a task behind with each call, and they add up.
            while not future.done() and (left_s := limit_s - watch.seconds()) > 0.0:
                self._executor.spin_once(timeout_sec=left_s)
            if future.done():
                return future.result()
            client.remove_pending_request(future)
        raise ArmFaultError(
            f"{client.srv_name}: no answer within {self._answer_s:.1f} s. Is the driver "
            f"hanging? Read its log; restart it with the arm at rest."
        )

    def info(self, cmd_type: str, name: str) -> Any:
        """Return RobotInfo of a group or a motor."""
        request = RobotInfo.Request(cmd_type=cmd_type, name=name)
        return self._ask(self._clients[RobotInfo], request, _READ_TIMES)

    def read(self, cmd_type: str, name: str, register: str) -> tuple[int, ...]:
        """Return a register, motor by motor; short when a motor did not answer."""
        request = RegisterValues.Request(cmd_type=cmd_type, name=name, reg=register)
        return tuple(self._ask(self._get, request, _READ_TIMES).values)

    def write(self, cmd_type: str, name: str, register: str, value: int) -> None:
        """Set a register; read it back to know."""
        request = RegisterValues.Request(cmd_type=cmd_type, name=name, reg=register, value=value)
        self._ask(self._set, request)

    def set_mode(self, cmd_type: str, name: str, mode: str, profile: tuple[str, int, int]) -> None:
        """Set mode and profile; torque drops meanwhile."""
        request = OperatingModes.Request(cmd_type=cmd_type, name=name, mode=mode)
        request.profile_type, request.profile_velocity, request.profile_acceleration = profile
        self._ask(self._clients[OperatingModes], request)

    def torque(self, cmd_type: str, name: str, *, is_on: bool) -> None:
        """Switch torque."""
        request = TorqueEnable.Request(cmd_type=cmd_type, name=name, enable=is_on)
        self._ask(self._clients[TorqueEnable], request)

    def reboot(self, cmd_type: str, name: str, *, is_smart: bool) -> None:
        """Restart motors; torque comes back on those that restarted."""
        request = Reboot.Request(cmd_type=cmd_type, name=name, enable=True, smart_reboot=is_smart)
        self._ask(self._clients[Reboot], request)

    def move(self, joints_rad: Sequence[float], send: SendJoints) -> None:
        """Send the arm to joints [rad]; the servos' profile shapes the way."""
        send(joints_rad)

    def close(self) -> None:
        """Destroy the clients' node."""
        self._executor.shutdown(timeout_sec=1.0)
        self._node.destroy_node()


def bounded(work: Callable[[], Any], timeout_s: float, what: str) -> Any:
    """Return what `work` returns, or raise ArmFaultError when it takes longer than `timeout_s`.

    For code of others that waits without a deadline: its thread is then left to itself.
    """
    found: list[Any] = []
    failed: list[BaseException] = []

    def body() -> None:
        try:
            found.append(work())
        except (Exception, SystemExit) as error:  # noqa: BLE001 - handed to who waits
            failed.append(error)

    thread = threading.Thread(target=body, name="bounded", daemon=True)
    thread.start()
    thread.join(timeout_s)
    if failed:
        raise ArmFaultError(f"{what}: {failed[0]!r}. Read the driver's log.") from failed[0]
    if not found:
        raise ArmFaultError(
            f"{what}: no answer within {timeout_s:.1f} s. Is {topics.JOINT_STATES} published? "
            f"Start the driver, or end one that hangs."
        )
    return found[0]


def open_driver(namespace: str) -> ArmDriver:
    """Return `interbotix_xs_modules` where it can be imported, the services themselves if not."""
    from robot_agent.ros import interbotix_driver

    if interbotix_driver.problem() is None:
        return interbotix_driver.ModuleDriver(namespace)
    return ServiceDriver(namespace)
