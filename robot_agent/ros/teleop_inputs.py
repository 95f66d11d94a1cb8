"""Opens the device of the `teleop` node: who reads it, and what it hands its reports to."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from geometry_msgs.msg import PoseStamped, Twist
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState, Joy

from robot_agent.core.errors import ConfigError, InputError
from robot_agent.ros import convert
from robot_agent.teleop import DEVICES
from robot_agent.teleop.follower import Follower, FollowerButtons, hand_pose, leader_pose
from robot_agent.teleop.gamepad import Gamepad
from robot_agent.teleop.hid import HidMouse
from robot_agent.teleop.keyboard import Keyboard
from robot_agent.teleop.mapping import MappingConfig
from robot_agent.teleop.sample import Device
from robot_agent.teleop.spacemouse import SpaceMouse
from robot_agent.teleop.terminal import Terminal


@dataclass(frozen=True)
class Input:
    """A device and whoever reads it."""

    device: Device
    look: Callable[[int], None] = lambda _: None
    """Reads what waits; InputError for a bad report or a lost device."""
    close: Callable[[], None] = lambda: None
    ends_with_device: bool = False
    """A terminal that is gone does not come back; a USB plug may."""


@dataclass(frozen=True, kw_only=True)
class InputTopics:
    """Where other nodes publish a device's reports, relative to the robot."""

    joy: str = "joy"
    twist: str = "spacenav/twist"
    twist_joy: str = "spacenav/joy"
    pose: str = "vr/pose"
    leader: str = "leader/joint_states"


class Listener:
    """Subscriptions that hand reports to a device and count what is no report."""

    def __init__(self, node: Any, now_ns: Callable[[], int]) -> None:
        """Subscribe on `node`; reports are stamped when they come, by `now_ns`."""
        self._node, self.now_ns = node, now_ns
        self.reports = self.refused = 0
        self.problem = ""

    def hear(self, kind: Any, name: str, take: Callable[[Any, int], None]) -> None:
        """Give each newest message of a topic to `take`; a bad one is refused, not fatal."""

        def on_message(message: Any) -> None:
            self.reports += 1
            try:
                take(message, self.now_ns())
            except InputError as error:
                self.refuse(error)

        self._node.create_subscription(kind, name, on_message, QoSProfile(depth=1))

    def refuse(self, error: InputError) -> None:
        """Count a report that was none, and say so."""
        self.refused += 1
        self.problem = str(error)
        self._node.get_logger().warning(self.problem, throttle_duration_sec=1.0)


def open_input(
    name: str,
    listener: Listener,
    mapping: MappingConfig,
    names: InputTopics,
    *,
    layout: str,
    buttons: FollowerButtons,
) -> Input:
    """Return the device called `name`, opened.

    Raises:
        ConfigError: No device has this name; lists them.
        InputError: It is not there.
    """
    match name:
        case "keyboard":
            keyboard = Keyboard(mapping)
            terminal = Terminal(keyboard)
            return Input(keyboard, terminal.look, terminal.close, ends_with_device=True)
        case "gamepad":
            return _gamepad(listener, Gamepad(mapping, layout), names)
        case "spacemouse":
            mouse = SpaceMouse(mapping)
            hid = HidMouse(mouse)
            return Input(mouse, hid.look, hid.close)
        case "spacenav":
            return _spacenav(listener, SpaceMouse(mapping), names)
        case "vr":
            return _hand(listener, Follower(mapping, buttons), names)
        case "leader":
            return _leader(listener, Follower(mapping, buttons), names)
    raise ConfigError(f"device '{name}' is unknown, must be one of {', '.join(DEVICES)}.")


def _gamepad(listener: Listener, pad: Gamepad, names: InputTopics) -> Input:
    listener.hear(Joy, names.joy, lambda m, now_ns: pad.read(m.axes, m.buttons, now_ns))
    return Input(pad)


def _spacenav(listener: Listener, mouse: SpaceMouse, names: InputTopics) -> Input:
    def move(message: Any, now_ns: int) -> None:
        line, turn = message.linear, message.angular
        mouse.move(np.array([line.x, line.y, line.z, turn.x, turn.y, turn.z]), now_ns)

    listener.hear(Twist, names.twist, move)
    listener.hear(Joy, names.twist_joy, lambda m, now_ns: mouse.press(m.buttons, now_ns))
    return Input(mouse)


def _hand(listener: Listener, hand: Follower, names: InputTopics) -> Input:
    def follow(message: Any, now_ns: int) -> None:
        p, q = message.pose.position, message.pose.orientation
        T_device = hand_pose(np.array([p.x, p.y, p.z]), np.array([q.x, q.y, q.z, q.w]))  # noqa: N806
        hand.follow(T_device, now_ns)

    listener.hear(PoseStamped, names.pose, follow)
    listener.hear(Joy, names.joy, lambda m, now_ns: hand.press(m.axes, m.buttons, now_ns))
    return Input(hand)


def _leader(listener: Listener, leader: Follower, names: InputTopics) -> Input:
    def follow(message: Any, now_ns: int) -> None:
        joints_rad, _, opening = convert.joints_from(message)
        if not math.isfinite(opening):
            raise InputError("leader: its finger is not a finite number. Check its driver.")
        leader.open(opening)
        leader.follow(leader_pose(joints_rad), now_ns)

    listener.hear(JointState, names.leader, follow)
    listener.hear(Joy, names.joy, lambda m, now_ns: leader.press(m.axes, m.buttons, now_ns))
    return Input(leader)
