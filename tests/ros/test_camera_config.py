"""Parameters of the camera: described, ranged, validated when they are set, and never later."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rclpy
from rclpy.exceptions import InvalidParameterValueException
from rclpy.parameter import Parameter

from robot_agent.core.errors import CalibrationError, ConfigError
from robot_agent.ros import environment
from robot_agent.ros.camera import CameraNode
from robot_agent.ros.camera_config import CameraConfig, make_camera, reader_config
from robot_agent.ros.realsense_camera import RealSenseCamera
from robot_agent.ros.topic_camera import TopicCamera
from robot_agent.ros.uvc_camera import UvcCamera


@pytest.fixture(autouse=True)
def ros(ros_domain_id: int) -> Iterator[None]:
    environment.prepare()
    yield
    rclpy.try_shutdown()


def test_every_parameter_is_described_and_refuses_to_change_while_the_node_runs() -> None:
    rclpy.init()
    node = CameraNode()
    names = list(CameraConfig.__dataclass_fields__)
    for descriptor in node.describe_parameters(names):
        assert descriptor.description.endswith(".")
        assert descriptor.read_only
    ranged = {d.name for d in node.describe_parameters(names) if d.integer_range}
    assert {"width", "height", "hz", "settle_pictures"} == ranged
    answer = node.set_parameters([Parameter("hz", value=15)])[0]
    assert not answer.successful
    node.close()
    node.destroy_node()


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("source:=webcam", r"source='webcam' is not one of realsense, topic, uvc"),
        ("usb2:=maybe", r"usb2='maybe' is not one of refuse, allow"),
        ("reliability:=best", r"reliability='best' is not one of best_effort, reliable"),
        ("hz:=500", r"hz"),
        ("dark_below:=-1.0", r"dark_below"),
    ],
)
def test_a_value_that_cannot_be_is_refused_at_the_start(given: str, text: str) -> None:
    rclpy.init(args=["camera", "--ros-args", "-p", given])
    with pytest.raises((ConfigError, InvalidParameterValueException), match=text):
        CameraNode()


@pytest.mark.parametrize(
    ("source", "kind"),
    [("realsense", RealSenseCamera), ("topic", TopicCamera), ("uvc", UvcCamera)],
)
def test_the_source_names_the_camera(source: str, kind: type) -> None:
    if source == "realsense":
        pytest.importorskip("libusb_package", reason="pyrealsense2 needs libusb")
    camera = make_camera(CameraConfig(source=source), "/wx250s")
    assert isinstance(camera, kind)
    assert camera.notes == ()
    assert not np.any(camera.intrinsics)


def test_a_reference_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match=r"no picture can be read there"):
        reader_config(CameraConfig(reference=str(tmp_path / "none.png")))


def test_measured_latency_is_no_lateness() -> None:
    health = reader_config(CameraConfig(latency_s=0.08)).health
    assert health.max_late_s == pytest.approx(0.18)
