"""`bench windows`: what the cache of training windows gains over decoding recordings."""

import argparse
from typing import Any

from robot_agent.commands.options import add_command, add_json, add_seed, whole
from robot_agent.commands.output import progress, show, table


def add(group: Any) -> None:
    """Add the command to the group `bench`."""
    parser = add_command(group, "windows", "training windows, decoded and cached", _windows)
    parser.add_argument("--windows", type=whole(2, 10_000_000), default=10_000)
    parser.add_argument("--episodes", type=whole(1, 1000), default=8)
    parser.add_argument("--size", type=whole(8, 1024), default=64, help="of a frame's edge [px]")
    add_seed(parser)
    add_json(parser)


def _windows(arguments: argparse.Namespace) -> int:
    from robot_agent.store.bench_windows import bench_windows

    with progress("bench windows") as say:
        steps = iter(range(1, 4))
        results = bench_windows(
            arguments.windows,
            episodes=arguments.episodes,
            size_px=(arguments.size, arguments.size),
            seed=arguments.seed,
            say=lambda text: say(next(steps), 3, text),
        )
    memory = ", ".join(f"{value:.1f}" for value in results["memory_mb"].values())
    rows = [
        ("decoded each time, ms a window", results["decoded"]["ms"]),
        ("cached, ms a window", results["cached"]["ms"]),
        ("ratio", results["ratio"]),
        ("filling the cache, ms an episode", results["first_ms"]),
        ("own memory at begin, middle, end, MB", memory),
    ]
    title = f"{arguments.windows} windows of 8 actions at {arguments.size} px"
    show(
        "bench windows",
        results,
        as_json=arguments.json,
        seed=arguments.seed,
        tables=[table(title, ("what", "value"), rows)],
    )
    return 0
