"""Every source of pictures keeps the same promises: RealSense, ROS topic, UVC."""

import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed; run `make setup`")
pytest.importorskip("libusb_package", reason="pyrealsense2 needs libusb")

import rclpy
from sensor_msgs.msg import Image

from robot_agent.core.clock import Stopwatch, SystemClock
from robot_agent.core.errors import InputError
from robot_agent.core.protocols import Camera
from robot_agent.core.types import Frame
from robot_agent.ros import convert, environment, topics
from robot_agent.ros.realsense_camera import RealSenseCamera, RealSenseConfig
from robot_agent.ros.topic_camera import TopicCamera, TopicConfig
from robot_agent.ros.uvc_camera import UvcCamera, UvcConfig
from tests.ros.software_camera import SoftwareCamera

SIZE_PX, HZ = (64, 48), 30
ORANGE = np.full((48, 64, 3), (220, 120, 20), np.uint8)
pytestmark = pytest.mark.ros


class Plugged:
    """A camera and the thread that sends it orange pictures, while it is plugged in."""

    def __init__(self, camera: Camera, send: Callable[[int], None]) -> None:
        self.camera, self._send = camera, send
        self.is_plugged, self._end = threading.Event(), threading.Event()
        self.is_plugged.set()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while not self._end.wait(1 / HZ):
            number += 1
            if self.is_plugged.is_set():
                self._send(number)

    def close(self) -> None:
        self._end.set()
        self._thread.join(2.0)
        self.camera.stop()


def realsense(folder: Path) -> Iterator[Plugged]:
    made: list[SoftwareCamera] = []

    def find(rs: Any, serial: str) -> Any:
        made.append(SoftwareCamera(rs, SIZE_PX))
        return made[-1].device

    def send(number: int) -> None:
        if made:
            made[-1].send(number, number * 1e3 / HZ, ORANGE)

    asked = RealSenseConfig(size_px=SIZE_PX, hz=HZ)
    plugged = Plugged(RealSenseCamera(SystemClock(), asked, find), send)
    yield plugged
    plugged.close()


def topic(folder: Path) -> Iterator[Plugged]:
    environment.prepare()
    rclpy.init()
    node = rclpy.create_node("driver")
    publisher = node.create_publisher(Image, "/some/image_raw", topics.SENSOR)
    wall_ns = 1_790_000_000 * 10**9

    def send(number: int) -> None:
        publisher.publish(convert.to_image(ORANGE, wall_ns + round(number * 1e9 / HZ)))

    asked = TopicConfig(topic="/some/image_raw", hz=HZ, publisher_s=5.0)
    plugged = Plugged(TopicCamera(SystemClock(), asked), send)
    yield plugged
    plugged.close()
    node.destroy_node()
    rclpy.try_shutdown()


def uvc(folder: Path) -> Iterator[Plugged]:
    path = folder / "orange.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), HZ, SIZE_PX)
    for _ in range(HZ):
        writer.write(ORANGE[:, :, ::-1])
    writer.release()
    asked = UvcConfig(device=str(path), size_px=SIZE_PX, hz=HZ)
    plugged = Plugged(UvcCamera(SystemClock(), asked), lambda number: None)
    yield plugged
    plugged.close()


@pytest.fixture(params=[realsense, topic, uvc], ids=lambda make: make.__name__)
def plugged(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Plugged]:
    yield from request.param(tmp_path)


def read(camera: Camera, count: int) -> list[Frame]:
    frames, watch = [], Stopwatch()
    while len(frames) < count:
        assert watch.seconds() < 10.0, f"{len(frames)} pictures within 10 s"
        frame = camera.read(0.2)
        frames += [frame] if frame is not None else []
    return frames


def test_pictures_are_rgb_numbered_and_stamped_on_the_monotonic_clock(plugged: Plugged) -> None:
    clock, camera = SystemClock(), plugged.camera
    camera.start()
    frames = read(camera, 8)
    for frame in frames:
        assert frame.image_hwc.shape == (48, 64, 3)
        assert frame.image_hwc.dtype == np.uint8
        assert np.abs(frame.image_hwc.mean((0, 1)) - ORANGE[0, 0]).max() < 12
        assert 0 <= clock.now_ns() - frame.stamp_ns < 5_000_000_000
    for earlier, later in pairwise(frames):
        assert later.number > earlier.number
        assert later.stamp_ns > earlier.stamp_ns
    assert camera.intrinsics.shape == (3, 3)
    assert camera.description
    assert camera.notes == ()


def test_stopping_twice_is_harmless_and_a_stopped_camera_starts_again(plugged: Plugged) -> None:
    camera = plugged.camera
    camera.stop()
    camera.start()
    read(camera, 2)
    camera.stop()
    camera.stop()
    camera.start()
    read(camera, 2)


def test_silence_takes_no_longer_than_it_may(plugged: Plugged) -> None:
    camera = plugged.camera
    camera.start()
    read(camera, 2)
    plugged.is_plugged.clear()
    watch = Stopwatch()
    while camera.read(0.1) is not None:  # what was under way, or the rest of the video
        assert watch.seconds() < 5.0
    watch = Stopwatch()
    assert camera.read(0.2) is None
    assert 0.15 < watch.seconds() < 1.0


def test_what_is_not_there_is_an_input_error_that_says_what_to_do(tmp_path: Path) -> None:
    environment.prepare()
    rclpy.init()
    size_px, clock = SIZE_PX, SystemClock()
    absent: tuple[Camera, ...] = (
        RealSenseCamera(clock, RealSenseConfig(size_px=size_px, hz=HZ, serial="42")),
        TopicCamera(clock, TopicConfig(topic="/none", hz=HZ, publisher_s=0.1)),
        UvcCamera(clock, UvcConfig(device=str(tmp_path / "none"), size_px=size_px, hz=HZ)),
    )
    for camera in absent:
        with pytest.raises(InputError, match=r"Check the cable|Start its driver|Plug it in"):
            camera.start()
        camera.stop()
    rclpy.try_shutdown()
