"""What `doctor` finds out about cameras: what is plugged in, and how a running one does."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from robot_agent.core.errors import InputError

if TYPE_CHECKING:
    from robot_agent.ros.camera_status import CameraStatus

Row = tuple[Literal["ok", "optional", "missing"], str, str]
"""Status as `doctor` knows it, value, remedy."""


def plugged_in(find: Callable[[], list[str]] | None = None, devices: Path = Path("/dev")) -> Row:
    """Return whether there is a camera, and whether a RealSense hangs on USB 3."""
    others = [str(path) for path in sorted(devices.glob("video*"))]
    try:
        found = (find or _find)()
    except (InputError, ImportError, OSError, RuntimeError) as error:
        return "optional", f"pyrealsense2: {error}", "Needed for a RealSense only."
    slow = [name for name in found if "USB 2" in name]
    if slow:
        fix = "Use a blue USB 3 port and the cable that came with the camera."
        return "missing", ", ".join(slow), fix
    if not found and not others:
        fix = "Needed on a robot only: plug the RealSense into a USB 3 port."
        return "optional", "no RealSense and no /dev/video*", fix
    return "ok", ", ".join([*found, *others]), ""


def health(ask: "Callable[[], CameraStatus | None] | None" = None) -> Row:
    """Return what a running camera node says; none runs before the agent does."""
    try:
        status = (ask or _ask)()
    except (ImportError, OSError, RuntimeError) as error:
        return "optional", f"rclpy: {error}", "Run: make setup"
    if status is None:
        fix = "Only with a real camera: start the agent and ask again."
        return "optional", "no camera node runs", fix
    if status.is_well:
        return "ok", status.summary(), ""
    return "missing", status.summary(), "See its message; then: robot-agent bench camera"


def rows() -> Iterator[tuple[str, Row]]:
    """Yield name and row of each finding."""
    yield "camera", plugged_in()
    yield "camera health", health()


def _find() -> list[str]:
    from robot_agent.ros.realsense_camera import found_cameras

    return found_cameras()


def _ask() -> "CameraStatus | None":
    from robot_agent.ros.camera_status import camera_status

    return camera_status()
