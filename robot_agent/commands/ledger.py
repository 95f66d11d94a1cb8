"""`ledger`: what every adaptation below a folder promised, and what came of it."""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_agent.commands.options import add_command, add_json, existing_folder
from robot_agent.commands.output import show, table

if TYPE_CHECKING:
    from robot_agent.commands.options import Commands

_RUNS = Path("runs")


def register(commands: "Commands") -> None:
    """Add the command."""
    parser = add_command(commands, "ledger", "promised and measured gains of adaptations", _ledger)
    parser.add_argument("folder", type=Path, nargs="?", default=_RUNS, help="default: runs")
    add_json(parser)


def _ledger(arguments: argparse.Namespace) -> int:
    from robot_agent.learn.ledger import ledger_json, read_ledger

    folder = existing_folder(arguments.folder, "one that holds runs", "Check the path.")
    results = ledger_json(read_ledger(folder))
    columns = ("run", "scene", "version", "predicted", "held out", "measured", "measured by")
    rows = [
        (run["folder"], run["scene"], run["version"] or "-", *_gains(run))
        for run in results["runs"]
    ]
    shown = table("Gains in points of success, 95 % intervals", columns, rows)
    show("ledger", results, as_json=arguments.json, tables=[shown, *_words(results)])
    return 0


def _gains(run: Mapping[str, Any]) -> Iterator[str]:
    for key in ("predicted", "held_out", "measured"):
        gain = run[key]
        if gain is None:
            yield "-"
            continue
        low, high = (100 * end for end in gain["interval"])
        yield f"{100 * gain['gain']:+.0f} ({low:+.0f} to {high:+.0f})"
    yield run["measured"]["by"] if run["measured"] else "-"


def _words(results: Mapping[str, Any]) -> Iterator[str]:
    for names, found in results["correlations"].items():
        if found["r"] is None:
            yield f"{names}: no correlation of {found['runs']} runs; 3 that differ are needed"
            continue
        ends = found["interval"]
        words = f" ({ends[0]:.2f} to {ends[1]:.2f})" if ends else ""
        yield f"{names}: Pearson {found['r']:.2f}{words} over {found['runs']} runs"
    for run in results["runs"]:
        for missing in run["missing"]:
            yield f"{run['folder']}: {missing}"
