"""An independent witness of the arm's command topic; shares no code with the guard."""

import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import rclpy
from interbotix_xs_msgs.msg import JointGroupCommand
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.signals import SignalHandlerOptions

from robot_agent.core.clock import SystemClock
from tests.ros.running import until


@dataclass
class Monitor:
    """Every arm command with the monotonic time at which it came."""

    namespace: str = "wx250s"
    expects_commands: bool = True
    stamps_ns: list[int] = field(default_factory=list)
    commands: list[Any] = field(default_factory=list)

    def __enter__(self) -> "Monitor":
        self._clock, self._context = SystemClock(), Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = Node("monitor", namespace=self.namespace, context=self._context)
        self.node.create_subscription(
            JointGroupCommand, "commands/joint_group", self._keep, QoSProfile(depth=50)
        )
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()
        until(lambda: self.node.count_publishers("commands/joint_group") > 0, 5.0, "a publisher")
        if self.expects_commands:
            until(lambda: self.commands, 5.0, "a first command")
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown(timeout_sec=2.0)
        self._thread.join(2.0)
        self.node.destroy_node()
        self._context.try_shutdown()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return

    def _keep(self, message: Any) -> None:
        self.stamps_ns.append(self._clock.now_ns())
        self.commands.append(np.array(message.cmd))

    def now_ns(self) -> int:
        return self._clock.now_ns()

    def last_motion_ns(self) -> int:
        """Return when the newest command that differs from the one before it came; 0 for none."""
        for index in range(len(self.commands) - 1, 0, -1):
            if not np.array_equal(self.commands[index], self.commands[index - 1]):
                return self.stamps_ns[index]
        return 0

    def gaps_ms(self) -> Any:
        """Return the gaps between commands [ms]."""
        return np.diff(np.array(self.stamps_ns)) * 1e-6
