"""Subscriptions in a thread of their own, for a node that hears much.

The ordinary executor builds what it waits for anew, in Python, for every message: at 150 messages
a second that is most of a recorder's work. This one is driven by events, but knows no coroutines,
so services stay with the ordinary one.
"""

import threading
from collections.abc import Callable
from typing import Any

from rclpy.experimental import EventsExecutor
from rclpy.node import Node


class Ears:
    """Calls back in one thread. What a callback raises is kept for `require_sound`."""

    def __init__(self, owner: Any) -> None:
        """Listen beside `owner`, under its names and remappings; nothing is heard yet."""
        self._owner = owner
        self._node = Node(
            f"{owner.get_name()}_ears",
            namespace=owner.get_namespace(),
            context=owner.context,
            use_global_arguments=False,
            start_parameter_services=False,
            enable_rosout=False,
        )
        self._executor: Any = EventsExecutor(context=owner.context)
        self._executor.add_node(self._node)
        self._is_over = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="ears", daemon=True)

    def hear(
        self, kind: Any, topic: str, take: Callable[[Any], None], qos: Any, *, raw: bool
    ) -> None:
        """Call `take` with every message of a topic of the owner; with `raw`, with its bytes."""
        name = self._owner.resolve_topic_name(topic)
        self._node.create_subscription(kind, name, take, qos, raw=raw)

    def start(self) -> None:
        """Begin to hear."""
        self._thread.start()

    def require_sound(self) -> None:
        """Raise what a callback raised: a recorder that is deaf must not look well."""
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """End the thread, then the subscriptions."""
        self._is_over.set()
        self._executor.wake()
        self._thread.join(2.0)
        self._executor.shutdown()
        self._node.destroy_node()

    def _run(self) -> None:
        try:
            while not self._is_over.is_set():
                self._executor.spin_once(timeout_sec=0.2)
        except BaseException as error:  # noqa: BLE001 - handed to the owner's thread
            self._error = error
