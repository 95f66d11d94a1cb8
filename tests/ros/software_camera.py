"""A camera without a camera: librealsense's software device that shows a frame counter."""

import threading
from typing import Any

import numpy as np

from robot_agent.core.clock import SystemClock

WIDTH, HEIGHT, HZ = 64, 48, 30


class SoftwareCamera:
    """Streams pictures whose every byte is the frame number, from its own thread."""

    def __init__(self, rs: Any) -> None:
        self._rs, self.device = rs, rs.software_device()
        self.device.register_info(rs.camera_info.serial_number, "123")
        self._sensor = self.device.add_sensor("RGB Camera")
        self._sensor.add_video_stream(self._stream())
        self._stop = threading.Event()
        self.is_silent = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _stream(self) -> Any:
        rs, stream = self._rs, self._rs.video_stream()
        stream.type, stream.index, stream.uid = rs.stream.color, 0, 1
        stream.width, stream.height, stream.fps = WIDTH, HEIGHT, HZ
        stream.bpp, stream.fmt = 3, rs.format.rgb8
        intrinsics = rs.intrinsics()
        intrinsics.width, intrinsics.height = WIDTH, HEIGHT
        intrinsics.fx = intrinsics.fy = 60.0
        intrinsics.ppx, intrinsics.ppy = 32.0, 24.0
        intrinsics.model, intrinsics.coeffs = rs.distortion.none, [0.0] * 5
        stream.intrinsics = intrinsics
        return stream

    def send(self, number: int, camera_ms: float) -> None:
        rs, frame = self._rs, self._rs.software_video_frame()
        frame.pixels = np.full((HEIGHT, WIDTH, 3), number % 256, np.uint8)
        frame.stride, frame.bpp = WIDTH * 3, 3
        frame.timestamp, frame.domain = camera_ms, rs.timestamp_domain.hardware_clock
        frame.frame_number = number
        frame.profile = self._sensor.get_stream_profiles()[0].as_video_stream_profile()
        self._sensor.on_video_frame(frame)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(2.0)

    def _run(self) -> None:
        clock, number = SystemClock(), 0
        due_ns = clock.now_ns()
        while not self._stop.is_set():
            if not self.is_silent.is_set():
                self.send(number, number * 1e3 / HZ)
            number += 1
            due_ns += round(1e9 / HZ)
            clock.sleep_until(due_ns)
