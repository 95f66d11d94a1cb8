"""`evaluate --study`: whole experiments of many adaptations in simulation."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_agent.commands.options import whole
from robot_agent.commands.output import progress, show, table

if TYPE_CHECKING:
    from robot_agent.commands.options import Parser

_STUDIES = Path("runs/studies")


def add_study(parser: "Parser") -> None:
    """Add what a study needs."""
    group = parser.add_argument_group("studies: many adaptations, in simulation")
    group.add_argument("--study", choices=("corrections",), help="run it; stopped, it goes on")
    group.add_argument("--scene", default="kitchen", help="the new scene (default kitchen)")
    group.add_argument("--seeds", type=whole(1, 100), default=3, help="adaptations of each arm")
    group.add_argument(
        "--first-seed", type=whole(0, 1_000_000), default=0, help="of the first adaptation"
    )
    group.add_argument(
        "--arm", action="append", default=[], help="repeatable; with and without by default"
    )
    group.add_argument("--out", type=Path, default=_STUDIES, help=f"folder (default {_STUDIES})")


def run_study(arguments: argparse.Namespace) -> int:
    """Run a study and show what it found."""
    from robot_agent.studies.corrections import (
        WITHOUT,
        CorrectionStudyConfig,
        run_corrections,
    )

    config = CorrectionStudyConfig(
        scene=arguments.scene,
        seeds=arguments.seeds,
        first_seed=arguments.first_seed,
        arms=tuple(dict.fromkeys((WITHOUT, *(arguments.arm or ["with"])))),
        trials=arguments.trials,
        workers=arguments.workers,
    )
    num = config.seeds * len(config.arms)
    with progress(f"study {arguments.study}") as say:
        results = run_corrections(
            arguments.out / arguments.study,
            config,
            lambda done, words: say(done, num, words),
        )
    show("evaluate", results, as_json=arguments.json, seed=0, tables=study_tables(results))
    return 0


def study_tables(results: dict[str, Any]) -> list[Any]:
    """Return the tables of a study: success of each arm, differences to the arm without."""
    arms = [
        (name, f"{row['successes']}/{row['trials']}", _span(row["interval"], 100.0),
         ", ".join(map(str, row["by_seed"])))
        for name, row in results["arms"].items()
    ]  # fmt: skip
    pairs = [
        (name, f"{row['points']:+.1f}", _span(row["interval"], 1.0), f"{row['p']:.3f}")
        for name, row in results["pairs"].items()
    ]
    return [
        table("Success", ("arm and place", "successes", "95 % interval", "by seed"), arms),
        table("Differences", ("arms and place", "points", "95 % interval", "p"), pairs),
    ]


def _span(interval: Any, factor: float) -> str:
    low, high = interval
    return f"{factor * low:.0f} to {factor * high:.0f}"
