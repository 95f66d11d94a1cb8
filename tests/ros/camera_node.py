"""The real camera node on librealsense's software device."""

import sys

from robot_agent.core.clock import SystemClock
from robot_agent.ros import camera
from robot_agent.ros.camera import CameraConfig
from robot_agent.ros.realsense_camera import RealSenseCamera
from tests.ros.software_camera import SoftwareCamera


class StreamingCamera(RealSenseCamera):
    """Feeds its own device while it streams."""

    def start(self) -> None:
        super().start()
        self.source.start()


def make(config: CameraConfig) -> StreamingCamera:
    source: list[SoftwareCamera] = []

    def find(rs: object, serial: str) -> object:
        source.append(SoftwareCamera(rs))
        return source[-1].device

    size_px = (config.width, config.height)
    made = StreamingCamera(SystemClock(), size_px, config.hz, config.serial, find)
    made.source = type("Late", (), {"start": lambda self: source[-1].start()})()
    return made


if __name__ == "__main__":
    raise SystemExit(camera.main(sys.argv[1:], make))
