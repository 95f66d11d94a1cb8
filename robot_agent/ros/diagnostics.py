"""Health of a node on /diagnostics at about 1 Hz (REP 107); never a safety mechanism."""

from collections.abc import Callable, Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from robot_agent.ros import topics

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR
Report = tuple[Any, str, Mapping[str, Any]]
"""Level, one line for a person, values."""


class Diagnostics:
    """Publishes what `report` returns, once a second. Belongs to the executor's thread."""

    def __init__(self, node: Any, hardware_id: str, report: Callable[[], Report]) -> None:
        """Ask `report` every second for the state of the part called `hardware_id`."""
        self._node, self._report, self._hardware_id = node, report, hardware_id
        self._publisher = node.create_publisher(DiagnosticArray, topics.DIAGNOSTICS, 10)
        self._timer = node.create_timer(1.0, self._publish)

    def _publish(self) -> None:
        level, message, values = self._report()
        status = DiagnosticStatus(level=level, message=message, hardware_id=self._hardware_id)
        status.name = f"{self._node.get_name()}: {self._hardware_id}"
        status.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        array = DiagnosticArray(status=[status])
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(array)
