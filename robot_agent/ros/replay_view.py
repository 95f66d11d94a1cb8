"""Publishes what an episode holds under `replay/`, for viewers; moves nothing."""

from collections.abc import Callable
from pathlib import Path

from mcap.reader import make_reader

from robot_agent.core.clock import SystemClock
from robot_agent.core.errors import EpisodeFormatError
from robot_agent.ros import topics
from robot_agent.ros.client import AgentClient
from robot_agent.ros.message_types import message_type

PREFIX = "/replay"


def view(
    client: AgentClient,
    path: Path,
    rate: float,
    is_cancelled: Callable[[], bool],
    on_message: Callable[[int], None] = lambda _: None,
) -> int:
    """Publish every message of a recording in its time; return how many.

    Topics keep their names behind `/replay`, so that nothing of a running agent hears them.

    Raises:
        EpisodeFormatError: The recording has no index: it was cut short.
    """
    clock, count = SystemClock(), 0
    with path.open("rb") as file:
        reader = make_reader(file)
        summary = reader.get_summary()
        if summary is None or summary.statistics is None:
            raise EpisodeFormatError(f"{path}: has no index. Mend it: robot-agent episodes check")
        publishers = {
            channel.topic: client.node.create_publisher(
                message_type(summary.schemas[channel.schema_id].name),
                PREFIX + channel.topic,
                topics.STATE,
            )
            for channel in summary.channels.values()
        }
        begin_ns, first_ns = clock.now_ns(), None
        for _, channel, message in reader.iter_messages():
            first_ns = first_ns or message.log_time  # the start is stamped 0
            if is_cancelled():
                break
            clock.sleep_until(begin_ns + round(max(message.log_time - first_ns, 0) / rate))
            publishers[channel.topic].publish(message.data)
            count += 1
            on_message(count)
    return count
