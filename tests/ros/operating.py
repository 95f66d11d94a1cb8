"""Operators of a test: a gamepad that is a publisher, and a person at a virtual terminal."""

import os
import pty
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rclpy.qos import QoSProfile
from robot_agent_interfaces.msg import OperatorCommand
from sensor_msgs.msg import Joy

from robot_agent.ros import params
from robot_agent.ros.client import AgentClient
from tests.ros.running import until

DEADMAN, GRIPPER, FORWARD, UP = 4, 5, 1, 4
EVENTS = {"success": 0, "failure": 1, "discard": 2, "re_record": 3, "stop": 7}


class Pad:
    """Publishes `joy` 50 times a second, as joy_node repeats the state of a gamepad."""

    def __init__(self, client: AgentClient, name: str = "joy") -> None:
        self._publisher = client.node.create_publisher(Joy, name, 10)
        self._node = client.node
        self.axes, self.buttons = [0.0] * 8, [0] * 11
        self.period_s = 0.02
        self._end, self.is_silent = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._speak, name="pad", daemon=True)
        self._thread.start()

    def _speak(self) -> None:
        while not self._end.wait(self.period_s):
            if not self.is_silent.is_set():
                self._publisher.publish(Joy(axes=list(self.axes), buttons=list(self.buttons)))

    def hold(self, **axes: float) -> None:
        self.axes = [0.0] * 8
        for name, value in axes.items():
            self.axes[{"forward": FORWARD, "up": UP}[name]] = value
        self.buttons = [int(number == DEADMAN) for number in range(11)]

    def release(self) -> None:
        self.axes, self.buttons = [0.0] * 8, [0] * 11

    def press(self, event: str) -> None:
        self.buttons = [int(number == EVENTS[event]) for number in range(11)]

    def close(self) -> None:
        self._end.set()
        self._thread.join(2.0)
        self._node.destroy_publisher(self._publisher)


def command_line(device: str, **values: Any) -> list[str]:
    words = [sys.executable, "-m", "robot_agent.node", "teleop", "--ros-args"]
    words += ["-r", "__ns:=/wx250s"]
    return words + params.arguments({"device": device, **values})


@contextmanager
def teleop(client: AgentClient, device: str, **values: Any) -> Iterator["subprocess.Popen[str]"]:
    """Run the node `teleop`; the guard and we have heard it when this returns."""
    with _hearing(client):
        child = subprocess.Popen(command_line(device, **values), text=True)
    yield from _until_left(child)


@contextmanager
def typing(client: AgentClient) -> Iterator[int]:
    """Run `teleop` for a person at a virtual terminal; yield the descriptor to type into."""
    ours, theirs = pty.openpty()
    with _hearing(client):
        child = subprocess.Popen(command_line("keyboard"), stdin=theirs, stderr=subprocess.DEVNULL)
    os.close(theirs)
    for _ in _until_left(child):
        yield ours
    os.close(ours)


@contextmanager
def _hearing(client: AgentClient) -> Iterator[None]:
    """Wait until a node that is started inside has spoken for half a second."""
    heard: list[Any] = []
    listener = client.node.create_subscription(
        OperatorCommand, "operator", heard.append, QoSProfile(depth=50)
    )
    yield
    until(lambda: len(heard) > 12, 20.0, "an operator's messages")
    client.node.destroy_subscription(listener)


def _until_left(child: "subprocess.Popen[Any]") -> Iterator[Any]:
    """Yield the process, then end it as a person would, with a signal."""
    try:
        yield child
    finally:
        child.terminate()
        child.wait(10.0)
