"""The camera node and its RealSense backend on librealsense's software device."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, Image

from robot_agent.act.stamps import StampMapper
from robot_agent.core.clock import SystemClock
from robot_agent.core.errors import InputError
from robot_agent.ros import convert, topics
from robot_agent.ros.calls import ACTIVATE, CONFIGURE, DEACTIVATE
from robot_agent.ros.client import AgentClient
from robot_agent.ros.realsense_camera import RealSenseCamera, RealSenseConfig
from tests.ros.running import until
from tests.ros.software_camera import HEIGHT, HZ, WIDTH, SoftwareCamera, picture

CONFIG = RealSenseConfig(size_px=(WIDTH, HEIGHT), hz=HZ)
pytest.importorskip("libusb_package", reason="pyrealsense2 needs libusb")


@pytest.fixture
def camera() -> Iterator[tuple[RealSenseCamera, list[SoftwareCamera]]]:
    made: list[SoftwareCamera] = []

    def find(rs: Any, serial: str) -> Any:
        made.append(SoftwareCamera(rs))
        return made[-1].device

    backend = RealSenseCamera(SystemClock(), CONFIG, find)
    backend.start()
    yield backend, made
    backend.stop()


def test_pictures_arrive_with_number_and_monotonic_stamp(
    camera: tuple[RealSenseCamera, list[SoftwareCamera]],
) -> None:
    backend, made = camera
    clock, stamps = SystemClock(), []
    for number in range(5):
        made[0].send(number, 1000.0 + 33.0 * number)
        frame = backend.read(1.0)
        assert frame is not None
        assert frame.number == number
        assert frame.image_hwc.shape == (HEIGHT, WIDTH, 3)
        assert (frame.image_hwc == picture(number)).all()
        assert frame.stamp_ns <= clock.now_ns()
        stamps.append(frame.stamp_ns)
    assert np.allclose(backend.intrinsics, [[60, 0, 32], [0, 60, 24], [0, 0, 1]])


def test_a_silent_camera_returns_nothing_in_time(
    camera: tuple[RealSenseCamera, list[SoftwareCamera]],
) -> None:
    assert camera[0].read(0.05) is None


def test_a_stream_that_does_not_exist_is_refused_with_the_list_of_those_that_do() -> None:
    asked = replace(CONFIG, size_px=(640, 480))
    backend = RealSenseCamera(SystemClock(), asked, lambda rs, serial: SoftwareCamera(rs).device)
    with pytest.raises(InputError, match=r"no color stream 640x480@30.*64x48@30"):
        backend.start()


def test_no_camera_is_said_in_words() -> None:
    with pytest.raises(InputError, match=r"camera '42' is not there; found: none"):
        RealSenseCamera(SystemClock(), replace(CONFIG, serial="42")).start()


def test_the_fastest_frame_fixes_the_clock_and_no_stamp_lies_in_the_future() -> None:
    mapper = StampMapper()
    delays_ms = [12.0, 3.0, 40.0, 3.5, 8.0]
    errors_ms = []
    for index, delay_ms in enumerate(delays_ms):
        camera_ns, arrival_ns = index * 33_000_000, index * 33_000_000 + round(delay_ms * 1e6)
        stamp_ns = mapper.map(camera_ns, arrival_ns)
        assert stamp_ns <= arrival_ns
        errors_ms.append((stamp_ns - camera_ns) * 1e-6)
    assert errors_ms[1:] == pytest.approx([3.0] * 4)


def test_the_node_streams_between_activation_and_deactivation(
    ros_domain_id: int, tmp_path: Path
) -> None:
    words = [sys.executable, "-m", "tests.ros.camera_node", "--ros-args", "-r", "__ns:=/wx250s"]
    words += ["-p", f"width:={WIDTH}", "-p", f"height:={HEIGHT}", "-p", f"hz:={HZ}"]
    root = Path(__file__).parents[2]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(words, stdout=log, stderr=log, cwd=root) as node,
        AgentClient(domain_id=ros_domain_id) as client,
    ):
        images: list[Any] = []
        infos: list[Any] = []
        client.node.create_subscription(Image, topics.CAMERA_IMAGE, images.append, topics.SENSOR)
        client.node.create_subscription(
            CameraInfo, topics.CAMERA_INFO, infos.append, topics.SENSOR
        )
        assert client.calls.state_of("camera", 20.0) == 1
        assert client.calls.change_state("camera", CONFIGURE)
        assert not images
        assert client.calls.change_state("camera", ACTIVATE)
        until(lambda: len(images) >= 10 and infos, 5.0, "ten pictures")
        shown = convert.from_image(images[-1])
        assert (shown == picture(int(shown[0, 0, 0]))).all()
        stamps = [convert.from_stamp(image.header.stamp) for image in images]
        assert all(later > earlier for earlier, later in pairwise(stamps))
        assert infos[-1].k[0] == pytest.approx(60.0)
        assert client.calls.change_state("camera", DEACTIVATE)
        node.terminate()
        assert node.wait(10.0) == 0
