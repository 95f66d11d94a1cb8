"""A SpaceMouse: deflecting the cap moves, and holds the deadman; letting go releases."""

from collections.abc import Sequence

import numpy as np

from robot_agent.core.errors import InputError
from robot_agent.core.types import FloatArray
from robot_agent.teleop.buttons import EventButtons, EventQueue
from robot_agent.teleop.gripper import GripperToggle
from robot_agent.teleop.mapping import MappingConfig, delta_from_deflection
from robot_agent.teleop.sample import OperatorSample, ToolView, require_finite

LINGER_S = 0.5
"""A cap that rests this long is let go: a person who pauses between two moves keeps control."""
EVENT_BUTTONS = {1: "success", 2: "failure", 3: "discard", 4: "re_record", 5: "stop"}
"""Button 0 is the gripper; a mouse of two buttons judges success only."""
_HID_AXES = np.array([1, 0, 2, 3, 4, 5])
_HID_SIGNS = np.array([1.0, -1.0, 1.0, 1.0, 1.0, -1.0])


def deflection_from_hid(state: Sequence[float]) -> FloatArray:
    """Return deflections (6,) x forward, y left, z up, of pyspacemouse's x y z roll pitch yaw.

    For a person who looks the way the arm does. One who faces it turns the frame by 180 degrees
    about z (frame_rpy_deg), which gives [-y, x, z, -roll, -pitch, -yaw].

    Source: that mapping is the one of HIL-SERL and manipulator_gym.
    """
    return require_finite("spacemouse", np.array(state, np.float64))[_HID_AXES] * _HID_SIGNS


class SpaceMouse:
    """Deflections and buttons in, samples out."""

    def __init__(self, mapping: MappingConfig) -> None:
        """Start with the cap at rest."""
        self._mapping = mapping
        self._deflection: FloatArray = np.zeros(6)
        self._stamp_ns: int | None = None
        self._moved_ns = -(10**18)
        self._is_gripper = False
        self._gripper, self._events = GripperToggle(), EventQueue()
        self._buttons = EventButtons(EVENT_BUTTONS, self._events)

    def move(self, deflection: FloatArray, stamp_ns: int) -> None:
        """Take deflections (6,) in [-1, 1], x forward, y left, z up; InputError if not finite."""
        values = require_finite("spacemouse", deflection)
        if values.shape != (6,):
            raise InputError(f"spacemouse: {len(values)} axes, must be 6. Check the device.")
        self._deflection, self._stamp_ns = values, stamp_ns
        if self._is_deflected():
            self._moved_ns = stamp_ns

    def press(self, buttons: Sequence[int], stamp_ns: int) -> None:
        """Take the state of the buttons."""
        self._is_gripper = len(buttons) > 0 and bool(buttons[0])
        self._buttons.look(buttons)
        if self._is_gripper:
            self._moved_ns = stamp_ns
        if self._stamp_ns is None or not self._is_deflected():
            self._stamp_ns = stamp_ns  # a cap that is held must speak for itself

    def _is_deflected(self) -> bool:
        return bool(np.abs(self._deflection).max() > self._mapping.dead_zone)

    def poll(self, now_ns: int, tool: ToolView | None) -> OperatorSample | None:
        """Return what the last report means.

        A resting cap is silent by nature, so its reading is as fresh as the question. A deflected
        one reports many times a second: its silence is a lost device.
        """
        if self._stamp_ns is None:
            return None
        is_held = self._is_deflected() or (now_ns - self._moved_ns) * 1e-9 < LINGER_S
        return OperatorSample(
            stamp_ns=self._stamp_ns if self._is_deflected() else now_ns,
            delta=delta_from_deflection(self._deflection, self._mapping, tool),
            gripper=self._gripper.look(self._is_gripper, tool, is_held=is_held),
            deadman=is_held,
            event=self._events.take(),
        )
