"""What the doctor says of cameras: plugged in, on USB 2, not there, unwell."""

from pathlib import Path

import pytest

from robot_agent.commands import doctor_camera
from robot_agent.core.errors import InputError

pytest.importorskip("rclpy", reason="the status is a ROS message")

from robot_agent.ros.camera_status import CameraStatus


def test_a_camera_on_usb_3_is_named(tmp_path: Path) -> None:
    (tmp_path / "video0").touch()
    status, value, fix = doctor_camera.plugged_in(lambda: ["D435 123, USB 3.2"], tmp_path)
    assert (status, fix) == ("ok", "")
    assert value == f"D435 123, USB 3.2, {tmp_path}/video0"


def test_a_camera_on_usb_2_is_to_be_mended(tmp_path: Path) -> None:
    status, value, fix = doctor_camera.plugged_in(lambda: ["D435 123, USB 2.1"], tmp_path)
    assert (status, value) == ("missing", "D435 123, USB 2.1")
    assert "USB 3 port" in fix


def test_no_camera_is_worth_knowing_and_stops_nothing(tmp_path: Path) -> None:
    status, value, fix = doctor_camera.plugged_in(list, tmp_path)
    assert status == "optional"
    assert "no RealSense" in value
    assert fix


def test_a_library_that_is_not_there_is_said(tmp_path: Path) -> None:
    def fail() -> list[str]:
        raise InputError("pyrealsense2 cannot be imported")

    assert doctor_camera.plugged_in(fail, tmp_path)[0] == "optional"


@pytest.mark.parametrize(
    ("answer", "status", "value"),
    [
        (None, "optional", "no camera node runs"),
        (
            CameraStatus(True, "streaming", {"rate_hz": "30.0", "lost": "0"}),
            "ok",
            "streaming; rate_hz 30.0; lost 0",
        ),
        (
            CameraStatus(False, "dark: Switch on a light", {}),
            "missing",
            "dark: Switch on a light",
        ),
    ],
)
def test_the_health_of_a_running_camera_is_reported(
    answer: CameraStatus | None, status: str, value: str
) -> None:
    found = doctor_camera.health(lambda: answer)
    assert found[:2] == (status, value)
