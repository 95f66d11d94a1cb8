"""`demos collect`: demonstrations and play of the scripted hands, for training."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from robot_agent.commands.options import (
    add_command,
    add_group,
    add_json,
    add_seed,
    new_file,
    whole,
)
from robot_agent.commands.output import show, table
from robot_agent.core.clock import Stopwatch
from robot_agent.core.errors import ConfigError

if TYPE_CHECKING:
    from robot_agent.commands.options import Commands

_SHARES = 4
"""Shares of the work per process; none may be empty."""


def register(commands: "Commands") -> None:
    """Add the group."""
    group = add_group(commands, "demos", "data of the scripted hands in simulation")
    collect = add_command(group, "collect", "collect episodes into one safetensors file", _collect)
    collect.add_argument(
        "--kind",
        choices=("demonstration", "play"),
        default="demonstration",
        help="demonstrations at home, or play and near misses in broad scenes",
    )
    collect.add_argument("--num", type=whole(1, 1_000_000), required=True, help="episodes")
    collect.add_argument("--steps", type=whole(5, 1000), default=24, help="steps of each at 5 Hz")
    collect.add_argument("--workers", type=whole(1, 256), default=2, help="processes")
    collect.add_argument("--out", type=Path, required=True, help="file to write")
    add_seed(collect)
    add_json(collect)


def _collect(arguments: argparse.Namespace) -> int:
    least = _SHARES * arguments.workers
    if arguments.num < least:
        raise ConfigError(
            f"--num is {arguments.num}, must be at least {least} for {arguments.workers} workers. "
            f"Collect more episodes, or set --workers 1."
        )
    out = new_file(arguments.out)
    from robot_agent.sim.collect import collect_demonstrations, collect_play, save_recording
    from robot_agent.store.durable import storage_errors

    watch = Stopwatch()
    collect = collect_play if arguments.kind == "play" else collect_demonstrations
    recording = collect(arguments.num, arguments.seed, arguments.workers, arguments.steps)
    with storage_errors("writing a recording", out):
        save_recording(out, recording)
    results = {
        "file": out,
        "episodes": len(recording.images),
        "steps": int(recording.valid.sum()),
        "seconds": watch.seconds(),
    }
    show(
        "demos collect",
        results,
        as_json=arguments.json,
        seed=arguments.seed,
        tables=[table(f"Recorded {arguments.kind}", ("what", "value"), results.items())],
    )
    return 0
