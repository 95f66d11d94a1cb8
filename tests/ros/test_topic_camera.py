"""A camera that is a ROS image topic: encodings, types, quality of service, frames and clocks."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from robot_agent.core.clock import Stopwatch, SystemClock
from robot_agent.core.errors import InputError
from robot_agent.core.types import Frame
from robot_agent.ros import convert, environment
from robot_agent.ros.topic_camera import TopicCamera, TopicConfig

TOPIC, HZ = "/front/color/image_raw", 30
BEST_EFFORT = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
RELIABLE = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
ORANGE = np.full((48, 64, 3), (220, 120, 20), np.uint8)
HOUR_NS = 3600 * 1_000_000_000


@pytest.fixture(scope="module")
def driver(ros_domain_id: int) -> Iterator[Any]:
    """A node that publishes as a driver does."""
    environment.prepare()
    rclpy.init()
    node = rclpy.create_node("driver")
    yield node
    node.destroy_node()
    rclpy.try_shutdown()


@pytest.fixture
def publisher(driver: Any) -> Iterator[Any]:
    made = driver.create_publisher(Image, TOPIC, RELIABLE)
    yield made
    driver.destroy_publisher(made)


@pytest.fixture
def listening() -> Iterator[Callable[..., TopicCamera]]:
    made: list[TopicCamera] = []

    def start(**changes: Any) -> TopicCamera:
        config = {"topic": TOPIC, "hz": HZ, "publisher_s": 5.0} | changes
        made.append(TopicCamera(SystemClock(), TopicConfig(**config)))
        made[-1].start()
        return made[-1]

    yield start
    for camera in made:
        camera.stop()


def image(encoding: str = "rgb8", stamp_ns: int = 0, frame_id: str = "front") -> Any:
    message = convert.to_image(ORANGE[:, :, ::-1] if encoding == "bgr8" else ORANGE, stamp_ns)
    message.encoding, message.header.frame_id = encoding, frame_id
    return message


def first(camera: TopicCamera, send: Callable[[], None]) -> Frame:
    """Return the first frame; the two sides find each other while `send` is repeated."""
    watch = Stopwatch()
    while watch.seconds() < 10.0:
        send()
        frame = camera.read(0.1)
        if frame is not None:
            return frame
    pytest.fail("no picture within 10 s")


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8"])
def test_pictures_arrive_in_rgb_with_a_monotonic_stamp(
    publisher: Any, listening: Callable[..., TopicCamera], encoding: str
) -> None:
    camera, clock, wall_ns = listening(), SystemClock(), [1_790_000_000 * 10**9]

    def send() -> None:
        wall_ns[0] += 33_000_000
        publisher.publish(image(encoding, wall_ns[0]))

    before_ns = clock.now_ns()
    frame = first(camera, send)
    assert (frame.image_hwc == ORANGE).all()
    assert before_ns <= frame.stamp_ns <= clock.now_ns()
    assert not frame.is_stamp_replaced


def test_a_wall_clock_that_is_set_costs_one_stamp(
    publisher: Any, listening: Callable[..., TopicCamera]
) -> None:
    camera, clock = listening(), SystemClock()
    stamps = iter(range(10 * HOUR_NS, 20 * HOUR_NS, 33_000_000))
    first(camera, lambda: publisher.publish(image(stamp_ns=next(stamps))))
    while camera.read(0.3) is not None:
        pass
    replaced = []
    for stamp_ns in (3 * HOUR_NS, 3 * HOUR_NS + 33_000_000, 9 * HOUR_NS, 9 * HOUR_NS + 33_000_000):
        publisher.publish(image(stamp_ns=stamp_ns))
        frame = camera.read(2.0)
        assert frame is not None
        assert abs(clock.now_ns() - frame.stamp_ns) < 2 * 10**9
        replaced.append(frame.is_stamp_replaced)
    assert replaced == [True, False, True, False]


def test_intrinsics_are_those_beside_the_pictures(
    driver: Any, publisher: Any, listening: Callable[..., TopicCamera]
) -> None:
    infos = driver.create_publisher(CameraInfo, "/front/color/camera_info", RELIABLE)
    camera, pause = listening(), threading.Event()
    K = np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]])
    assert not camera.intrinsics.any()
    for _ in range(100):
        infos.publish(convert.to_camera_info(640, 480, K, 0))
        if camera.intrinsics.any() or pause.wait(0.05):
            break
    assert np.allclose(camera.intrinsics, K)
    driver.destroy_publisher(infos)


@pytest.mark.parametrize(
    ("message", "changes", "text"),
    [
        (image("mono8"), {}, r"image_raw: encoding is 'mono8', must be rgb8 or bgr8"),
        (image("16UC1"), {}, r"encoding is '16UC1'"),
        (image(frame_id="side"), {"frame_id": "front"}, r"of frame 'side', must be of 'front'"),
    ],
)
def test_pictures_of_a_wrong_kind_are_refused_with_the_reason(
    publisher: Any,
    listening: Callable[..., TopicCamera],
    message: Any,
    changes: dict[str, Any],
    text: str,
) -> None:
    camera = listening(**changes)
    with pytest.raises(InputError, match=text):
        first(camera, lambda: publisher.publish(message))


def test_nobody_who_publishes_is_refused(driver: Any) -> None:
    camera = TopicCamera(
        SystemClock(), TopicConfig(topic="/nowhere/image_raw", hz=HZ, publisher_s=0.3)
    )
    with pytest.raises(InputError, match=r"nothing publishes /nowhere/image_raw.*ros2 topic list"):
        camera.start()


def test_compressed_pictures_are_refused(
    driver: Any, listening: Callable[..., TopicCamera]
) -> None:
    made = driver.create_publisher(CompressedImage, "/front/compressed", RELIABLE)
    with pytest.raises(InputError, match=r"type sensor_msgs/msg/CompressedImage, must be .*Image"):
        listening(topic="/front/compressed")
    driver.destroy_publisher(made)


def test_a_publisher_that_does_not_offer_what_is_asked_is_refused_at_the_start(
    driver: Any, listening: Callable[..., TopicCamera]
) -> None:
    made = driver.create_publisher(Image, "/weak/image_raw", BEST_EFFORT)
    with pytest.raises(InputError, match=r"quality of service.*reliability:=best_effort"):
        listening(topic="/weak/image_raw", is_reliable=True)
    camera = listening(topic="/weak/image_raw")
    assert first(camera, lambda: made.publish(image())).image_hwc.shape == (48, 64, 3)
    driver.destroy_publisher(made)


def test_a_publisher_that_appears_later_with_less_is_named(
    driver: Any, publisher: Any, listening: Callable[..., TopicCamera]
) -> None:
    camera = listening(is_reliable=True)
    first(camera, lambda: publisher.publish(image()))
    late = driver.create_publisher(Image, TOPIC, BEST_EFFORT)
    watch = Stopwatch()
    with pytest.raises(InputError, match=r"does not offer the quality of service"):
        while watch.seconds() < 5.0:
            camera.read(0.1)
    driver.destroy_publisher(late)
