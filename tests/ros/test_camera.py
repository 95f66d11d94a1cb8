"""The camera node and its RealSense backend on librealsense's software device."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, Image

from robot_agent.act.camera_health import HealthConfig
from robot_agent.core.clock import SystemClock
from robot_agent.core.errors import InputError
from robot_agent.ros import convert, topics
from robot_agent.ros.calls import ACTIVATE, CONFIGURE, DEACTIVATE
from robot_agent.ros.camera_reader import CameraReader, ReaderConfig
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


def test_usb_2_is_refused_or_put_up_with_and_said() -> None:
    def find(rs: Any, serial: str) -> Any:
        made.append(SoftwareCamera(rs, usb="2.1"))
        return made[-1].device

    made: list[SoftwareCamera] = []
    with pytest.raises(InputError, match=r"'123' hangs on USB 2.1, must be 3.*usb2:=allow"):
        RealSenseCamera(SystemClock(), CONFIG, find).start()
    backend = RealSenseCamera(SystemClock(), replace(CONFIG, is_usb2_allowed=True), find)
    backend.start()
    assert "USB 3 port" in backend.notes[0]
    assert backend.description == "Software Camera 123, USB 2.1"
    backend.stop()


def test_only_the_camera_of_the_first_start_is_taken_again(
    camera: tuple[RealSenseCamera, list[SoftwareCamera]], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, asked_for = camera[0], []
    backend.stop()

    def gone(rs: Any, serial: str) -> Any:
        asked_for.append(serial)
        raise InputError(f"camera '{serial}' is not there")

    monkeypatch.setattr(backend, "_find_device", gone)
    with pytest.raises(InputError, match="camera '123' is not there"):
        backend.start()
    assert asked_for == ["123"]


def test_a_device_clock_that_jumps_costs_one_stamp_and_a_late_frame_keeps_its_own(
    camera: tuple[RealSenseCamera, list[SoftwareCamera]],
) -> None:
    backend, made = camera
    clock, hour_ms = SystemClock(), 3_600_000.0
    sent_ms = [1000.0, 1033.0, hour_ms, hour_ms + 33, 500.0, 533.0]
    replaced = []
    for number, camera_ms in enumerate(sent_ms):
        made[0].send(number, camera_ms)
        frame = backend.read(1.0)
        assert frame is not None
        assert 0 <= clock.now_ns() - frame.stamp_ns < 1_000_000_000
        replaced.append(frame.is_stamp_replaced)
    assert replaced == [False, False, True, False, True, False]


def test_depth_comes_in_millimetres_and_no_picture_waits_for_it() -> None:
    made: list[SoftwareCamera] = []

    def find(rs: Any, serial: str) -> Any:
        made.append(SoftwareCamera(rs, depth_mm=730))
        return made[-1].device

    backend = RealSenseCamera(SystemClock(), replace(CONFIG, with_depth=True), find)
    backend.start()
    frames = []
    for number in range(12):
        made[0].send(number, 1000.0 + 33.0 * number)
        frames.append(backend.read(1.0))
    backend.stop()
    assert [frame.number for frame in frames if frame is not None] == list(range(12))
    depths = [f.depth_mm for f in frames if f is not None and f.depth_mm is not None]
    assert depths, "some depth came with its picture"
    assert all(d.dtype == np.uint16 and (np.median(d) == 730) for d in depths)


def test_a_camera_without_the_depth_that_is_asked_for_is_refused() -> None:
    backend = RealSenseCamera(
        SystemClock(),
        replace(CONFIG, with_depth=True),
        lambda rs, serial: SoftwareCamera(rs).device,
    )
    with pytest.raises(InputError, match=r"no depth stream 64x48@30 z16. It offers: none"):
        backend.start()


class Unplugged(RealSenseCamera):
    """Feeds its own device; can be unplugged, and then stops by hanging."""

    def __init__(self) -> None:
        self.sources: list[SoftwareCamera] = []
        self.is_gone, self.let_go = threading.Event(), threading.Event()
        super().__init__(SystemClock(), CONFIG, self._plugged)

    def _plugged(self, rs: Any, serial: str) -> Any:
        if self.is_gone.is_set():
            raise InputError(f"camera '{serial}' is not there; found: none.")
        self.sources.append(SoftwareCamera(rs))
        return self.sources[-1].device

    def start(self) -> None:
        super().start()
        self.sources[-1].start()

    def stop(self) -> None:
        self.sources[-1].stop()
        if self.is_gone.is_set():
            self.let_go.wait()  # as librealsense does after an unplug
        super().stop()


def test_a_realsense_that_is_unplugged_comes_back_though_its_stop_hangs() -> None:
    camera, seen, log = Unplugged(), [], []  # type: ignore[var-annotated]
    reader = CameraReader(
        camera,
        SystemClock(),
        ReaderConfig(
            size_px=(WIDTH, HEIGHT),
            hz=HZ,
            settle_pictures=3,
            health=HealthConfig(max_late_s=1.0, slow_below=0.1, stalling_below=0.0),
            restart_after_s=0.3,
            stop_timeout_s=0.3,
            backoff_s=0.1,
        ),
        publish=seen.append,
        joints=lambda: None,
        log=log.append,
    )
    reader.open()
    until(lambda: len(seen) > 5, 5.0, "pictures")
    camera.is_gone.set()
    camera.sources[-1].is_silent.set()
    until(lambda: "'123' is not there" in reader.status.trouble, 5.0, "the trouble")
    assert any("hangs" in line for line in log)
    count = len(seen)
    camera.is_gone.clear()
    until(lambda: len(seen) > count + 5, 5.0, "pictures again")
    assert reader.status.restarts == 1
    camera.let_go.set()
    reader.close()


def test_frames_that_are_left_out_are_counted_as_lost() -> None:
    camera, seen = Unplugged(), []  # type: ignore[var-annotated]
    health = HealthConfig(max_late_s=1.0, slow_below=0.1, stalling_below=0.0)
    reader = CameraReader(
        camera,
        SystemClock(),
        ReaderConfig(size_px=(WIDTH, HEIGHT), hz=HZ, settle_pictures=3, health=health),
        publish=seen.append,
        joints=lambda: None,
        log=lambda text: None,
    )
    reader.open()
    next_number = seen[-1].number
    camera.sources[-1].numbers_left_out |= set(range(next_number + 10, next_number + 14))
    until(lambda: seen[-1].number > next_number + 20, 5.0, "pictures after the gap")
    assert reader.status.lost == 4
    reader.close()


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
