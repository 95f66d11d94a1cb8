"""A SpaceMouse at a USB port, through the library pyspacemouse."""

from collections.abc import Callable
from typing import Any

from robot_agent.core.errors import InputError
from robot_agent.teleop.spacemouse import SpaceMouse, deflection_from_hid

_REMEDY = (
    "Plug it in, allow hidraw for your user (a udev rule; robot-agent doctor shows it), "
    "or use --device spacenav."
)


def open_mouse() -> Any:
    """Return an opened SpaceMouse.

    Raises:
        InputError: The library is missing or no device is there.
    """
    try:
        import pyspacemouse
    except ImportError as error:
        raise InputError(
            f"spacemouse: {error}. Install the Python package pyspacemouse and libhidapi-hidraw0, "
            f"or use --device spacenav."
        ) from error
    try:
        mouse = pyspacemouse.open()
    except Exception as error:  # the library raises bare Exceptions
        raise InputError(f"spacemouse: cannot be opened: {error}. {_REMEDY}") from error
    if not mouse:
        raise InputError(f"spacemouse: none was found. {_REMEDY}")
    return mouse


class HidMouse:
    """Hands the reports of a USB device to a SpaceMouse."""

    def __init__(self, mouse: SpaceMouse, open_device: Callable[[], Any] = open_mouse) -> None:
        """Open the device; InputError says what is missing."""
        self._mouse, self._device = mouse, open_device()
        self._time: float | None = None

    def look(self, now_ns: int) -> None:
        """Read the newest report; InputError when the device is gone or speaks nonsense."""
        try:
            state = self._device.read()
        except (OSError, ValueError) as error:
            raise InputError(f"spacemouse: cannot be read: {error}. {_REMEDY}") from error
        if state is None or state.t == self._time:  # nothing new since the last look
            return
        self._time = state.t
        axes = (state.x, state.y, state.z, state.roll, state.pitch, state.yaw)
        self._mouse.move(deflection_from_hid(axes), now_ns)
        self._mouse.press(list(state.buttons), now_ns)

    def close(self) -> None:
        """Let go of the device."""
        self._device.close()
