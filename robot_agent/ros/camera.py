"""Node `camera`: pictures of a RealSense, on the topics that `sim_world` serves in simulation."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from sensor_msgs.msg import CameraInfo, Image, JointState

from robot_agent.act.observation import FrameHealth, PairingConfig
from robot_agent.core.clock import SystemClock
from robot_agent.core.errors import InputError, RobotAgentError
from robot_agent.core.types import FloatArray
from robot_agent.ros import convert, params, process, topics
from robot_agent.ros.diagnostics import ERROR, OK, WARN, Diagnostics, Report
from robot_agent.ros.params import setting
from robot_agent.ros.realsense_camera import Frame, RealSenseCamera

_SUCCESS, _FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
_TIMEOUT_S = 0.5
_RECONNECT_AFTER = 4
"""Time-outs in a row after which the stream is started again."""


class Backend(Protocol):
    """A camera: the real one, or a fake of a test."""

    intrinsics: FloatArray

    def start(self) -> None:
        """Start streaming; InputError says what is missing."""

    def read(self, timeout_s: float) -> Frame | None:
        """Return the next picture, or None when none came in time."""

    def stop(self) -> None:
        """Stop streaming."""


@dataclass(frozen=True, kw_only=True)
class CameraConfig:
    """Parameters of the camera."""

    width: int = setting(640, "Width of a picture [px].", 32, 3840)
    height: int = setting(480, "Height of a picture [px].", 32, 2160)
    hz: int = setting(30, "Pictures per second.", 1, 90)
    serial: str = setting("", "Serial number; empty takes any camera.")
    max_age_s: float = setting(0.5, "Older pictures are a fault [s].", 0.05, 5.0)

    def __post_init__(self) -> None:
        """Check the ranges."""
        params.check_ranges(self)


MakeBackend = Callable[[CameraConfig], Backend]


def realsense(config: CameraConfig) -> Backend:
    """Return the RealSense that the parameters name."""
    size_px = (config.width, config.height)
    return RealSenseCamera(SystemClock(), size_px, config.hz, config.serial)


class CameraNode(LifecycleNode):
    """Reads in its own thread; the executor serves transitions and diagnostics."""

    def __init__(self, make_backend: MakeBackend = realsense) -> None:
        """Declare parameters and publishers; the camera is opened at configuration."""
        super().__init__("camera")
        self._config = params.declare(self, CameraConfig)
        self._make_backend = make_backend
        self._backend: Backend | None = None
        self._time = SystemClock()
        self._images = self.create_publisher(Image, topics.CAMERA_IMAGE, topics.SENSOR)
        self._info = self.create_publisher(CameraInfo, topics.CAMERA_INFO, topics.SENSOR)
        self.create_subscription(JointState, topics.JOINT_STATES, self._on_joints, topics.COMMAND)
        self._health = FrameHealth(PairingConfig())
        self._joints_rad: FloatArray | None = None
        self._newest_ns = self._frames = self._lost = self._number = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._diagnostics = Diagnostics(self, "camera", self._report)

    def on_configure(self, state: Any) -> Any:
        """Open the camera; it does not stream yet."""
        del state
        try:
            self._backend = self._make_backend(self._config)
        except RobotAgentError as error:
            self.get_logger().error(str(error))
            return _FAILURE
        return _SUCCESS

    def on_activate(self, state: Any) -> Any:
        """Stream and publish."""
        if self._backend is None:
            return _FAILURE
        try:
            self._backend.start()
        except (RobotAgentError, RuntimeError) as error:  # librealsense raises RuntimeError
            self.get_logger().error(str(error))
            return _FAILURE
        self._stop.clear()
        self._thread = threading.Thread(
            target=self._read, args=(self._backend,), name="camera", daemon=True
        )
        self._thread.start()
        return super().on_activate(state)

    def on_deactivate(self, state: Any) -> Any:
        """Stop streaming."""
        self.close()
        return super().on_deactivate(state)

    def on_cleanup(self, state: Any) -> Any:
        """Let go of the camera."""
        del state
        self._backend = None
        return _SUCCESS

    def close(self) -> None:
        """Stop the reading thread; a camera that hangs is left behind after two seconds."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(2.0)
            self._thread = None

    def _on_joints(self, message: Any) -> None:
        try:
            self._joints_rad = convert.joints_from(message)[0]
        except InputError as error:
            self.get_logger().error(str(error), throttle_duration_sec=5.0)

    def _read(self, backend: Backend) -> None:
        """Publish until told to stop; start the stream again when it falls silent."""
        silent = 0
        while not self._stop.is_set():
            frame = backend.read(_TIMEOUT_S)
            if frame is not None:
                self._publish(backend, frame)
                silent = 0
                continue
            silent += 1
            if silent % _RECONNECT_AFTER == 0:
                self.get_logger().error(f"no picture for {silent * _TIMEOUT_S:.1f} s; restarting")
                self._restart(backend)
        backend.stop()

    def _restart(self, backend: Backend) -> None:
        try:
            backend.stop()
            backend.start()
        except (RobotAgentError, RuntimeError) as error:
            self.get_logger().error(str(error))

    def _publish(self, backend: Backend, frame: Frame) -> None:
        if self._frames and frame.number > self._number + 1:
            self._lost += frame.number - self._number - 1
        self._number, self._newest_ns = frame.number, frame.stamp_ns
        self._frames += 1
        self._health.look(frame.image_hwc, self._joints_rad)
        height, width = frame.image_hwc.shape[:2]
        self._images.publish(convert.to_image(frame.image_hwc, frame.stamp_ns))
        self._info.publish(
            convert.to_camera_info(width, height, backend.intrinsics, frame.stamp_ns)
        )

    def _report(self) -> Report:
        if self._thread is None:
            return OK, "inactive", {}
        age_s = (self._time.now_ns() - self._newest_ns) * 1e-9 if self._frames else float("inf")
        values = {"frames": self._frames, "lost": self._lost, "age_s": age_s}
        if age_s > self._config.max_age_s:
            return ERROR, "no fresh picture", values
        if self._health.is_frozen:
            return WARN, "the same picture keeps coming while the arm moves", values
        return OK, "streaming", values


def main(arguments: Sequence[str] | None = None, make_backend: MakeBackend = realsense) -> int:
    """Run the node until it is told to end."""
    return process.run(lambda: CameraNode(make_backend), arguments)


if __name__ == "__main__":
    raise SystemExit(main())
