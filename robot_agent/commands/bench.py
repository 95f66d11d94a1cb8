"""`bench policy|imagine`: measured numbers, as a table or as one JSON object."""

import argparse
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from robot_agent.commands.options import (
    add_command,
    add_group,
    add_json,
    add_seed,
    whole,
    wholes,
)
from robot_agent.commands.output import progress, show, table

if TYPE_CHECKING:
    from robot_agent.commands.options import Commands


def register(commands: "Commands") -> None:
    """Add the group."""
    group = add_group(commands, "bench", "measure this machine")
    policy = add_command(group, "policy", "time from picture to actions, by backend", _policy)
    policy.add_argument("--repeats", type=whole(20, 1_000_000), default=300, help="calls of each")
    policy.add_argument("--threads", type=wholes(1, 256), default=(1, 2), metavar="N,N")
    imagine = add_command(group, "imagine", "frames per second of the world model", _imagine)
    imagine.add_argument("--batch", type=wholes(1, 4096), default=(1, 8, 32, 64), metavar="N,N")
    imagine.add_argument("--steps", type=wholes(1, 1000), default=(5, 30), metavar="N,N")
    imagine.add_argument("--threads", type=whole(1, 256), default=1)
    for parser in (policy, imagine):
        add_seed(parser)
        add_json(parser)


def _policy(arguments: argparse.Namespace) -> int:
    import numpy as np

    from robot_agent.compose import home_starts, load_team
    from robot_agent.models.bench import bench_policy
    from robot_agent.models.tiny_team import INSTRUCTIONS

    with _steps("bench policy", 4 * len(arguments.threads)) as on_result:
        backends = bench_policy(
            load_team().policy,
            INSTRUCTIONS,
            np.stack([start.observation.image_hwc for start in home_starts()]),
            seed=arguments.seed,
            repeats=arguments.repeats,
            threads=arguments.threads,
            on_result=on_result,
        )
    columns = ("backend", "p50 ms", "p99 ms", "network p50 ms")
    rows = [(name, *values.values()) for name, values in backends.items()]
    results = {
        "backends": backends,
        "repeats": arguments.repeats,
        "notes": ["node_overhead_percent and wire are not measured yet"],
    }
    _show("bench policy", results, arguments, table("Picture to actions", columns, rows))
    return 0


def _imagine(arguments: argparse.Namespace) -> int:
    from robot_agent.compose import load_team
    from robot_agent.models.bench import bench_imagination

    with _steps("bench imagine", len(arguments.batch)) as on_result:
        results = bench_imagination(
            load_team().worlds[0],
            seed=arguments.seed,
            batches=arguments.batch,
            steps=arguments.steps,
            threads=arguments.threads,
            on_result=on_result,
        )
    results["notes"] = ["the published model is not in this program yet: no `published`"]
    columns = ("batch", *(f"frames/s at {n} steps" for n in sorted(arguments.steps)))
    rows = [(batch, *entry["by_steps"].values()) for batch, entry in results["by_batch"].items()]
    _show("bench imagine", results, arguments, table("Tiny world model", columns, rows))
    return 0


@contextmanager
def _steps(title: str, total: int) -> Iterator[Callable[[str], None]]:
    """Show a bar that moves with each result."""
    count = itertools.count(1)
    with progress(title) as say:
        yield lambda name: say(next(count), total, name)


def _show(
    command: str, results: dict[str, Any], arguments: argparse.Namespace, shown: Any
) -> None:
    notes = [f"note: {note}" for note in results["notes"]]
    show(command, results, as_json=arguments.json, seed=arguments.seed, tables=[shown, *notes])
