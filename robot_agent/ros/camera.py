"""Node `camera`: pictures that are fit to act on, from a RealSense, a topic or a UVC camera.

They go out on the topics that `sim_world` serves in simulation. What is not fit is withheld: the
policy then sees no fresh picture, ends its episode, and the guard holds.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from sensor_msgs.msg import CameraInfo, Image, JointState

from robot_agent.core.clock import SystemClock
from robot_agent.core.errors import InputError, RobotAgentError
from robot_agent.core.protocols import Camera
from robot_agent.core.types import FloatArray, Frame
from robot_agent.ros import convert, params, process, realtime, topics
from robot_agent.ros.camera_config import CameraConfig, make_camera, reader_config
from robot_agent.ros.camera_reader import CameraReader
from robot_agent.ros.diagnostics import ERROR, OK, WARN, Diagnostics, Report

_SUCCESS, _FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
MakeCamera = Callable[[CameraConfig, str], Camera]
"""Makes the camera from the parameters and the node's namespace."""


class CameraNode(LifecycleNode):
    """The reader's thread reads and publishes; the executor serves transitions and diagnostics."""

    def __init__(self, make: MakeCamera = make_camera) -> None:
        """Declare parameters and publishers; the camera is made at configuration."""
        super().__init__("camera")
        self._config = params.declare(self, CameraConfig)
        self._make = make
        self._reader: CameraReader | None = None
        self._is_active = False
        self._time = SystemClock()
        self._images = self.create_publisher(Image, topics.CAMERA_IMAGE, topics.SENSOR)
        self._info = self.create_publisher(CameraInfo, topics.CAMERA_INFO, topics.SENSOR)
        self._depth = self.create_publisher(Image, topics.CAMERA_DEPTH, topics.SENSOR)
        self.create_subscription(JointState, topics.JOINT_STATES, self._on_joints, topics.COMMAND)
        self._joints_rad: FloatArray | None = None
        self._diagnostics = Diagnostics(self, "camera", self._report)

    def on_configure(self, state: Any) -> Any:
        """Make the camera; it does not stream yet."""
        del state
        try:
            self._reader = CameraReader(
                self._make(self._config, self.get_namespace()),
                self._time,
                reader_config(self._config),
                publish=self._publish,
                joints=lambda: self._joints_rad,
                log=lambda text: self.get_logger().error(text),
            )
        except RobotAgentError as error:
            self.get_logger().error(str(error))
            return _FAILURE
        return _SUCCESS

    def on_activate(self, state: Any) -> Any:
        """Start the camera; refused when there is none or its pictures are not fit."""
        if self._reader is None:
            return _FAILURE
        try:
            self._reader.open()
        except (RobotAgentError, RuntimeError) as error:  # librealsense raises RuntimeError
            self.get_logger().error(str(error))
            return _FAILURE
        for note in self._reader.camera.notes:
            self.get_logger().warning(note)
        self._is_active = True
        return super().on_activate(state)

    def on_deactivate(self, state: Any) -> Any:
        """Stop streaming."""
        self.close()
        return super().on_deactivate(state)

    def on_cleanup(self, state: Any) -> Any:
        """Let go of the camera."""
        del state
        self.close()
        self._reader = None
        return _SUCCESS

    def on_shutdown(self, state: Any) -> Any:
        """Stop streaming, whatever the state was."""
        del state
        self.close()
        return _SUCCESS

    def close(self) -> None:
        """Stop the reading thread; a camera that hangs is left behind."""
        self._is_active = False
        if self._reader is not None:
            self._reader.close()

    def _on_joints(self, message: Any) -> None:
        try:
            self._joints_rad = convert.joints_from(message)[0]
        except InputError as error:
            self.get_logger().error(str(error), throttle_duration_sec=5.0)

    def _publish(self, frame: Frame) -> None:
        """Publish one picture; in the reader's thread."""
        assert self._reader is not None
        height, width = frame.image_hwc.shape[:2]
        intrinsics = self._reader.camera.intrinsics
        self._images.publish(convert.to_image(frame.image_hwc, frame.stamp_ns))
        self._info.publish(convert.to_camera_info(width, height, intrinsics, frame.stamp_ns))
        if frame.depth_mm is not None:
            self._depth.publish(convert.to_depth(frame.depth_mm, frame.stamp_ns))

    def _report(self) -> Report:
        """Return the health of the stream: level, one line, and what was measured."""
        reader = self._reader
        if reader is None or not self._is_active:
            return OK, "inactive", {}
        status, verdict = reader.status, reader.status.verdict
        age_s = (self._time.now_ns() - status.newest_ns) * 1e-9 if status.frames else np.inf
        values = {
            "camera": reader.camera.description,
            "frames": status.frames,
            "lost": status.lost,
            "withheld": status.withheld,
            "refused": status.refused,
            "restarts": status.restarts,
            "age_s": f"{age_s:.3f}",
        }
        if status.moved_px is not None:
            values["moved_px"] = f"{status.moved_px:.1f}"
        if verdict is not None:
            values["rate_hz"] = f"{verdict.rate_hz:.1f}"
            values["brightness"] = f"{verdict.quality.brightness:.0f}"
            values["clipped"] = f"{verdict.quality.clipped:.3f}"
            values["sharpness"] = f"{verdict.quality.sharpness:.3f}"
        if status.trouble:
            return ERROR, status.trouble, values
        if age_s > self._config.max_age_s:
            return ERROR, "no fresh picture", values
        notes = [*reader.camera.notes, verdict.words() if verdict is not None else ""]
        if any(notes):
            return WARN, "; ".join(note for note in notes if note), values
        return OK, status.state, values


def main(arguments: Sequence[str] | None = None, make: MakeCamera = make_camera) -> int:
    """Run the node until it is told to end."""
    return process.run(lambda: CameraNode(make), arguments, nice=realtime.DRIVER_NICE)


if __name__ == "__main__":
    raise SystemExit(main())
