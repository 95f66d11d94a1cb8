"""Pictures of any UVC camera through OpenCV; a video file plays the camera in its own time."""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from robot_agent.act.stamps import FrameCounter, StampMapper
from robot_agent.core.errors import InputError
from robot_agent.core.protocols import Clock
from robot_agent.core.types import FloatArray, Frame
from robot_agent.ros.frame_queue import FrameQueue

_CODING = "MJPG"
"""Raw pictures of 640x480 at 30 Hz fill a USB 2 bus; every UVC camera codes this."""
_DEVICES = Path("/sys/class/video4linux")


@dataclass(frozen=True, kw_only=True)
class UvcConfig:
    """What is asked of the camera."""

    device: str
    """`/dev/video0`, or a video file."""
    size_px: tuple[int, int]
    """Width and height."""
    hz: int
    serial: str = ""
    latency_ns: int = 0
    """From exposure to arrival of the fastest picture; buffers of the driver count."""


class UvcCamera:
    """Grabs in a thread of its own, since a grab cannot be given a limit of time."""

    def __init__(self, clock: Clock, config: UvcConfig, devices: Path = _DEVICES) -> None:
        """Read `config.device`; its serial number is looked up below `devices`."""
        self._clock, self._config, self._devices = clock, config, devices
        self._frames = FrameQueue()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.intrinsics: FloatArray = np.zeros((3, 3))
        """A UVC camera does not know its own."""
        self.description = ""
        self.notes: tuple[str, ...] = ()

    def start(self) -> None:
        """Open the device and start grabbing.

        Raises:
            InputError: No such device, another serial number, or another profile than asked for.
        """
        path = Path(self._config.device)
        is_file = path.is_file()
        if not is_file and not path.exists():
            raise InputError(
                f"camera: {path} does not exist. Plug it in; `ls /dev/video*` lists what is there."
            )
        serial = self._check_serial(path)
        backend = cv2.CAP_ANY if is_file else cv2.CAP_V4L2
        capture = cv2.VideoCapture(str(path), backend)
        if not capture.isOpened():
            raise InputError(
                f"camera: {path} cannot be opened. Does another program use it, and are you in "
                f"the group `video`? sudo usermod -aG video $USER"
            )
        self._check_profile(capture, is_file=is_file)
        self.description = f"UVC {path} {serial}".rstrip()
        self._frames, self._stop = FrameQueue(), threading.Event()
        self._thread = threading.Thread(
            target=self._grab, args=(capture, self._frames, self._stop), daemon=True
        )
        self._thread.start()

    def read(self, timeout_s: float) -> Frame | None:
        """Return the next picture, or None when none came in time."""
        return self._frames.take(timeout_s)

    def stop(self) -> None:
        """Stop grabbing; the device is closed by the thread that reads it."""
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()

    def reset(self) -> None:
        """Do nothing: a UVC camera cannot be restarted by software."""

    def _check_serial(self, path: Path) -> str:
        """Return the USB serial number, empty where it has none."""
        wanted = self._config.serial
        interface = self._devices / path.resolve().name / "device"
        file = interface.resolve().parent / "serial"
        found = file.read_text("utf-8").strip() if file.is_file() else ""
        if wanted and found != wanted:
            raise InputError(
                f"camera: {path} has the serial number '{found or 'none'}', must be '{wanted}'. "
                f"Set device to the right one: ls -l /dev/v4l/by-id"
            )
        return found

    def _check_profile(self, capture: Any, *, is_file: bool) -> None:
        """Ask for the profile and compare with what the device then says."""
        width, height = self._config.size_px
        if not is_file:
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*_CODING))
            capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
            capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
            capture.set(cv2.CAP_PROP_FPS, self._config.hz)
            capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # an old picture is worth nothing
        found_px = (
            round(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
            round(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        )
        coding = int(capture.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode("latin-1")
        hz = capture.get(cv2.CAP_PROP_FPS)
        is_coded = is_file or coding == _CODING
        if found_px == (width, height) and abs(hz - self._config.hz) < 1.0 and is_coded:
            return
        capture.release()
        raise InputError(
            f"camera: {self._config.device} gives {found_px[0]}x{found_px[1]}@{hz:g} {coding}, "
            f"must be {width}x{height}@{self._config.hz} {_CODING}. Ask for one that it has: "
            f"v4l2-ctl --list-formats-ext -d {self._config.device}"
        )

    def _grab(self, capture: Any, frames: FrameQueue, stop: threading.Event) -> None:
        """Put frames until told to stop or until the device gives none; then close it."""
        stamps = StampMapper(self._config.latency_ns)
        counter = FrameCounter(round(1e9 / self._config.hz))
        is_file = Path(self._config.device).is_file()
        begin_ns, index = self._clock.now_ns(), 0
        while not stop.is_set():
            is_there, image = capture.read()
            if not is_there:
                break
            # V4L2 reports the driver's stamp; a file has only the time that it plays in.
            camera_ns = round(capture.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
            if is_file:
                camera_ns = begin_ns + round(index * 1e9 / self._config.hz)
                self._clock.sleep_until(camera_ns)
            stamp_ns = stamps.map(camera_ns, self._clock.now_ns())
            number = counter.count(camera_ns, is_replaced=stamps.is_replaced)
            image_hwc = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            frames.put(
                Frame(
                    np.asarray(image_hwc, np.uint8),
                    stamp_ns,
                    number,
                    is_stamp_replaced=stamps.is_replaced,
                )
            )
            index += 1
        capture.release()
