"""The real camera node on librealsense's software device, which streams while it is used."""

import os
import sys

from robot_agent.core.clock import SystemClock
from robot_agent.core.protocols import Camera
from robot_agent.ros import camera
from robot_agent.ros.camera_config import CameraConfig, make_camera, realsense_config
from robot_agent.ros.realsense_camera import RealSenseCamera
from tests.ros.software_camera import SoftwareCamera


class StreamingCamera(RealSenseCamera):
    """Feeds its own device while it streams."""

    def start(self) -> None:
        super().start()
        self.source.start()

    def stop(self) -> None:
        self.source.stop()
        super().stop()


def make(config: CameraConfig, namespace: str) -> Camera:
    if config.source != "realsense":
        return make_camera(config, namespace)

    def find(rs: object, serial: str) -> object:
        facts = {"usb": os.environ.get("TEST_CAMERA_USB", "3.2")}
        made.source = SoftwareCamera(rs, (config.width, config.height), **facts)
        return made.source.device

    made = StreamingCamera(SystemClock(), realsense_config(config), find)
    return made


if __name__ == "__main__":
    raise SystemExit(camera.main(sys.argv[1:], make))
