"""Where the calibration found the camera, on /tf_static over real DDS: one parent each."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TransformStamped
from tf2_msgs.msg import TFMessage

from robot_agent.calibrate.easy_handeye import OPTICAL_FRAME, ROOT_FRAME
from robot_agent.calibrate.poses import camera_looking
from robot_agent.calibrate.records import MAX_AGE_DAYS, Record, save
from robot_agent.core.geometry import pose
from robot_agent.ros import params, topics
from robot_agent.ros.client import AgentClient
from tests.ros.running import until

T_BASE_CAMERA = camera_looking(np.array([0.02, -0.15, 0.36]), np.array([1.0, 0.5, -1.0]))


def calibrated(folder: Path, robot: str = "wx250s", created: str = "") -> Path:
    values = {"T_base_camera": T_BASE_CAMERA.tolist(), "method": "test"}
    record = Record(
        kind="hand-eye",
        robot=robot,
        camera="123",
        values=values,
        residuals={"rms_px": 0.5},
        max_age_days=MAX_AGE_DAYS["hand-eye"],
        **({"created": created} if created else {}),
    )
    save(record, folder)
    return folder


@contextmanager
def running(**values: Any) -> Iterator["subprocess.Popen[str]"]:
    words = [sys.executable, "-m", "robot_agent.node", "camera_frames", "--ros-args"]
    words += ["-r", "__ns:=/wx250s", *params.arguments({"robot": "wx250s", **values})]
    child = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    try:
        yield child
    finally:
        child.terminate()
        child.communicate(timeout=10.0)


@pytest.fixture
def alone(ros_domain_id: int) -> Iterator[AgentClient]:
    """A client without an agent: these frames need none."""
    with AgentClient(domain_id=ros_domain_id) as client:
        yield client


@contextmanager
def listening(client: AgentClient, kind: Any, name: str, qos: Any) -> Iterator[list[Any]]:
    heard: list[Any] = []
    listener = client.node.create_subscription(kind, name, heard.append, qos)
    yield heard
    client.node.destroy_subscription(listener)


def matrix(message: Any) -> Any:
    q, p = message.transform.rotation, message.transform.translation
    x, y, z, w = q.x, q.y, q.z, q.w
    R = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    return pose(R, np.array([p.x, p.y, p.z]))


def told(heard: list[Any]) -> dict[str, Any]:
    """Return the newest transform of each child."""
    return {one.child_frame_id: one for message in heard for one in message.transforms}


def status(heard: list[Any]) -> Any:
    found = [s for array in heard for s in array.status if s.name.startswith("camera_frames")]
    return found[-1] if found else None


def test_a_late_listener_gets_the_hand_eye_result_with_one_parent_each(
    alone: AgentClient, tmp_path: Path
) -> None:
    folder = calibrated(tmp_path / "calibration")
    offset_m = [0.0, 0.015, 0.0]
    with (
        running(calibration=str(folder), link_optical_m=offset_m),
        listening(alone, DiagnosticArray, "/diagnostics", 10) as health,
    ):
        until(lambda: status(health), 20.0, "the node's health")
        with listening(alone, TFMessage, "/tf_static", topics.EVERY_STATE) as heard:
            until(lambda: heard, 5.0, "the latched transforms")
    found = told(heard)
    parents = {child: one.header.frame_id for child, one in found.items()}
    assert parents == {ROOT_FRAME: "wx250s/base_link", OPTICAL_FRAME: ROOT_FRAME}
    composed = matrix(found[ROOT_FRAME]) @ matrix(found[OPTICAL_FRAME])
    assert np.allclose(composed, T_BASE_CAMERA, atol=1e-6)
    assert matrix(found[OPTICAL_FRAME])[:3, 3].tolist() == offset_m
    assert status(health).message == "published"


def test_beside_a_driver_with_frames_of_its_own_only_the_root_is_placed(
    alone: AgentClient, tmp_path: Path
) -> None:
    folder = calibrated(tmp_path / "calibration")
    with (
        listening(alone, TFMessage, "/tf_static", topics.EVERY_STATE) as heard,
        running(calibration=str(folder), has_driver_frames=True),
    ):
        until(lambda: heard, 20.0, "transforms")
    assert set(told(heard)) == {ROOT_FRAME}


def test_a_second_parent_is_seen_and_named(alone: AgentClient, tmp_path: Path) -> None:
    folder = calibrated(tmp_path / "calibration")
    rival = alone.node.create_publisher(TFMessage, "/tf_static", topics.STATUS)
    wrong = TransformStamped(child_frame_id=OPTICAL_FRAME)
    wrong.header.frame_id = "wx250s/base_link"
    rival.publish(TFMessage(transforms=[wrong]))
    with (
        listening(alone, DiagnosticArray, "/diagnostics", 10) as health,
        running(calibration=str(folder)),
    ):
        until(lambda: status(health) and status(health).level == b"\x02", 20.0, "an error")
    words = status(health).message
    assert "has two parents: camera_link here and wx250s/base_link" in words
    assert "has_driver_frames:=true" in words
    alone.node.destroy_publisher(rival)


@pytest.mark.parametrize(
    ("robot", "created", "says"),
    [
        ("", "", "no such file"),
        ("vx300s", "", "of robot 'vx300s', must be of 'wx250s'"),
        ("wx250s", "20250101T000000", "days old, limit"),
    ],
)
def test_a_missing_foreign_or_old_calibration_publishes_nothing_and_says_why(
    alone: AgentClient, tmp_path: Path, robot: str, created: str, says: str
) -> None:
    folder = calibrated(tmp_path / "c", robot, created) if robot else tmp_path / "none"
    with (
        listening(alone, DiagnosticArray, "/diagnostics", 10) as health,
        listening(alone, TFMessage, "/tf_static", topics.EVERY_STATE) as heard,
        running(calibration=str(folder)) as child,
    ):
        until(lambda: status(health), 20.0, "the node's health")
        assert child.poll() is None, "the agent comes up without"
    assert says in status(health).message
    assert "robot-agent calibrate hand-eye" in status(health).message
    assert heard == []
