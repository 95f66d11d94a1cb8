"""Devices whose pose the tool follows while a button is held: a hand, a leader arm."""

# ruff: noqa: N803, N806 - T_device and its kin keep the names of the formulas

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robot_agent.core import wx250s
from robot_agent.core.errors import InputError
from robot_agent.core.types import FloatArray, require_array
from robot_agent.teleop.buttons import EventButtons, EventQueue
from robot_agent.teleop.gripper import GripperPickup
from robot_agent.teleop.mapping import MappingConfig, delta_to_pose
from robot_agent.teleop.sample import EVENTS, OperatorSample, ToolView, require_pose

MAX_JUMP_M = 0.1
"""A pose this far from the one before is lost tracking; Bridge's server gave up at 0.2 m."""


@dataclass(frozen=True, kw_only=True)
class FollowerButtons:
    """Buttons and the trigger's axis of the `joy` topic that goes with a pose."""

    deadman: int = 0
    gripper_axis: int = -1
    """Axis that goes from 0 (open) to 1 (closed); -1 when the gripper has another source."""
    success: int = 1
    failure: int = 2
    discard: int = 3
    re_record: int = 4
    stop: int = 5

    @property
    def events(self) -> dict[int, str]:
        """Event of each button; the one that grips says nothing, and a number below 0 is none."""
        numbers = {getattr(self, name): name for name in EVENTS}
        return {n: name for n, name in numbers.items() if n >= 0 and n != self.deadman}


class Follower:
    """Poses and buttons in, samples out: the tool repeats the motion since the grip.

    The reference is taken when the guard has handed over, so that the first command is no motion
    wherever the hand is. Each sample says what is left to the wanted pose, so that nothing is lost
    or done twice when messages are.
    """

    def __init__(self, mapping: MappingConfig, buttons: FollowerButtons | None = None) -> None:
        """Start without a grip."""
        self._mapping, self._map = mapping, buttons or FollowerButtons()
        self._pickup, self._events = GripperPickup(), EventQueue()
        self._buttons = EventButtons(self._map.events, self._events)
        self._T_device: FloatArray | None = None
        self._reference: tuple[FloatArray, FloatArray] | None = None
        self._pose_ns = self._press_ns = -1
        self._is_down = self._is_lost = False
        self._opening: float | None = None

    def follow(self, T_device: FloatArray, stamp_ns: int) -> None:
        """Take a pose (4, 4) of the device.

        Raises:
            InputError: It is far from the one before while gripped; the grip counts as let go
                until the button was released and pressed again.
        """
        before, self._T_device, self._pose_ns = self._T_device, T_device, stamp_ns
        if before is None or self._reference is None:
            return
        jump_m = float(np.linalg.norm(T_device[:3, 3] - before[:3, 3]))
        if jump_m > MAX_JUMP_M:
            self._is_lost, self._reference = True, None
            raise InputError(
                f"pose: jumped by {jump_m:.2f} m, limit {MAX_JUMP_M:.2f} m. Tracking was lost: "
                f"release the grip and take it again."
            )

    def press(self, axes: Sequence[float], buttons: Sequence[int], stamp_ns: int) -> None:
        """Take the state of the buttons and the trigger; InputError when it is not finite."""
        axis, deadman = self._map.gripper_axis, self._map.deadman
        if axis >= len(axes) or deadman >= len(buttons):
            raise InputError(
                f"joy: {len(axes)} axes and {len(buttons)} buttons, but axis {axis} and button "
                f"{deadman} are configured. Change them."
            )
        if axis >= 0:
            closing = require_array("trigger", np.array([axes[axis]], np.float64), (1,))[0]
            self.open(1.0 - float(closing))
        self._is_down, self._press_ns = bool(buttons[deadman]), stamp_ns
        self._is_lost = self._is_lost and self._is_down
        self._buttons.look(buttons)

    def open(self, opening: float) -> None:
        """Take the opening that the device shows, 0 to 1."""
        self._opening = opening

    def poll(self, now_ns: int, tool: ToolView | None) -> OperatorSample | None:
        """Return what is left to the pose that the hand has led the tool to."""
        del now_ns
        if self._T_device is None or self._press_ns < 0:
            return None
        is_held = self._is_down and not self._is_lost
        delta = np.zeros(6)
        if not is_held or tool is None or not tool.is_operated:
            self._reference = None
        elif self._reference is None:
            self._reference = self._T_device, tool.T_base_tool
        else:
            delta = delta_to_pose(self._wanted(*self._reference), tool.T_base_tool, self._mapping)
        opening = self._opening
        has_control = is_held and self._reference is not None
        return OperatorSample(
            stamp_ns=min(self._pose_ns, self._press_ns),
            delta=delta,
            gripper=None if opening is None else self._pickup.look(opening, is_held=has_control),
            deadman=is_held,
            event=self._events.take(),
        )

    def _wanted(self, T_device_0: FloatArray, T_tool_0: FloatArray) -> FloatArray:
        assert self._T_device is not None
        R = self._mapping.rotation
        moved_m = R @ (self._T_device[:3, 3] - T_device_0[:3, 3])
        turned = R @ self._T_device[:3, :3] @ T_device_0[:3, :3].T @ R.T
        T = np.eye(4)
        T[:3, :3] = turned @ T_tool_0[:3, :3]
        T[:3, 3] = T_tool_0[:3, 3] + self._mapping.scale * moved_m
        return T


def hand_pose(position_m: FloatArray, q_xyzw: FloatArray) -> FloatArray:
    """Return the pose (4, 4) of a tracked controller; InputError when it is none."""
    return require_pose("controller pose", position_m, q_xyzw)


def leader_pose(joints_rad: FloatArray) -> FloatArray:
    """Return the tool pose (4, 4) of a leader of the arm's own kind; InputError when not six."""
    return wx250s.forward(require_array("leader joints", joints_rad, (6,)))
