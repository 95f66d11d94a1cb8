"""A few pictures of a running camera, for tools."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import Image

from robot_agent.core.errors import StaleObservationError
from robot_agent.ros import convert, topics
from robot_agent.ros.client import AgentClient


def take_pictures(
    client: AgentClient,
    count: int,
    timeout_s: float = 5.0,
    say: Callable[[int], None] = lambda _: None,
) -> NDArray[np.uint8]:
    """Return the next pictures (count, H, W, 3) of the running agent's camera, RGB.

    Raises:
        StaleObservationError: They did not come in time.
    """
    taken: list[NDArray[np.uint8]] = []
    is_done = threading.Event()

    def take(message: Any) -> None:
        if len(taken) < count:
            taken.append(convert.from_image(message).copy())
            say(len(taken))
        if len(taken) == count:
            is_done.set()

    subscription = client.node.create_subscription(Image, topics.CAMERA_IMAGE, take, topics.SENSOR)
    came = is_done.wait(timeout_s)
    client.node.destroy_subscription(subscription)
    if not came:
        raise StaleObservationError(topics.CAMERA_IMAGE, timeout_s, timeout_s)
    return np.stack(taken[:count])
