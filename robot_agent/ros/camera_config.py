"""Parameters of the camera's node, and the camera that they name."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robot_agent.act.camera_health import HealthConfig
from robot_agent.act.view import load_reference
from robot_agent.core.clock import SystemClock
from robot_agent.core.protocols import Camera
from robot_agent.ros import params
from robot_agent.ros.camera_reader import ReaderConfig
from robot_agent.ros.params import setting

if TYPE_CHECKING:
    from robot_agent.ros.realsense_camera import RealSenseConfig

_CHOICES = {
    "source": ("realsense", "topic", "uvc"),
    "usb2": ("refuse", "allow"),
    "reliability": ("best_effort", "reliable"),
}


@dataclass(frozen=True, kw_only=True)
class CameraConfig:
    """Parameters of the camera's node."""

    source: str = setting("realsense", "Where pictures come from: realsense, topic or uvc.")
    width: int = setting(640, "Width of a picture [px].", 32, 3840)
    height: int = setting(480, "Height of a picture [px].", 32, 2160)
    hz: int = setting(30, "Pictures per second.", 1, 90)
    serial: str = setting("", "Serial number, in quotes (realsense, uvc); empty takes any.")
    usb2: str = setting("refuse", "A RealSense on USB 2 (realsense): refuse or allow.")
    depth: bool = setting(False, "Also publish aligned depth (realsense).")
    device: str = setting("/dev/video0", "Device or video file (uvc).")
    topic: str = setting("/camera/camera/color/image_raw", "Pictures to listen to (topic).")
    frame_id: str = setting("", "Frame that they must name (topic); empty admits any.")
    reliability: str = setting("best_effort", "What is asked of them: best_effort or reliable.")
    latency_s: float = setting(0.0, "From exposure to the fastest arrival, measured [s].", 0, 0.5)
    settle_pictures: int = setting(30, "Pictures that only let the exposure settle.", 0, 300)
    max_age_s: float = setting(0.5, "Older pictures are a fault [s].", 0.05, 5.0)
    max_late_s: float = setting(0.1, "Longest way of a picture to here [s].", 0.01, 1.0)
    dark_below: float = setting(16.0, "Mean grey level that is too dark.", 0.0, 100.0)
    clipped_above: float = setting(0.4, "Share of white pixels that is too much.", 0.01, 1.0)
    blurred_below: float = setting(0.5, "Share of the usual sharpness.", 0.0, 0.95)
    slow_below: float = setting(0.8, "Share of the rate that is asked for.", 0.4, 1.0)
    reference: str = setting("", "Picture of the calibrated view; empty does without the check.")
    max_moved_px: float = setting(7.0, "Motion of the view that is refused [px].", 1.0, 100.0)

    def __post_init__(self) -> None:
        """Check ranges and choices."""
        params.check_ranges(self)
        for name, choices in _CHOICES.items():
            value = getattr(self, name)
            if value not in choices:
                raise ValueError(f"{name}='{value}' is not one of {', '.join(choices)}")


def make_camera(config: CameraConfig, namespace: str) -> Camera:
    """Return the camera that the parameters name, not started."""
    match config.source:
        case "realsense":
            from robot_agent.ros.realsense_camera import RealSenseCamera

            return RealSenseCamera(SystemClock(), realsense_config(config))
        case "topic":
            return _topic_camera(config, namespace)
    return _uvc_camera(config)


def realsense_config(config: CameraConfig) -> "RealSenseConfig":
    """Return what is asked of a RealSense."""
    from robot_agent.ros.realsense_camera import RealSenseConfig

    return RealSenseConfig(
        size_px=(config.width, config.height),
        hz=config.hz,
        serial=config.serial,
        with_depth=config.depth,
        is_usb2_allowed=config.usb2 == "allow",
        latency_ns=round(config.latency_s * 1e9),
    )


def _topic_camera(config: CameraConfig, namespace: str) -> Camera:
    from robot_agent.ros.topic_camera import TopicCamera, TopicConfig

    asked = TopicConfig(
        topic=config.topic,
        hz=config.hz,
        namespace=namespace,
        frame_id=config.frame_id,
        is_reliable=config.reliability == "reliable",
        latency_ns=round(config.latency_s * 1e9),
    )
    return TopicCamera(SystemClock(), asked)


def _uvc_camera(config: CameraConfig) -> Camera:
    from robot_agent.ros.uvc_camera import UvcCamera, UvcConfig

    asked = UvcConfig(
        device=config.device,
        size_px=(config.width, config.height),
        hz=config.hz,
        serial=config.serial,
        latency_ns=round(config.latency_s * 1e9),
    )
    return UvcCamera(SystemClock(), asked)


def reader_config(config: CameraConfig) -> ReaderConfig:
    """Return how the node reads.

    Raises:
        CalibrationError: The reference picture cannot be read.
    """
    return ReaderConfig(
        size_px=(config.width, config.height),
        hz=config.hz,
        settle_pictures=config.settle_pictures,
        reference_hwc=load_reference(Path(config.reference)) if config.reference else None,
        max_moved_px=config.max_moved_px,
        health=HealthConfig(
            dark_below=config.dark_below,
            clipped_above=config.clipped_above,
            blurred_below=config.blurred_below,
            slow_below=config.slow_below,
            max_late_s=config.max_late_s + config.latency_s,
        ),
    )
