"""`bench record`: what recording every picture and joint reading costs and loses."""

import argparse
from typing import Any

from robot_agent.commands.options import add_command, add_json, number, whole
from robot_agent.commands.output import progress, show, table


def add(group: Any) -> None:
    """Add the command to the group `bench`."""
    parser = add_command(group, "record", "cost and loss of recording 30 Hz pictures", _record)
    parser.add_argument("--seconds", type=number(2, 7200, "s"), default=60.0, help="of recording")
    parser.add_argument("--width", type=whole(32, 3840), default=640)
    parser.add_argument("--height", type=whole(32, 2160), default=480)
    add_json(parser)


def _record(arguments: argparse.Namespace) -> int:
    from robot_agent.ros.bench_record import bench_record

    with progress("bench record") as say:
        steps = iter(range(1, 3))
        results = bench_record(
            arguments.seconds,
            (arguments.width, arguments.height),
            say=lambda text: say(next(steps), 2, text),
        )
    rows = [
        ("share of one core", f"{results['core_percent']:.1f} %"),
        *((name, _counts(results[name])) for name in ("pictures", "joints")),
        ("steps", results["steps"]),
        ("MB/s", f"{results['mb_per_s']:.2f}"),
        ("peak memory MB", f"{results['peak_memory_mb']:.0f}"),
    ]
    for name in ("without", "with"):
        ticks = results["ticks"][name]
        late_ms = ticks["late_ms"]
        words = f"{ticks['missed']} of {ticks['ticks']} missed, late p50 {late_ms['p50']:.2f}, "
        rows.append((f"guard's ticks {name}", words + f"p99 {late_ms['p99']:.2f} ms"))
    title = f"Recording {arguments.width}x{arguments.height} at 30 Hz and joints at 100 Hz for "
    shown = table(f"{title}{results['seconds']:.0f} s", ("what", "value"), rows)
    show("bench record", results, as_json=arguments.json, tables=[shown])
    return 0


def _counts(found: dict[str, int]) -> str:
    return f"{found['recorded']} recorded, {found['lost']} lost"
