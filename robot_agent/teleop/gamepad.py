"""A gamepad as the `joy` package reports it: hold the left shoulder button to move."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from robot_agent.core.errors import ConfigError, InputError
from robot_agent.core.types import FloatArray
from robot_agent.teleop.buttons import EventButtons, EventQueue
from robot_agent.teleop.gripper import GripperToggle
from robot_agent.teleop.mapping import MappingConfig, delta_from_deflection
from robot_agent.teleop.sample import OperatorSample, ToolView, require_finite

Axis = tuple[int, float]
"""Number of an axis and the sign that makes forward, left, up or counter-clockwise positive."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Which axis and button of a pad means what."""

    x: Axis = (1, 1.0)
    y: Axis = (0, 1.0)
    z: Axis = (4, 1.0)
    yaw: Axis = (3, 1.0)
    pitch: Axis = (7, 1.0)
    roll: Axis = (6, -1.0)
    deadman: int = 4
    gripper: int = 5
    events: Mapping[int, str] = field(
        default_factory=lambda: {
            0: "success",
            1: "failure",
            2: "discard",
            3: "re_record",
            7: "stop",
        }
    )


LAYOUTS = {
    "joy": Layout(),
    "game_controller": Layout(
        z=(3, 1.0),
        yaw=(2, 1.0),
        pitch=(-1, 1.0),
        roll=(-1, 1.0),
        deadman=9,
        gripper=10,
        events={0: "success", 1: "failure", 2: "discard", 3: "re_record", 6: "stop"},
    ),
}
"""An Xbox-like pad behind `joy_node`, and any pad behind `game_controller_node` of `joy`."""


class Gamepad:
    """Axes and buttons in, samples out."""

    def __init__(self, mapping: MappingConfig, layout: str = "joy") -> None:
        """Read a pad of one of LAYOUTS; ConfigError lists them."""
        if layout not in LAYOUTS:
            raise ConfigError(f"layout '{layout}' is unknown, must be {' or '.join(LAYOUTS)}.")
        self._mapping, self._layout = mapping, LAYOUTS[layout]
        self._gripper, self._events = GripperToggle(), EventQueue()
        self._buttons = EventButtons(self._layout.events, self._events)
        self._deflection: FloatArray = np.zeros(6)
        self._stamp_ns: int | None = None
        self._is_held = self._is_gripper = False

    def read(self, axes: Sequence[float], buttons: Sequence[int], stamp_ns: int) -> None:
        """Take one report; InputError when it is not of this layout or not finite."""
        values, layout = require_finite("joy axes", np.array(axes, np.float64)), self._layout
        wanted = (layout.x, layout.y, layout.z, layout.roll, layout.pitch, layout.yaw)
        most = max(number for number, _ in wanted)
        if len(values) <= most or len(buttons) <= max(layout.deadman, layout.gripper):
            raise InputError(
                f"joy: {len(values)} axes and {len(buttons)} buttons, at least {most + 1} and "
                f"{max(layout.deadman, layout.gripper) + 1} wanted. Choose another layout."
            )
        self._deflection = np.array([sign * values[n] if n >= 0 else 0.0 for n, sign in wanted])
        self._is_held = bool(buttons[layout.deadman])
        self._is_gripper = bool(buttons[layout.gripper])
        self._buttons.look(buttons)
        self._stamp_ns = stamp_ns

    def poll(self, now_ns: int, tool: ToolView | None) -> OperatorSample | None:
        """Return what the last report means."""
        del now_ns
        if self._stamp_ns is None:
            return None
        return OperatorSample(
            stamp_ns=self._stamp_ns,
            delta=delta_from_deflection(self._deflection, self._mapping, tool),
            gripper=self._gripper.look(self._is_gripper, tool, is_held=self._is_held),
            deadman=self._is_held,
            event=self._events.take(),
        )
