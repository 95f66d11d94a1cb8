"""What the operator says of the episode, from whichever device; heard once each."""

from typing import Any

from robot_agent_interfaces.msg import OperatorCommand

from robot_agent.ros import topics

JUDGEMENTS = ("success", "failure", "discard", "re_record")


class Judgements:
    """The newest judgement since `forget`. Belongs to the executor's thread, read by any."""

    def __init__(self, node: Any) -> None:
        """Listen to every message: an event must not be lost between two others."""
        self.event = self.source = ""
        self._before: dict[str, str] = {}
        node.create_subscription(OperatorCommand, topics.OPERATOR, self._on, topics.EVENTS)

    def forget(self) -> None:
        """Begin a new episode."""
        self.event = self.source = ""

    def _on(self, message: Any) -> None:
        """Take an event when it begins: devices repeat it in a few messages."""
        source, event = str(message.source), str(message.event)
        is_new = event != self._before.get(source, "")
        self._before[source] = event
        if is_new and event in JUDGEMENTS:
            self.event, self.source = event, source
