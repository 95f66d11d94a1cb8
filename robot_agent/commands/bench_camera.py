"""`bench camera`: lost frames and lateness of the camera, from the sensor to another process."""

import argparse
from typing import Any

from robot_agent.commands.options import add_command, add_json, number, whole
from robot_agent.commands.output import progress, show, table


def add(group: Any) -> None:
    """Add the command to the group `bench`."""
    parser = add_command(group, "camera", "lost frames and lateness of the camera", _camera)
    parser.add_argument("--seconds", type=number(1, 3600, "s"), default=60.0)
    parser.add_argument(
        "--source", choices=("uvc", "realsense", "topic"), default="uvc", help="default uvc"
    )
    parser.add_argument("--device", default="", help="of uvc; default: a test video, in real time")
    parser.add_argument("--topic", default="", help="of topic")
    parser.add_argument("--serial", default="", help="of realsense")
    parser.add_argument("--width", type=whole(32, 3840), default=640)
    parser.add_argument("--height", type=whole(32, 2160), default=480)
    parser.add_argument("--hz", type=whole(1, 90), default=30)
    add_json(parser)


def _camera(arguments: argparse.Namespace) -> int:
    from robot_agent.ros.bench_camera import bench_camera

    names = ("source", "device", "topic", "serial", "width", "height", "hz")
    asked = {name: value for name in names if (value := getattr(arguments, name)) != ""}
    with progress("bench camera") as say:
        steps = iter(range(1, 4))
        results = bench_camera(
            arguments.seconds, asked, say=lambda text: say(next(steps), 3, text)
        )
    late_ms = results["late_ms"]
    row = (
        *(results[name] for name in ("received", "lost")),
        f"{results['rate_hz']:.2f}",
        *(f"{late_ms[name]:.1f}" for name in ("p50", "p99", "max")),
    )
    title = (
        f"{arguments.width}x{arguments.height} at {arguments.hz} Hz for {arguments.seconds:g} s"
    )
    columns = ("received", "lost", "rate Hz", "late p50 ms", "p99 ms", "max ms")
    shown = table(title, columns, [row])
    counts = ", ".join(f"{name} {count}" for name, count in results["camera"].items())
    results["asked"] = asked
    show(
        "bench camera", results, as_json=arguments.json, tables=[shown, f"at the camera: {counts}"]
    )
    return 0
