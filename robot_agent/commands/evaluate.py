"""`evaluate`: policies against each other on the same start states in simulation."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_agent.commands.options import (
    add_command,
    add_config,
    add_json,
    add_releases,
    config_of,
)
from robot_agent.commands.output import progress, show, table
from robot_agent.core.errors import ConfigError

if TYPE_CHECKING:
    from robot_agent.commands.options import Commands

_JOURNAL = Path("runs/evaluate/trials.jsonl")


def register(commands: "Commands") -> None:
    """Add the command."""
    parser = add_command(
        commands, "evaluate", "compare policies on the same start states in simulation", _evaluate
    )
    parser.add_argument(
        "--suite",
        default="home",
        help="novel, household, all, or scenes with commas between; @real for the other physics",
    )
    parser.add_argument(
        "--policies",
        default="current",
        help="labels, slots (current, previous, factory) or bundle folders, with commas between",
    )
    parser.add_argument(
        "--instruction", action="append", default=[], help="repeatable; every task by default"
    )
    parser.add_argument(
        "--journal", type=Path, default=_JOURNAL, help="finished trials; a killed run goes on"
    )
    add_releases(parser)
    add_config(parser)
    add_json(parser)


def _evaluate(arguments: argparse.Namespace) -> int:
    from robot_agent.compose import load_policy
    from robot_agent.evaluate.comparison import FIRST_SEED, ComparisonConfig, compare
    from robot_agent.sim.household import suite_named
    from robot_agent.sim.scenes import TASKS

    config = config_of(ComparisonConfig, arguments)
    scenes = suite_named(arguments.suite)
    policies = _policies(arguments.policies, arguments.releases)
    with progress("evaluating") as say:
        comparison = compare(
            policies,
            load_policy,
            scenes,
            arguments.instruction or list(TASKS),
            journal=arguments.journal,
            config=config,
            on_trial=lambda done, total, record: say(done, total, f"{record.scene}"),
        )
    results = comparison.to_json()
    show(
        "evaluate",
        results,
        as_json=arguments.json,
        seed=FIRST_SEED,
        tables=[_success_table(results), *([_pair_table(results)] if results["pairs"] else [])],
    )
    return 0


def _policies(names: str, releases: Path) -> Mapping[str, Path]:
    """Return the bundle folder of each name."""
    found = {}
    for name in (part.strip() for part in names.split(",")):
        found[name] = Path(name) if Path(name).is_dir() else _release(name, releases)
    return found


def _release(name: str, releases: Path) -> Path:
    from robot_agent.commands.weights import open_registry

    registry = open_registry(releases)
    known = registry.releases()
    label = known.slots().get(name, name)
    if label not in known.states:
        raise ConfigError(
            f"policy '{name}' is neither a folder nor a release of {releases}, must be one of: "
            f"{', '.join([*known.states, *known.slots()])}."
        )
    return registry.path(label)


def _success_table(results: Mapping[str, Any]) -> Any:
    rows = [
        (f"{task}: {policy}", f"{rate['successes']}/{rate['trials']}", _percents(rate["interval"]))
        for task, rates in results["tasks"].items()
        for policy, rate in rates.items()
    ]
    return table("Success, with 95 % intervals", ("task: policy", "success", "interval"), rows)


def _pair_table(results: Mapping[str, Any]) -> Any:
    rows = [
        (name, f"{100 * pair['difference']:+.0f}", _percents(pair["interval"]), float(pair["p"]))
        for name, pair in results["pairs"].items()
    ]
    columns = ("pair", "difference in points", "interval", "p")
    return table("Paired differences over all tasks", columns, rows)


def _percents(interval: tuple[float, float]) -> str:
    return f"{100 * interval[0]:.0f} to {100 * interval[1]:.0f} %"
