"""A camera without a camera: librealsense's software device that shows a frame counter."""

import threading
from functools import lru_cache
from typing import Any

import numpy as np

from robot_agent.core.clock import SystemClock

WIDTH, HEIGHT, HZ = 64, 48, 30
_GRAIN = np.random.default_rng(0).integers(0, 60, (2160, 3840, 3), dtype=np.uint8)


def picture(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """A sharp, well lit picture that differs from the one before; [0, 0] is its number."""
    image = _shown(number % 7, width, height).copy()
    image[0, 0] = number % 256
    return image


@lru_cache(maxsize=32)
def _shown(phase: int, width: int, height: int) -> np.ndarray:
    return 90 + np.roll(_GRAIN[:height, :width], phase, axis=1)


class SoftwareCamera:
    """Streams `picture`s from its own thread; colour, and flat depth where asked for."""

    def __init__(
        self,
        rs: Any,
        size_px: tuple[int, int] = (WIDTH, HEIGHT),
        *,
        serial: str = "123",
        usb: str = "3.2",
        depth_mm: int | None = None,
    ) -> None:
        self._rs, self.device, self._size_px = rs, rs.software_device(), size_px
        self.device.register_info(rs.camera_info.serial_number, serial)
        self.device.register_info(rs.camera_info.name, "Software Camera")
        self.device.register_info(rs.camera_info.usb_type_descriptor, usb)
        self._sensor = self.device.add_sensor("RGB Camera")
        self._sensor.add_video_stream(self._stream(rs.stream.color, rs.format.rgb8, 3))
        self._depth_mm = depth_mm
        if depth_mm is not None:
            self._depth_sensor = self.device.add_sensor("Depth")
            self._depth_sensor.add_video_stream(self._stream(rs.stream.depth, rs.format.z16, 2))
            self._depth_sensor.add_read_only_option(rs.option.depth_units, 0.001)
            self.device.create_matcher(rs.matchers.default)
            colour = self._sensor.get_stream_profiles()[0]
            same = rs.extrinsics()
            same.rotation, same.translation = [1, 0, 0, 0, 1, 0, 0, 0, 1], [0, 0, 0]
            self._depth_sensor.get_stream_profiles()[0].register_extrinsics_to(colour, same)
        self._stop = threading.Event()
        self.is_silent = threading.Event()
        self.numbers_left_out: set[int] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _stream(self, kind: Any, pixels: Any, num_bytes: int) -> Any:
        rs, stream = self._rs, self._rs.video_stream()
        stream.type, stream.index = kind, 0
        stream.uid = 1 if kind == rs.stream.color else 2
        stream.width, stream.height = self._size_px
        stream.fps, stream.bpp, stream.fmt = HZ, num_bytes, pixels
        intrinsics = rs.intrinsics()
        intrinsics.width, intrinsics.height = self._size_px
        intrinsics.fx = intrinsics.fy = 60.0
        intrinsics.ppx, intrinsics.ppy = 32.0, 24.0
        intrinsics.model, intrinsics.coeffs = rs.distortion.none, [0.0] * 5
        stream.intrinsics = intrinsics
        return stream

    def send(self, number: int, camera_ms: float, image: np.ndarray | None = None) -> None:
        shown = picture(number, *self._size_px) if image is None else image
        if self._depth_mm is not None:
            flat = np.full(self._size_px[::-1], self._depth_mm, np.uint16)
            self._hand_over(self._depth_sensor, flat, number, camera_ms)
        self._hand_over(self._sensor, shown, number, camera_ms)

    def _hand_over(self, sensor: Any, pixels: np.ndarray, number: int, camera_ms: float) -> None:
        rs, frame = self._rs, self._rs.software_video_frame()
        frame.pixels, frame.stride = pixels, pixels.strides[0]
        frame.bpp = pixels.itemsize * (pixels.shape[2] if pixels.ndim == 3 else 1)
        frame.timestamp, frame.domain = camera_ms, rs.timestamp_domain.hardware_clock
        frame.frame_number = number
        frame.profile = sensor.get_stream_profiles()[0].as_video_stream_profile()
        sensor.on_video_frame(frame)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(2.0)

    def _run(self) -> None:
        clock, number = SystemClock(), 0
        due_ns = clock.now_ns()
        while not self._stop.is_set():
            if not self.is_silent.is_set() and number not in self.numbers_left_out:
                self.send(number, number * 1e3 / HZ)
            number += 1
            due_ns += round(1e9 / HZ)
            clock.sleep_until(due_ns)
