"""A UVC camera, played by a video file: profile, serial number, pace and colours."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from robot_agent.core.clock import Stopwatch, SystemClock
from robot_agent.core.errors import InputError
from robot_agent.ros.uvc_camera import UvcCamera, UvcConfig

SIZE_PX, HZ = (64, 48), 30


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a second of orange."""
    path = tmp_path_factory.mktemp("video") / "orange.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), HZ, SIZE_PX)
    for _ in range(15):
        writer.write(np.full((*SIZE_PX[::-1], 3), (20, 120, 220), np.uint8))
    writer.release()
    return path


def asked(device: Path | str, **changes: object) -> UvcConfig:
    return UvcConfig(**{"device": str(device), "size_px": SIZE_PX, "hz": HZ} | changes)  # type: ignore[arg-type]


def test_every_picture_comes_in_its_time_and_in_rgb(video: Path) -> None:
    camera, watch = UvcCamera(SystemClock(), asked(video)), Stopwatch()
    camera.start()
    frames = [frame for _ in range(15) if (frame := camera.read(1.0)) is not None]
    assert watch.seconds() > 0.4
    assert [frame.number for frame in frames] == list(range(15))
    steps_ms = [(b.stamp_ns - a.stamp_ns) * 1e-6 for a, b in pairwise(frames)]
    assert np.median(steps_ms) == pytest.approx(1e3 / HZ, abs=2.0)
    assert np.abs(frames[0].image_hwc.mean((0, 1)) - (220, 120, 20)).max() < 12
    assert camera.read(0.05) is None, "a device that gives no more is silent"
    camera.stop()
    camera.stop()
    assert not camera.intrinsics.any()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"size_px": (640, 480)}, r"gives 64x48@30 MJPG, must be 640x480@30 MJPG.*v4l2-ctl"),
        ({"hz": 15}, r"gives 64x48@30 MJPG, must be 64x48@15 MJPG"),
    ],
)
def test_another_profile_than_asked_for_is_refused(
    video: Path, changes: dict[str, object], text: str
) -> None:
    with pytest.raises(InputError, match=text):
        UvcCamera(SystemClock(), asked(video, **changes)).start()


def test_no_device_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"video7 does not exist. Plug it in; `ls /dev/video\*`"):
        UvcCamera(SystemClock(), asked(tmp_path / "video7")).start()


def test_what_is_no_camera_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.avi").write_text("no video")
    with pytest.raises(InputError, match=r"cannot be opened.*usermod -aG video"):
        UvcCamera(SystemClock(), asked(tmp_path / "x.avi")).start()


@pytest.fixture
def plugged(tmp_path: Path, video: Path) -> Callable[[str], UvcCamera]:
    """The video, as a USB device with a serial number in sysfs."""
    usb = tmp_path / "usb"
    (usb / "interface").mkdir(parents=True)
    (usb / "serial").write_text("A1B2\n")
    (tmp_path / "class" / video.name).mkdir(parents=True)
    (tmp_path / "class" / video.name / "device").symlink_to(usb / "interface")
    return lambda serial: UvcCamera(SystemClock(), asked(video, serial=serial), tmp_path / "class")


def test_the_serial_number_is_compared(plugged: Callable[[str], UvcCamera]) -> None:
    camera = plugged("A1B2")
    camera.start()
    assert camera.description.endswith("A1B2")
    camera.stop()
    with pytest.raises(InputError, match=r"serial number 'A1B2', must be 'XYZ'.*by-id"):
        plugged("XYZ").start()
