"""Loss and latency of raw images between two processes, with and without the shipped profile."""

import array
import os
import subprocess
import sys
from typing import Any

import numpy as np

_SENDER = "robot_agent.ros.bench_images"
_TOPIC = "bench_image"


def bench_images(
    seconds: float = 5.0,
    hz: float = 30.0,
    size_px: tuple[int, int] = (640, 480),
    *,
    with_profile: bool = True,
    domain_id: int = 0,
) -> dict[str, Any]:
    """Return `sent received lost late_ms{p50,p99}` of best-effort rgb8 images across processes.

    The receiver is a process of its own as well, so that both sides start with the environment
    that is measured.
    """
    words = [sys.executable, "-m", _SENDER, str(seconds), str(hz), *map(str, size_px)]
    environment_of = dict(os.environ) | {"ROS_DOMAIN_ID": str(domain_id)}
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"):
        environment_of.pop(name, None)
    environment_of["ROBOT_AGENT_BENCH_PROFILE"] = "1" if with_profile else "0"
    receiver = subprocess.Popen(
        [*words, "receive"], env=environment_of, stdout=subprocess.PIPE, text=True
    )
    sender = subprocess.Popen(
        [*words, "send"], env=environment_of, stdout=subprocess.PIPE, text=True
    )
    try:
        sent = int(sender.communicate(timeout=seconds + 60.0)[0].split()[-1])
        numbers = receiver.communicate(timeout=60.0)[0].split()
    finally:
        for process in (sender, receiver):
            process.kill()
            process.wait()
    received = int(numbers[0])
    return {
        "sent": sent,
        "received": received,
        "lost": sent - received,
        "late_ms": {"p50": float(numbers[1]), "p99": float(numbers[2])},
    }


def _main(seconds: float, hz: float, size_px: tuple[int, int], role: str) -> None:
    from robot_agent.ros import environment

    if os.environ["ROBOT_AGENT_BENCH_PROFILE"] == "1":
        environment.prepare()
    else:
        os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    import rclpy

    rclpy.init()
    node = rclpy.create_node(f"bench_{role}")
    (_send if role == "send" else _receive)(node, seconds, hz, size_px)
    node.destroy_node()
    rclpy.try_shutdown()


def _send(node: Any, seconds: float, hz: float, size_px: tuple[int, int]) -> None:
    from sensor_msgs.msg import Image

    from robot_agent.core.clock import SystemClock
    from robot_agent.ros import convert, topics

    clock, publisher = SystemClock(), node.create_publisher(Image, _TOPIC, topics.SENSOR)
    while publisher.get_subscription_count() == 0:
        clock.sleep_until(clock.now_ns() + 10_000_000)
    clock.sleep_until(clock.now_ns() + 500_000_000)  # both sides have found each other
    width, height = size_px
    message = convert.to_image(np.zeros((height, width, 3), np.uint8), 0)
    message.data = array.array("B", np.random.default_rng(0).bytes(3 * width * height))
    total, due_ns = round(seconds * hz), clock.now_ns()
    for _ in range(total):
        message.header.stamp = convert.to_stamp(clock.now_ns())
        publisher.publish(message)
        due_ns += round(1e9 / hz)
        clock.sleep_until(due_ns)
    clock.sleep_until(clock.now_ns() + 300_000_000)
    sys.stdout.write(f"{total}\n")


def _receive(node: Any, seconds: float, hz: float, size_px: tuple[int, int]) -> None:
    from rclpy.executors import SingleThreadedExecutor
    from sensor_msgs.msg import Image

    from robot_agent.core.clock import SystemClock
    from robot_agent.ros import convert, topics

    del hz, size_px
    clock, late_ms = SystemClock(), [0.0]
    late_ms.clear()

    def take(message: Any) -> None:
        late_ms.append((clock.now_ns() - convert.from_stamp(message.header.stamp)) * 1e-6)

    node.create_subscription(Image, _TOPIC, take, topics.SENSOR)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    end_ns = clock.now_ns() + round((seconds + 30.0) * 1e9)
    newest, quiet_ns = 0, clock.now_ns()
    while clock.now_ns() < end_ns:
        executor.spin_once(timeout_sec=0.1)
        if len(late_ms) != newest:
            newest, quiet_ns = len(late_ms), clock.now_ns()
        elif newest and clock.now_ns() - quiet_ns > 1_500_000_000:
            break
    found = np.array(late_ms or [float("nan")])
    p50, p99 = np.percentile(found, [50, 99])
    sys.stdout.write(f"{len(late_ms)} {p50:.3f} {p99:.3f}\n")


if __name__ == "__main__":
    _main(
        float(sys.argv[1]), float(sys.argv[2]), (int(sys.argv[3]), int(sys.argv[4])), sys.argv[5]
    )
