"""640x480 at 30 Hz from the device through the camera node and DDS: no frame is lost."""

from pathlib import Path

import pytest

from robot_agent.ros.bench_camera import bench_camera

pytest.importorskip("libusb_package", reason="pyrealsense2 needs libusb")

SECONDS, HZ = 10.0, 30


@pytest.mark.slow
def test_no_frame_is_lost(ros_domain_id: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    found = bench_camera(
        SECONDS,
        {"source": "realsense", "width": 640, "height": 480, "hz": HZ, "max_late_s": 0.5},
        domain_id=ros_domain_id,
        module=("-m", "tests.ros.camera_node"),  # librealsense's software device
    )
    assert found["camera"] == {"lost": 0, "withheld": 0, "refused": 0, "restarts": 0}
    assert found["lost"] == 0
    assert found["received"] == pytest.approx(SECONDS * HZ, abs=5)
    assert found["rate_hz"] == pytest.approx(HZ, rel=0.01)
