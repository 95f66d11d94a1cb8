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

if TYPE_CHECKING:
    from robot_agent.commands.options import Commands


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
    out = new_file(arguments.out)
    from safetensors.numpy import save

    from robot_agent import __version__
    from robot_agent.sim.collect import collect_demonstrations, collect_play
    from robot_agent.store.durable import replace_file, storage_errors

    watch = Stopwatch()
    collect = collect_play if arguments.kind == "play" else collect_demonstrations
    recording = collect(arguments.num, arguments.seed, arguments.workers, arguments.steps)
    made_by = {"kind": arguments.kind, "seed": str(arguments.seed), "version": __version__}
    with storage_errors("writing a recording", out):
        replace_file(out, save(vars(recording), metadata=made_by))
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
