"""What the operator says of the episode, from whichever device; heard once each."""

from collections.abc import Callable
from typing import Any

from robot_agent_interfaces.msg import OperatorCommand

from robot_agent.ros import topics

JUDGEMENTS = ("success", "failure", "discard", "re_record")


class Judgements:
    """The newest judgement since `forget`. Belongs to the executor's thread, read by any."""

    def __init__(self, node: Any, now_ns: Callable[[], int]) -> None:
        """Listen to what devices say; they keep it for listeners that find them late."""
        self.event = self.source = ""
        self._now_ns, self._since_ns = now_ns, now_ns()
        node.create_subscription(
            OperatorCommand, topics.OPERATOR_EVENT, self._on, topics.LASTING_EVENTS
        )

    def forget(self) -> None:
        """Begin a new episode: what was said before it does not count, however late it comes."""
        self.event = self.source = ""
        self._since_ns = self._now_ns()

    def _on(self, message: Any) -> None:
        stamp_ns = int(message.stamp_ns)
        is_of_this_episode = stamp_ns == 0 or stamp_ns > self._since_ns  # 0: when it is heard
        if str(message.event) in JUDGEMENTS and is_of_this_episode:
            self.event, self.source = str(message.event), str(message.source)
