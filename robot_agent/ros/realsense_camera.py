"""Colour pictures of a RealSense with its own stamps; the second backend of the camera node."""

import ctypes
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from robot_agent.core.errors import InputError
from robot_agent.core.protocols import Clock
from robot_agent.core.types import FloatArray, ImageArray

_QUEUE = 2
_OFFSETS = 300
"""Frames over which the fastest one fixes the offset of the camera's clock: 10 s at 30 Hz."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture."""

    image_hwc: ImageArray
    stamp_ns: int
    """Monotonic capture time."""
    number: int
    """Counted by the camera; a gap is a lost frame."""


class StampMapper:
    """Maps a camera's clock to the monotonic one by the frame that travelled fastest.

    A frame can be late by the bus and the host, never early, so the smallest difference of arrival
    and camera stamp is the best estimate of the offset; a window lets it follow a drift.
    """

    def __init__(self) -> None:
        """Begin without an offset."""
        self._offsets_ns: deque[int] = deque(maxlen=_OFFSETS)

    def map(self, camera_ns: int, arrival_ns: int) -> int:
        """Return the monotonic capture time of a frame, at most its arrival."""
        self._offsets_ns.append(arrival_ns - camera_ns)
        return min(camera_ns + min(self._offsets_ns), arrival_ns)


class RealSenseCamera:
    """Reads one colour stream. One thread calls the methods."""

    def __init__(
        self,
        clock: Clock,
        size_px: tuple[int, int],
        hz: int,
        serial: str = "",
        find_device: Callable[[Any, str], Any] | None = None,
    ) -> None:
        """Ask for `size_px` (width, height) at `hz` of the camera with `serial`, or of any one."""
        self._rs = _pyrealsense()
        self._clock, self._size_px, self._hz, self._serial = clock, size_px, hz, serial
        self._find_device = find_device or _find_device
        self._queue = self._rs.frame_queue(_QUEUE)
        self._sensor: Any = None
        self._stamps = StampMapper()
        self.intrinsics: FloatArray = np.eye(3)
        """Matrix (3, 3) [px] that the camera reports."""

    def start(self) -> None:
        """Start streaming.

        Raises:
            InputError: No such camera, or it has no such stream; lists what it has.
        """
        device = self._find_device(self._rs, self._serial)
        sensor, profile = self._choose(device)
        self.intrinsics = _matrix(profile.get_intrinsics())
        self._stamps = StampMapper()
        sensor.open(profile)
        sensor.start(self._queue)
        self._sensor = sensor

    def read(self, timeout_s: float) -> Frame | None:
        """Return the next picture, or None when none came in time."""
        try:
            frame = self._queue.wait_for_frame(round(timeout_s * 1e3))
        except RuntimeError:  # librealsense's only way to say that no frame came
            return None
        arrival_ns = self._clock.now_ns()
        camera_ns = round(frame.get_timestamp() * 1e6)
        # Copied: librealsense reuses the buffer as soon as the frame is let go.
        image_hwc = np.array(np.asanyarray(frame.get_data()))
        return Frame(image_hwc, self._stamps.map(camera_ns, arrival_ns), frame.get_frame_number())

    def stop(self) -> None:
        """Stop streaming; harmless when it did not stream."""
        if self._sensor is not None:
            self._sensor.stop()
            self._sensor.close()
            self._sensor = None

    def _choose(self, device: Any) -> tuple[Any, Any]:
        rs, offered = self._rs, []
        for sensor in device.query_sensors():
            for profile in sensor.get_stream_profiles():
                if profile.stream_type() != rs.stream.color:
                    continue
                video = profile.as_video_stream_profile()
                found = (video.width(), video.height(), video.fps(), video.format())
                if found == (*self._size_px, self._hz, rs.format.rgb8):
                    return sensor, video
                offered.append(f"{found[0]}x{found[1]}@{found[2]} {found[3]}")
        raise InputError(
            f"camera: no colour stream {self._size_px[0]}x{self._size_px[1]}@{self._hz} rgb8. "
            f"It offers: {', '.join(sorted(set(offered))) or 'none'}."
        )


def _pyrealsense() -> Any:
    """Return the module; with libusb from its wheel where the system has none."""
    try:
        import pyrealsense2 as rs
    except ImportError as error:
        try:
            import libusb_package
        except ImportError:
            raise InputError(
                f"pyrealsense2 cannot be imported ({error}). Install it: pip install pyrealsense2 "
                f"libusb-package, or: sudo apt install libusb-1.0-0"
            ) from error
        ctypes.CDLL(str(libusb_package.get_library_path()), mode=ctypes.RTLD_GLOBAL)
        import pyrealsense2 as rs
    return rs


def _find_device(rs: Any, serial: str) -> Any:
    devices = list(rs.context().query_devices())
    serials = [device.get_info(rs.camera_info.serial_number) for device in devices]
    for device, found in zip(devices, serials, strict=True):
        if serial in ("", found):
            return device
    raise InputError(
        f"camera '{serial or 'any'}' is not there; found: {', '.join(serials) or 'none'}. "
        f"Check the cable (USB 3) and the serial number."
    )


def _matrix(intrinsics: Any) -> FloatArray:
    return np.array(
        [
            [intrinsics.fx, 0.0, intrinsics.ppx],
            [0.0, intrinsics.fy, intrinsics.ppy],
            [0.0, 0.0, 1.0],
        ]
    )
