"""Pictures of any ROS image topic, such as that of realsense2_camera, with monotonic stamps."""

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
import rclpy
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image

from robot_agent.act.stamps import FrameCounter, StampMapper
from robot_agent.core.errors import InputError
from robot_agent.core.protocols import Clock
from robot_agent.core.types import FloatArray, Frame
from robot_agent.ros import convert, topics
from robot_agent.ros.frame_queue import FrameQueue

_IMAGE = "sensor_msgs/msg/Image"
_LOOK_S = 0.05


@dataclass(frozen=True, kw_only=True)
class TopicConfig:
    """What to listen to."""

    topic: str
    """Of sensor_msgs/Image, rgb8 or bgr8; its camera_info is looked for beside it."""
    hz: int
    namespace: str = "/"
    frame_id: str = ""
    """Frame that pictures must name; empty admits any."""
    is_reliable: bool = False
    """Ask for every picture; not every publisher offers that."""
    publisher_s: float = 3.0
    """How long a publisher is waited for."""
    latency_ns: int = 0


class TopicCamera:
    """Has a node and an executor of its own.

    So a start may wait for the publisher, and pictures come in while the camera's node is busy.
    """

    def __init__(self, clock: Clock, config: TopicConfig) -> None:
        """Listen in the context that runs."""
        self._clock, self._config = clock, config
        self._frames = FrameQueue()
        self._stamps = StampMapper(config.latency_ns)
        self._counter = FrameCounter(round(1e9 / config.hz))
        self._node: Any = None
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self.intrinsics: FloatArray = np.zeros((3, 3))
        """As the publisher says beside the pictures."""
        self.description = f"topic {config.topic}"
        self.notes: tuple[str, ...] = ()

    def start(self) -> None:
        """Find the publisher, compare its type and quality of service with ours, and subscribe.

        Raises:
            InputError: No publisher, one of another type, or one that does not offer what is
                asked.
        """
        self._frames, self._stop = FrameQueue(), threading.Event()
        self._stamps = StampMapper(self._config.latency_ns)
        # Not renamed by the arguments of the process, which are meant for the camera's node.
        node = rclpy.create_node(
            "camera_source", namespace=self._config.namespace, use_global_arguments=False
        )
        try:
            self._check_publisher(node)
        except InputError:
            node.destroy_node()
            raise
        self._subscribe(node)
        self._node = node
        self._thread = threading.Thread(target=self._spin, args=(node, self._stop), daemon=True)
        self._thread.start()

    def read(self, timeout_s: float) -> Frame | None:
        """Return the next picture, or None; InputError when it cannot be used."""
        return self._frames.take(timeout_s)

    def stop(self) -> None:
        """Stop listening."""
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def reset(self) -> None:
        """Do nothing: the device belongs to the publisher."""

    def _spin(self, node: Any, stop: threading.Event) -> None:
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while not stop.is_set():
            executor.spin_once(timeout_sec=_LOOK_S)
        executor.remove_node(node)
        node.destroy_node()

    def _check_publisher(self, node: Any) -> None:
        topic, wait = self._config.topic, threading.Event()
        for _ in range(max(1, round(self._config.publisher_s / _LOOK_S))):
            publishers = node.get_publishers_info_by_topic(topic)
            if publishers:
                break
            wait.wait(_LOOK_S)
        else:
            raise InputError(
                f"camera: nothing publishes {node.resolve_topic_name(topic)}. Start its driver; "
                f"`ros2 topic list -t` shows the pictures that there are."
            )
        for publisher in publishers:
            if publisher.topic_type != _IMAGE:
                raise InputError(
                    f"camera: {topic} is of type {publisher.topic_type}, must be {_IMAGE}. Choose "
                    f"the raw pictures, for instance .../image_raw."
                )
            is_offered = publisher.qos_profile.reliability == ReliabilityPolicy.RELIABLE
            if self._config.is_reliable and not is_offered:
                raise InputError(self._mismatch())

    def _mismatch(self) -> str:
        return (
            f"camera: the publisher of {self._config.topic} does not offer the quality of service "
            f"that is asked for (reliability reliable). Set reliability:=best_effort, or the "
            f"publisher's, for instance color_qos:=SYSTEM_DEFAULT."
        )

    def _subscribe(self, node: Any) -> None:
        topic, reliable = self._config.topic, topics.EVENTS
        node.create_subscription(
            Image,
            topic,
            self._on_image,
            reliable if self._config.is_reliable else topics.SENSOR,
            event_callbacks=SubscriptionEventCallbacks(
                incompatible_qos=lambda _: self._frames.put(InputError(self._mismatch()))
            ),
        )
        beside = f"{topic.rpartition('/')[0]}/camera_info".lstrip("/")
        beside = f"/{beside}" if topic.startswith("/") else beside
        node.create_subscription(CameraInfo, beside, self._on_info, topics.SENSOR)

    def _on_info(self, message: Any) -> None:
        self.intrinsics = np.array(message.k, np.float64).reshape(3, 3)

    def _on_image(self, message: Any) -> None:
        arrival_ns = self._clock.now_ns()
        wanted, found = self._config.frame_id, message.header.frame_id
        try:
            if wanted not in ("", found):
                raise InputError(
                    f"camera: pictures on {self._config.topic} are of frame '{found}', must be of "
                    f"'{wanted}'. Is it the right camera?"
                )
            image_hwc = convert.from_image(message, self._config.topic)
        except InputError as error:
            self._frames.put(error)
            return
        camera_ns = convert.from_stamp(message.header.stamp)
        stamp_ns = self._stamps.map(camera_ns, arrival_ns)
        is_replaced = self._stamps.is_replaced
        number = self._counter.count(camera_ns, is_replaced=is_replaced)
        self._frames.put(Frame(image_hwc, stamp_ns, number, is_stamp_replaced=is_replaced))
