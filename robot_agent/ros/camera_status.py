"""What a running camera node says of itself, for `doctor`."""

import threading
from dataclasses import dataclass
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from robot_agent.core.clock import Stopwatch
from robot_agent.ros import environment, topics

_DISCOVERY_S, _PERIOD_S = 3.0, 3.0
"""Who publishes is known after the first; each node speaks once within the second. Both hold on a
machine that has other work too: a camera that was not heard would be called absent."""


@dataclass(frozen=True)
class CameraStatus:
    """The newest diagnostics of a camera node."""

    is_well: bool
    message: str
    values: dict[str, str]

    def summary(self) -> str:
        """Return the message and what was measured, in one line."""
        names = ("camera", "rate_hz", "lost", "withheld", "restarts", "age_s", "moved_px")
        facts = [f"{name} {self.values[name]}" for name in names if self.values.get(name)]
        return "; ".join([self.message, *facts])


def camera_status() -> CameraStatus | None:
    """Return what the camera node of this ROS domain says, or None when there is none."""
    environment.prepare()
    context, found = Context(), threading.Event()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    newest: list[Any] = []

    def keep(message: Any) -> None:
        newest.extend(s for s in message.status if s.name.endswith("camera: camera"))
        if newest:
            found.set()

    node = Node("camera_doctor", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    node.create_subscription(DiagnosticArray, topics.DIAGNOSTICS, keep, 10)
    watch = Stopwatch()
    while not found.is_set() and watch.seconds() < _DISCOVERY_S + _PERIOD_S:
        executor.spin_once(timeout_sec=0.05)
        if watch.seconds() > _DISCOVERY_S and not node.count_publishers(topics.DIAGNOSTICS):
            break
    executor.shutdown(timeout_sec=1.0)
    node.destroy_node()
    context.try_shutdown()
    if not newest:
        return None
    status = newest[-1]
    values = {value.key: value.value for value in status.values}
    return CameraStatus(status.level == DiagnosticStatus.OK, status.message, values)
