"""`evaluate --study`: whole experiments of many trainings in simulation."""

import argparse
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_agent.commands.options import add_config, config_of, whole
from robot_agent.commands.output import Say, progress, show, table

if TYPE_CHECKING:
    from robot_agent.commands.options import Parser

_STUDIES = Path("runs/studies")


def add_study(parser: "Parser") -> None:
    """Add what a study needs."""
    group = parser.add_argument_group("studies: many adaptations, in simulation")
    group.add_argument("--study", choices=tuple(_RUNS), help="run it; stopped, it goes on")
    group.add_argument(
        "--experiments",
        default="",
        help="of published: 1,2,3,4,oracles with commas between; all by default",
    )
    group.add_argument("--scene", default="kitchen", help="of corrections: the new scene")
    group.add_argument(
        "--seeds", type=whole(1, 100), help="trainings of each arm (corrections 3, published 1)"
    )
    group.add_argument(
        "--first-seed",
        type=whole(0, 1_000_000),
        default=0,
        help="of corrections: seed of the first adaptation",
    )
    group.add_argument(
        "--arm", action="append", default=[], help="of corrections, repeatable; with and without"
    )
    group.add_argument("--out", type=Path, default=_STUDIES, help=f"folder (default {_STUDIES})")
    add_config(parser)


def run_study(arguments: argparse.Namespace) -> int:
    """Run a study and show what it found."""
    with progress(f"study {arguments.study}") as say:
        results, tables = _RUNS[arguments.study](arguments, say)
    show("evaluate", results, as_json=arguments.json, seed=0, tables=tables)
    return 0


_Found = tuple[dict[str, Any], list[Any]]


def _run_corrections(arguments: argparse.Namespace, say: Say) -> _Found:
    from robot_agent.studies.corrections import WITHOUT, CorrectionStudyConfig, run_corrections

    config = CorrectionStudyConfig(
        scene=arguments.scene,
        seeds=arguments.seeds or CorrectionStudyConfig.seeds,
        first_seed=arguments.first_seed,
        arms=tuple(dict.fromkeys((WITHOUT, *(arguments.arm or ["with"])))),
        trials=arguments.trials,
        workers=arguments.workers,
    )
    num = config.seeds * len(config.arms)
    results = run_corrections(
        arguments.out / arguments.study, config, lambda done, words: say(done, num, words)
    )
    return results, study_tables(results)


def _run_published(arguments: argparse.Namespace, say: Say) -> _Found:
    from robot_agent.studies.published import run_published
    from robot_agent.studies.published_config import PublishedStudyConfig

    first = [f"trials={arguments.trials}", f"workers={arguments.workers}"]
    if arguments.max_steps:
        first.append(f"max_steps={arguments.max_steps}")
    if arguments.seeds:
        first.append(f"seeds={arguments.seeds}")
    if arguments.experiments:
        names = (f"'{name.strip()}'" for name in arguments.experiments.split(","))
        first.append(f"experiments=[{', '.join(names)}]")
    config = config_of(PublishedStudyConfig, arguments, first)
    num = config.seeds * len(config.experiments)
    results = run_published(
        arguments.out / arguments.study, config, lambda done, words: say(done, num, words)
    )
    return results, list(published_tables(results))


_RUNS: Mapping[str, Callable[[argparse.Namespace, Say], _Found]] = {
    "corrections": _run_corrections,
    "published": _run_published,
}


def study_tables(results: Mapping[str, Any]) -> list[Any]:
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


def published_tables(results: Mapping[str, Any]) -> Iterator[Any]:
    """Yield a table for each published experiment: our numbers, beside them the paper's."""
    columns = ("arm", "task", "successes", "95 % interval", "less SFT", "minutes", "paper [%]")
    for name, found in results["experiments"].items():
        rows = [row for arm in found["arms"] for row in _rows_of(arm, found)]
        yield table(f"Experiment {name}", columns, rows)
        yield f"Paper: {found['source']}"
    for names, found in results["ledger"]["correlations"].items():
        r = "not known" if found["r"] is None else f"{found['r']:.2f}"
        yield f"Gains {names}: Pearson {r} over {found['runs']} trainings"


def _rows_of(arm: str, found: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    own, paper = found["arms"][arm], found["paper"].get(arm, {})
    less = found["less SFT"].get(arm, {"tasks": {}})
    seconds = sum(record["seconds"] for record in found["records"] if record["arm"] == arm)
    parts = {
        **{task: (row, less["tasks"].get(task)) for task, row in own["tasks"].items()},
        **{part: (own[part], less.get(part)) for part in ("all", "others") if part in own},
    }
    for index, (task, (row, pair)) in enumerate(parts.items()):
        yield (
            arm if index == 0 else "",
            task,
            f"{row['successes']}/{row['trials']}",
            _span(row["interval"], 100.0),
            f"{pair['points']:+.0f} ({_span(pair['interval'], 1.0)})" if pair else "",
            f"{seconds / 60.0:.1f}" if index == 0 else "",
            _of_paper(task, paper),
        )


def _of_paper(task: str, paper: Mapping[str, str]) -> str:
    instruction = task.partition(": ")[2]
    if task == "all":
        return paper.get("in its world model", "")
    return paper.get(instruction or task, "")


def _span(interval: Any, factor: float) -> str:
    low, high = interval
    return f"{factor * low:.0f} to {factor * high:.0f}"
