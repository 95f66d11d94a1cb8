"""Plays camera, joints and guard for `bench record`, each at a fixed rate."""

import array
import json
import sys
import threading
from typing import Any

import numpy as np
import rclpy
from robot_agent_interfaces.msg import GuardState
from sensor_msgs.msg import Image, JointState

from robot_agent.core.clock import SystemClock
from robot_agent.core.wx250s import FINGER_NAMES, JOINT_NAMES
from robot_agent.ros import convert, environment, topics

PICTURE_HZ, JOINTS_HZ, STEP_HZ = 30, 100, 5
_NUM_PICTURES = 8


class Sender:
    """Publishes until told to end. Stamps are those of the schedule, so that a gap is a loss."""

    def __init__(self, node: Any, size_px: tuple[int, int]) -> None:
        """Draw a few pictures that compress as a camera's do, and make the publishers."""
        self._images = [convert.to_image(picture(size_px, k), 0) for k in range(_NUM_PICTURES)]
        for message in self._images:
            message.data = array.array("B", message.data.tobytes())
        self._image = node.create_publisher(Image, topics.CAMERA_IMAGE, topics.SENSOR)
        self._joints = node.create_publisher(JointState, topics.JOINT_STATES, topics.JOINTS)
        self._guard = node.create_publisher(GuardState, topics.GUARD_STATE, topics.STATE)
        self.sent = {"pictures": 0, "joints": 0, "steps": 0}

    def run(self, is_over: threading.Event) -> None:
        """Publish what is due, 100 times a second."""
        clock, begin_ns, tick = SystemClock(), SystemClock().now_ns(), 0
        while not is_over.is_set():
            due_ns = begin_ns + tick * 1_000_000_000 // JOINTS_HZ
            clock.sleep_until(due_ns)
            self._send_joints(tick, due_ns)
            if tick * PICTURE_HZ // JOINTS_HZ >= self.sent["pictures"]:
                number = self.sent["pictures"]
                self._send_picture(number, begin_ns + number * 1_000_000_000 // PICTURE_HZ)
            if tick % (JOINTS_HZ // 10) == 0:
                self._send_guard(tick, due_ns)
            tick += 1

    def _send_joints(self, tick: int, stamp_ns: int) -> None:
        positions = [0.3 * np.sin(tick / 100 + k) for k in range(6)] + [0.02, -0.02]
        names = [*JOINT_NAMES, *FINGER_NAMES]
        self._joints.publish(convert.to_joint_state(names, positions, [0.0] * 8, stamp_ns))
        self.sent["joints"] += 1

    def _send_picture(self, number: int, stamp_ns: int) -> None:
        message = self._images[number % _NUM_PICTURES]
        message.header.stamp = convert.to_stamp(stamp_ns)
        self._image.publish(message)
        self.sent["pictures"] += 1

    def _send_guard(self, tick: int, stamp_ns: int) -> None:
        self.sent["steps"] = tick * STEP_HZ // JOINTS_HZ
        action = [0.001, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
        self._guard.publish(
            GuardState(
                stamp_ns=stamp_ns,
                mode="active",
                controller="policy",
                weights_version="bench",
                proposed=action,
                sent=action,
                accepted=self.sent["steps"],
            )
        )


def picture(size_px: tuple[int, int], number: int) -> Any:
    """Return RGB (H, W, 3) uint8: shading, edges and a sensor's grain, another each number."""
    width, height = size_px
    rows, columns = np.mgrid[:height, :width]
    rng = np.random.default_rng(number)
    shade = np.stack(
        [
            128 + 60 * np.sin((columns + 9 * number) / 37),
            120 + 50 * np.sin(rows / 31),
            columns * 255 / width,
        ],
        axis=-1,
    )
    shade += 40 * ((rows // 48 + (columns + 5 * number) // 48) % 2)[..., None]
    return np.clip(shade + rng.normal(0.0, 2.5, shade.shape), 0, 255).astype(np.uint8)


def main(namespace: str, width: int, height: int) -> None:
    """Publish until the input is closed; then say how much."""
    environment.prepare()
    rclpy.init()
    node = rclpy.create_node("bench_sender", namespace=namespace)
    sender, is_over = Sender(node, (width, height)), threading.Event()
    thread = threading.Thread(target=sender.run, args=(is_over,), daemon=True)
    thread.start()
    sys.stdin.read()
    is_over.set()
    thread.join(2.0)
    sys.stdout.write(json.dumps(sender.sent) + "\n")
    node.destroy_node()
    rclpy.try_shutdown()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
