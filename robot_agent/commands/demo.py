"""`demo`: the whole loop in simulation, with a table and a report at the end."""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_agent.commands.options import add_command, add_config, add_json, add_seed, config_of
from robot_agent.commands.output import show, table
from robot_agent.core.clock import Stopwatch

if TYPE_CHECKING:
    from robot_agent.commands.options import Commands

_QUICK = ("trials=4", "budget_minutes=3", "max_real_episodes=12")
"""Enough to see every part work; too few trials to show a gain."""


def register(commands: "Commands") -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "demo",
        "the whole loop in simulation: adapt to a new scene and measure it",
        _demo,
    )
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder of the run")
    parser.add_argument("--scene", default="", help="the new scene (default kitchen)")
    parser.add_argument("--quick", action="store_true", help="few trials and a small budget")
    add_seed(parser)
    add_config(parser)
    add_json(parser)


def _demo(arguments: argparse.Namespace) -> int:
    from robot_agent.demo import DemoConfig, run_demo

    first = [f"seed={arguments.seed}", *(_QUICK if arguments.quick else ())]
    first += [f"scene={arguments.scene}"] if arguments.scene else []
    config = config_of(DemoConfig, arguments, first)
    watch = Stopwatch()

    def say(text: str) -> None:
        sys.stderr.write(f"[{watch.seconds():6.0f} s] {text}\n")

    results = run_demo(arguments.out, config, say)
    report = arguments.out / "report.html"
    tables = [_success(results), _facts(results), f"Report: {report}"]
    show("demo", results, as_json=arguments.json, seed=config.seed, tables=tables)
    return 0 if results["gate_passed"] else 1


def _success(results: Mapping[str, Any]) -> Any:
    rows = []
    for place, name in (("home", "home"), ("new", results["scene"])):
        cells = [results[f"{place}_{when}"] for when in ("before", "after")]
        change = "new_gain" if place == "new" else "home_change"
        low, high = results[f"{change}_interval"]
        difference = f"{results[f'{change}_points']:+.0f} ({low:+.0f} to {high:+.0f})"
        rows.append([name, *(f"{c['successes']}/{c['trials']}" for c in cells), difference])
    return table("Success", ("scene", "before", "after", "points (95 % interval)"), rows)


def _facts(results: Mapping[str, Any]) -> Any:
    facts = {
        "first frame to active weights [s]": results["adapt_seconds"],
        "real episodes": results["num_real_episodes"],
        "ticks missed during the swap": results["swap_missed_ticks"],
        "gate": "passed" if results["gate_passed"] else "refused",
        "peak memory [MB]": results["peak_memory_mb"],
        "whole demo [min]": results["minutes"],
    }
    checks = {f"gate: {check['name']}": check["value"] for check in results["gate"]}
    return table("How", ("what", "value"), [*facts.items(), *checks.items()])
