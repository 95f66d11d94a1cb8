"""`bench camera`: pictures from the camera to another process, counted and timed."""

import tempfile
import threading
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from robot_agent.core.clock import SystemClock
from robot_agent.core.errors import ArmFaultError
from robot_agent.ros import convert, topics
from robot_agent.ros.client import AgentClient
from robot_agent.ros.description import NODE_MODULE, AgentOptions, NodeProcess
from robot_agent.ros.up import Agent

_SPARE_S = 8.0
"""Length of the test video beyond what is measured: settling, and finding each other."""
_COUNTS = ("lost", "withheld", "refused", "restarts")


def bench_camera(
    seconds: float,
    parameters: Mapping[str, Any],
    *,
    domain_id: int | None = None,
    module: tuple[str, ...] = ("-m", NODE_MODULE),
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Return `received lost rate_hz late_ms{p50,p99,max} camera{...}` of the real camera node.

    `parameters` are those of the node. Without a device a UVC camera is played by a video file of
    its own, in real time. Every gap between the stamps that arrive here counts as lost frames,
    wherever on the way they were lost; lateness is from the stamp of a picture to its arrival.
    """
    width, height, hz = (int(parameters[name]) for name in ("width", "height", "hz"))
    with tempfile.TemporaryDirectory(prefix="robot_agent_bench_") as name:
        folder, asked = Path(name), dict(parameters)
        if asked.get("source") == "uvc" and "device" not in asked:
            say("writing the test video")
            asked["device"] = str(folder / "camera.avi")
            frames = round((seconds + _SPARE_S) * hz) + int(asked.get("settle_pictures", 30))
            write_video(Path(asked["device"]), (width, height), hz, frames)
        node = NodeProcess(name="camera", parameters=asked, is_lifecycle=True, module=module)
        say("starting the camera")
        with Agent(AgentOptions(folder=folder), [node], domain_id=domain_id) as agent:
            assert agent.client is not None
            say(f"measuring for {seconds:g} s")
            return measure_stream(agent.client, seconds, hz)


def measure_stream(client: AgentClient, seconds: float, hz: float) -> dict[str, Any]:
    """Return what arrives of a camera that streams; see `bench_camera`.

    Raises:
        ArmFaultError: Fewer than two pictures came.
    """
    clock, stamps_ns, late_ms = SystemClock(), [], []
    newest: dict[str, str] = {}
    is_over = threading.Event()  # the subscriptions themselves end with the client

    def take(message: Any) -> None:
        if is_over.is_set():
            return
        stamps_ns.append(convert.from_stamp(message.header.stamp))
        late_ms.append((clock.now_ns() - stamps_ns[-1]) * 1e-6)

    def keep(message: Any) -> None:
        for status in message.status:
            if status.hardware_id == "camera":
                newest.update({value.key: value.value for value in status.values})

    deep = QoSProfile(depth=30, reliability=ReliabilityPolicy.BEST_EFFORT)
    client.node.create_subscription(Image, topics.CAMERA_IMAGE, take, deep)
    client.node.create_subscription(DiagnosticArray, topics.DIAGNOSTICS, keep, 10)
    threading.Event().wait(seconds)
    is_over.set()
    if len(stamps_ns) < 2:
        raise ArmFaultError(
            f"camera: {len(stamps_ns)} pictures within {seconds:g} s. Run: robot-agent doctor"
        )
    gaps = [round((later - earlier) * 1e-9 * hz) - 1 for earlier, later in pairwise(stamps_ns)]
    p50, p99 = np.percentile(late_ms, [50, 99])
    spanned_s = (stamps_ns[-1] - stamps_ns[0]) * 1e-9
    return {
        "received": len(stamps_ns),
        "lost": sum(gaps),
        "rate_hz": (len(stamps_ns) - 1) / spanned_s,
        "late_ms": {"p50": float(p50), "p99": float(p99), "max": float(max(late_ms))},
        "camera": {name: int(newest[name]) for name in _COUNTS if name in newest},
    }


def write_video(path: Path, size_px: tuple[int, int], hz: int, num_frames: int) -> None:
    """Write an MJPG video of a picture with edges, which moves, for want of a camera."""
    width, height = size_px
    rows, columns = np.mgrid[:height, :width]
    board = ((rows // 32 + columns // 32) % 2 * 120 + 60).astype(np.uint8)
    colours = np.dstack([board, np.roll(board, 16, 0), np.roll(board, 16, 1)])
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), hz, size_px)
    for index in range(num_frames):
        writer.write(np.roll(colours, index, axis=1))
    writer.release()
