"""Node `camera_frames`: publishes where the calibration found the camera, as a static TF."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from tf2_msgs.msg import TFMessage

from robot_agent.calibrate.easy_handeye import (
    OPTICAL_FRAME,
    ROOT_FRAME,
    T_LINK_OPTICAL_ROTATION,
    static_transform,
    transform_of,
)
from robot_agent.core.errors import CalibrationError
from robot_agent.core.geometry import pose
from robot_agent.ros import params, process, topics
from robot_agent.ros.calibrations import hand_eye_for
from robot_agent.ros.diagnostics import ERROR, OK, WARN, Diagnostics, Report
from robot_agent.ros.params import setting


@dataclass(frozen=True, kw_only=True)
class CameraFramesConfig:
    """Parameters of the node."""

    calibration: str = setting(
        "calibration", "Folder of calibrations, or `simulated` for the simulator's camera."
    )
    robot: str = setting("", "Robot that the calibration must be of, and prefix of base_link.")
    camera_serial: str = setting("", "Serial number of the camera it must be of; empty for any.")
    has_driver_frames: bool = setting(
        False, "Whether the camera's driver publishes camera_link to its optical frame itself."
    )
    link_optical_m: tuple[float, ...] = setting(
        (0.0, 0.0, 0.0), "Place of the optical frame in camera_link [m]; D435: 0, 0.015, 0."
    )

    def __post_init__(self) -> None:
        """Check the ranges."""
        params.check_ranges(self)
        if len(self.link_optical_m) != 3 or not np.isfinite(self.link_optical_m).all():
            raise ValueError(f"link_optical_m={self.link_optical_m} must be three finite numbers")


class CameraFramesNode(Node):
    """Says it once, latched, and watches that nobody gives these frames a second parent."""

    def __init__(self) -> None:
        """Read the calibration; without one the node stays, says so, and publishes nothing."""
        super().__init__("camera_frames")
        self._config = params.declare(self, CameraFramesConfig)
        self._transforms: dict[str, Mapping[str, Any]] = {}
        self._problem = ""
        self._publisher = self.create_publisher(TFMessage, topics.TF_STATIC, topics.STATUS)
        self._diagnostics = Diagnostics(self, "camera_frames", self._report)
        try:
            self._transforms = self._found()
        except CalibrationError as error:
            self._problem = str(error)
            self.get_logger().error(self._problem)
            return
        # First what others say, then ours: a transform of a previous run must not look foreign.
        self.create_subscription(TFMessage, topics.TF_STATIC, self._on_others, topics.EVERY_STATE)
        self._publisher.publish(TFMessage(transforms=[self._message(t) for t in self._said()]))

    def close(self) -> None:
        """Nothing to end."""

    def _found(self) -> dict[str, Mapping[str, Any]]:
        """Return the transforms by their child."""
        config = self._config
        T_base_camera = hand_eye_for(  # noqa: N806 - a transform
            config.calibration, config.robot, config.camera_serial
        )
        T_link_optical = pose(  # noqa: N806 - a transform
            T_LINK_OPTICAL_ROTATION, np.array(config.link_optical_m)
        )
        found = {ROOT_FRAME: static_transform(T_base_camera, T_link_optical, config.robot)}
        if not config.has_driver_frames:
            inner = {"parent": ROOT_FRAME, "child": OPTICAL_FRAME}
            found[OPTICAL_FRAME] = {**inner, **transform_of(T_link_optical)}
        return found

    def _said(self) -> list[Mapping[str, Any]]:
        return list(self._transforms.values())

    def _message(self, transform: Mapping[str, Any]) -> Any:
        message = TransformStamped(child_frame_id=transform["child"])
        message.header.frame_id = transform["parent"]
        message.header.stamp = self.get_clock().now().to_msg()
        for part in ("translation", "rotation"):
            for axis, value in transform[part].items():
                setattr(getattr(message.transform, part), axis, value)
        return message

    def _on_others(self, message: Any) -> None:
        """Compare: a frame has one parent, and static transforms come from one place."""
        for other in message.transforms:
            ours = self._transforms.get(other.child_frame_id)
            if ours is None or other.header.frame_id == ours["parent"]:
                continue
            self._problem = (
                f"{other.child_frame_id} has two parents: {ours['parent']} here and "
                f"{other.header.frame_id} from another node. End that node, or start this one "
                f"with has_driver_frames:=true"
            )
            self.get_logger().error(self._problem)

    def _report(self) -> Report:
        values = {t["child"]: f"in {t['parent']}" for t in self._said()}
        if self._problem:
            return (ERROR if self._transforms else WARN), self._problem, values
        return OK, "published", values


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node until it is told to end."""
    return process.run(CameraFramesNode, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
