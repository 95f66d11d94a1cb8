"""Pictures of a RealSense with its own stamps, through pyrealsense2; depth where asked for."""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_agent.act.stamps import StampMapper
from robot_agent.core.errors import InputError
from robot_agent.core.protocols import Clock
from robot_agent.core.types import FloatArray, Frame

_QUEUE = 16
"""Frames that wait for the reader: half a second at 30 Hz."""
FindDevice = Callable[[Any, str], Any]


@dataclass(frozen=True, kw_only=True)
class RealSenseConfig:
    """What is asked of the camera."""

    size_px: tuple[int, int]
    """Width and height."""
    hz: int
    serial: str = ""
    """Empty takes any camera, and from then on only that one."""
    with_depth: bool = False
    """Also depth, aligned to the colour picture."""
    is_usb2_allowed: bool = False
    """Whether USB 2 is put up with, where the profile exists there at all."""
    latency_ns: int = 0
    """From exposure to arrival of the fastest picture."""


class RealSenseCamera:
    """Reads one colour stream. One thread at a time calls the methods."""

    def __init__(
        self, clock: Clock, config: RealSenseConfig, find_device: FindDevice | None = None
    ) -> None:
        """Take the camera that `find_device` returns for a serial number, by default by USB."""
        self._rs = _pyrealsense()
        self._clock, self._config = clock, config
        self._find_device = find_device or _find_device
        self._serial = config.serial
        self._source: Any = None
        self._sensors: list[Any] = []
        self._align: Any = None
        self._depth_to_mm = 1.0
        self._stamps = StampMapper(config.latency_ns)
        self.intrinsics: FloatArray = np.zeros((3, 3))
        """Matrix (3, 3) [px] that the camera reports."""
        self.description = ""
        self.notes: tuple[str, ...] = ()

    def start(self) -> None:
        """Start streaming.

        Raises:
            InputError: No such camera, it hangs on USB 2, or it has no such stream; lists what it
                has.
        """
        device = self._find_device(self._rs, self._serial)
        self._serial = self._serial or device.get_info(self._rs.camera_info.serial_number)
        self._check_usb(device)
        rs = self._rs
        colour, profile = self._choose(device, rs.stream.color, rs.format.rgb8)
        self.intrinsics = _matrix(profile.get_intrinsics())
        self._stamps = StampMapper(self._config.latency_ns)
        if colour.supports(rs.option.auto_exposure_priority):
            colour.set_option(rs.option.auto_exposure_priority, 0)  # the rate stays in the dark
        chosen = [(colour, profile)]
        self._source = rs.frame_queue(_QUEUE)
        if self._config.with_depth:
            depth, depth_profile = self._choose(device, rs.stream.depth, rs.format.z16)
            chosen.append((depth, depth_profile))
            self._source, self._align = rs.syncer(_QUEUE), rs.align(rs.stream.color)
            self._depth_to_mm = 1e3 * depth.get_option(rs.option.depth_units)
        for sensor, one_profile in chosen:
            sensor.open(one_profile)
            sensor.start(self._source)
            self._sensors.append(sensor)

    def read(self, timeout_s: float) -> Frame | None:
        """Return the next picture, or None when none came in time.

        Depth is there when it came together with the picture; the picture does not wait for it.
        """
        deadline_ns = self._clock.now_ns() + round(timeout_s * 1e9)
        while (left_ns := deadline_ns - self._clock.now_ns()) > 0:
            try:
                colour, depth_mm = self._next(left_ns // 1_000_000 + 1)
            except RuntimeError:  # librealsense's only way to say that no frame came
                return None
            if colour:
                arrival_ns = self._clock.now_ns()
                camera_ns = round(colour.get_timestamp() * 1e6)
                return Frame(
                    # Copied: librealsense reuses the buffer as soon as the frame is let go.
                    image_hwc=np.array(np.asanyarray(colour.get_data())),
                    stamp_ns=self._stamps.map(camera_ns, arrival_ns),
                    number=colour.get_frame_number(),
                    depth_mm=depth_mm,
                    is_stamp_replaced=self._stamps.is_replaced,
                )
        return None

    def _next(self, timeout_ms: int) -> tuple[Any, NDArray[np.uint16] | None]:
        """Return the next colour frame, if it is one, and the depth that came with it [mm]."""
        if self._align is None:
            return self._source.wait_for_frame(timeout_ms), None
        both = self._source.wait_for_frames(timeout_ms)
        if not both.get_color_frame() or not both.get_depth_frame():
            return both.get_color_frame(), None
        aligned = self._align.process(both)
        depth = np.asanyarray(aligned.get_depth_frame().get_data()) * self._depth_to_mm
        return aligned.get_color_frame(), np.rint(depth).astype(np.uint16)

    def stop(self) -> None:
        """Stop streaming; harmless when it did not stream."""
        sensors, self._sensors = self._sensors, []  # let go of first: what follows may hang
        for sensor in sensors:
            sensor.stop()
            sensor.close()

    def reset(self) -> None:
        """Restart the camera's own firmware; it comes back within a few seconds."""
        self._find_device(self._rs, self._serial).hardware_reset()

    def _check_usb(self, device: Any) -> None:
        usb = _fact(self._rs, device, "usb_type_descriptor")
        name = _fact(self._rs, device, "name") or "RealSense"
        self.description = f"{name} {self._serial}, USB {usb or 'unknown'}"
        self.notes = ()
        if not usb.startswith("2"):
            return
        why = (
            f"camera '{self._serial}' hangs on USB {usb}, must be 3: profiles and rates are "
            f"missing there. Use a blue USB 3 port and the cable that came with the camera"
        )
        if not self._config.is_usb2_allowed:
            raise InputError(f"{why}, or set usb2:=allow.")
        self.notes = (f"{why}.",)

    def _choose(self, device: Any, stream: Any, pixels: Any) -> tuple[Any, Any]:
        """Return the sensor and the profile of one stream that was asked for."""
        width, height = self._config.size_px
        offered = []
        for sensor in device.query_sensors():
            for profile in sensor.get_stream_profiles():
                if profile.stream_type() != stream:
                    continue
                video = profile.as_video_stream_profile()
                found = (video.width(), video.height(), video.fps(), video.format())
                if found == (width, height, self._config.hz, pixels):
                    return sensor, video
                offered.append(f"{found[0]}x{found[1]}@{found[2]} {_name(found[3])}")
        raise InputError(
            f"camera: no {_name(stream)} stream {width}x{height}@{self._config.hz} "
            f"{_name(pixels)}. It offers: {', '.join(sorted(set(offered))) or 'none'}."
        )


def found_cameras() -> list[str]:
    """Return name, serial number and USB type of every RealSense; for `doctor`.

    Raises:
        InputError: pyrealsense2 is not there.
    """
    rs = _pyrealsense()
    facts = ("name", "serial_number", "usb_type_descriptor")
    return [
        "{} {}, USB {}".format(*(_fact(rs, device, fact) for fact in facts))
        for device in rs.context().query_devices()
    ]


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


def _fact(rs: Any, device: Any, name: str) -> str:
    """Return one of the device's facts, or an empty text where it has none."""
    key = getattr(rs.camera_info, name)
    return str(device.get_info(key)) if device.supports(key) else ""


def _name(value: Any) -> str:
    return str(value).rpartition(".")[2]


def _matrix(intrinsics: Any) -> FloatArray:
    return np.array(
        [
            [intrinsics.fx, 0.0, intrinsics.ppx],
            [0.0, intrinsics.fy, intrinsics.ppy],
            [0.0, 0.0, 1.0],
        ]
    )
