"""`bench late`: what late answers of a policy cost, by mode of execution and latency."""

import argparse
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from robot_agent.commands.options import add_command, add_json, add_seed, number, whole, wholes
from robot_agent.commands.output import show, table

if TYPE_CHECKING:
    from robot_agent.commands.options import Commands
    from robot_agent.core.protocols import Policy


def register(group: "Commands") -> None:
    """Add the command."""
    late = add_command(group, "late", "what late answers cost, by mode of execution", _late)
    late.add_argument("--policy", default="tiny", help="a shipped policy")
    late.add_argument("--scene", default="home", help="whose tasks take turns")
    late.add_argument("--modes", default="", metavar="NAME,NAME", help="default: all")
    late.add_argument(
        "--latencies-ms", type=wholes(0, 60_000), default=(0, 100, 300, 600), metavar="N,N"
    )
    late.add_argument("--sigma", type=number(0, 2), default=0.5, help="of the logarithm")
    late.add_argument("--trials", type=whole(0, 100_000), default=200, help="of each cell")
    late.add_argument(
        "--refill", type=whole(0, 100), default=0, help="0 chooses by measured latency"
    )
    late.add_argument("--steps", type=whole(100, 10_000_000), default=10_000, help="per count")
    late.add_argument("--workers", type=whole(1, 64), default=1, help="processes")
    add_seed(late)
    add_json(late)


def _late(arguments: argparse.Namespace) -> int:
    from robot_agent.commands.bench import steps
    from robot_agent.evaluate.late_table import LateConfig, starved_ticks, successes

    named = tuple(name for name in arguments.modes.split(",") if name)
    config = LateConfig(
        policy=arguments.policy,
        scene=arguments.scene,
        latencies_ms=arguments.latencies_ms,
        sigma=arguments.sigma,
        trials=arguments.trials,
        refill=arguments.refill,
        steps=arguments.steps,
        seed=arguments.seed,
        **({"modes": named} if named else {}),
    )
    cells = len(config.cells) if config.trials else 0
    with steps("bench late", 1 + cells) as on_cell:
        starved = starved_ticks(config)
        on_cell("starved ticks")
        succeeded = (
            successes(config, load_named, workers=arguments.workers, on_cell=on_cell)
            if cells
            else {}
        )
    results = {
        "starvation": starved,
        "success": succeeded,
        "policy": config.policy,
        "scene": config.scene,
        "sigma": config.sigma,
        "refill": config.refill,
    }
    tables = [*_starved_tables(starved), *(_success_table(succeeded) if succeeded else ())]
    show("bench late", results, as_json=arguments.json, seed=arguments.seed, tables=tables)
    return 0


def load_named(name: str) -> "Policy":
    """Return a shipped policy that samples at temperature 1."""
    from robot_agent.compose import ASSETS
    from robot_agent.models.tiny_team import load_shipped_policy
    from robot_agent.models.tiny_vla import TinyVla

    network, instructions, _ = load_shipped_policy(ASSETS, name)
    return TinyVla(network, instructions, version=name)


def _starved_tables(found: Mapping[str, Any]) -> Iterator[Any]:
    for chunk, by_latency in found.items():
        names = list(next(iter(by_latency.values())))
        rows = [
            [name, *(f"{row[name]['share']:.2%}" for row in by_latency.values())] for name in names
        ]
        columns = ("mode", *(f"{latency} ms" for latency in by_latency))
        yield table(f"Starved ticks at 5 Hz, chunks of {chunk}", columns, rows)


def _success_table(found: Mapping[str, Any]) -> Iterator[Any]:
    rows = []
    for mode, by_latency in found.items():
        for latency, row in by_latency.items():
            against = row["against_undelayed"]
            low, high = (100 * end for end in against["interval"])
            rows.append(
                (
                    mode,
                    f"{latency} ms",
                    f"{row['successes']}/{row['trials']}",
                    f"{100 * against['difference']:+.1f} [{low:+.1f}, {high:+.1f}]",
                    f"{row['starved_share']:.1%}",
                    f"{row['mean_ticks'] / 5:.1f}",
                )
            )
    columns = ("mode", "latency", "successes", "points against undelayed", "starved", "seconds")
    yield table("Success with late answers, paired by start state", columns, rows)
