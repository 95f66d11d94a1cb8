"""The driver through `interbotix_xs_modules`, where Interbotix's workspace is installed.

Its constructor and calls wait without a deadline, and it makes publishers of arm commands of its
own. So each call is bounded here, and the publishers are taken away: the guard stays the only one.
"""

import importlib
from collections.abc import Sequence
from typing import Any

from robot_agent.core import wx250s
from robot_agent.ros import topics
from robot_agent.ros.xs_driver import ANSWER_S, SendJoints, bounded

MODEL = "wx250s"
_CORE = "interbotix_xs_modules.xs_robot.core"
_ARM = "interbotix_xs_modules.xs_robot.arm"
_NODE = "interbotix_common_modules.common_robot.robot"
_START_S = 10.0


def problem() -> str | None:
    """Return why `interbotix_xs_modules` cannot be imported, in words; None when it can."""
    try:
        for name in (_CORE, _NODE):
            importlib.import_module(name)
    except ImportError as error:
        return f"interbotix_xs_modules cannot be imported: {error}"
    return None


class _Publisher:
    """Stands in for the module's publisher: what it sends goes through the guard's."""

    def __init__(self, send: SendJoints) -> None:
        self._send = send

    def publish(self, message: Any) -> None:
        self._send(list(message.cmd))


class ModuleDriver:
    """`InterbotixRobotXSCore` for information, registers, modes, torque and reboot."""

    way = "interbotix_xs_modules"

    def __init__(self, namespace: str, answer_s: float = ANSWER_S) -> None:
        """Construct the core in `namespace`.

        Raises:
            ArmFaultError: The driver, or its joint states, are not there in time.
        """
        self._answer_s = answer_s
        self._core: Any = bounded(lambda: self._make(namespace), _START_S, "the driver's module")
        node = self._core.robot_node
        for publisher in (self._core.pub_group, self._core.pub_single, self._core.pub_traj):
            node.destroy_publisher(publisher)

    @staticmethod
    def _make(namespace: str) -> Any:
        robot_name = namespace.strip("/")
        node = importlib.import_module(_NODE).InterbotixRobotNode(
            node_name="arm_driver_client", namespace=robot_name, use_global_arguments=False
        )
        core = importlib.import_module(_CORE).InterbotixRobotXSCore
        return core(robot_model=MODEL, robot_name=robot_name, node=node)

    def _ask(self, name: str, *arguments: Any) -> Any:
        call = getattr(self._core, name)
        return bounded(lambda: (call(*arguments),), self._answer_s, name)[0]

    def info(self, cmd_type: str, name: str) -> Any:
        """Return RobotInfo of a group or a motor."""
        return self._ask("robot_get_robot_info", cmd_type, name)

    def read(self, cmd_type: str, name: str, register: str) -> tuple[int, ...]:
        """Return a register, motor by motor; short when a motor did not answer."""
        return tuple(self._ask("robot_get_motor_registers", cmd_type, name, register))

    def write(self, cmd_type: str, name: str, register: str, value: int) -> None:
        """Set a register; read it back to know."""
        self._ask("robot_set_motor_registers", cmd_type, name, register, value)

    def set_mode(self, cmd_type: str, name: str, mode: str, profile: tuple[str, int, int]) -> None:
        """Set mode and profile; torque drops meanwhile."""
        self._ask("robot_set_operating_modes", cmd_type, name, mode, *profile)

    def torque(self, cmd_type: str, name: str, *, is_on: bool) -> None:
        """Switch torque."""
        self._ask("robot_torque_enable", cmd_type, name, is_on)

    def reboot(self, cmd_type: str, name: str, *, is_smart: bool) -> None:
        """Restart motors; torque comes back on those that restarted."""
        self._ask("robot_reboot_motors", cmd_type, name, True, is_smart)

    def move(self, joints_rad: Sequence[float], send: SendJoints) -> None:
        """Send the arm to joints [rad], home and sleep by the module's own moves."""
        self._core.pub_group = _Publisher(send)
        arm = bounded(self._make_arm, _START_S, "the driver's module")
        if not any(joints_rad):
            arm.go_to_home_pose(blocking=False)
        elif list(joints_rad) == wx250s.SLEEP_RAD.tolist():
            arm.go_to_sleep_pose(blocking=False)
        else:
            self._core.robot_write_commands(topics.ARM_GROUP, list(joints_rad))

    def _make_arm(self) -> Any:
        arm = importlib.import_module(_ARM).InterbotixArmXSInterface
        return arm(core=self._core, robot_model=MODEL, group_name=topics.ARM_GROUP)

    def close(self) -> None:
        """Destroy the module's node."""
        self._core.robot_node.destroy_node()
