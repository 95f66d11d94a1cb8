"""`bench learn`: gradient samples per minute of practice, ours beside the published loop."""

import argparse
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from robot_agent.commands.options import (
    add_command,
    add_config,
    add_json,
    add_seed,
    config_of,
    number,
    whole,
)
from robot_agent.commands.output import progress, show, table

if TYPE_CHECKING:
    from robot_agent.commands.options import Commands

_COLUMNS = (
    "run", "useful samples/min", "of one processor", "busy cores", "rollouts/min",
    "judge calls/min", "updates/min", "peak MB",
)  # fmt: skip
_KEYS = (
    "useful_samples_per_minute", "useful_samples_per_processor_minute", "busy_cores",
    "rollouts_per_minute", "judge_calls_per_minute",
    "updates_per_minute", "peak_memory_mb",
)  # fmt: skip


def register(group: "Commands") -> None:
    """Add the command."""
    learn = add_command(group, "learn", "gradient samples per minute of practice", _learn)
    learn.add_argument("--seconds", type=number(1, 3600, "s"), default=60.0, help="of each run")
    learn.add_argument(
        "--prompts", type=whole(1, 1000), default=20, help="of an update of the published loop"
    )
    learn.add_argument("--pair", action="store_true", help="leave out how it grows with sizes")
    add_config(learn)
    add_seed(learn)
    add_json(learn)


def _learn(arguments: argparse.Namespace) -> int:
    from robot_agent.compose import home_starts, load_team
    from robot_agent.learn.bench_learn import SCALED, LearnBench
    from robot_agent.learn.practice import PracticeConfig
    from robot_agent.models.classifier_judge import ClassifierJudge
    from robot_agent.models.tiny_imagination import TinyImagination
    from robot_agent.models.tiny_team import INSTRUCTIONS

    team = load_team()
    bench = LearnBench(
        team.policy,
        [TinyImagination(world) for world in team.worlds],
        ClassifierJudge(team.judges, INSTRUCTIONS),
        home_starts(),
        arguments.seconds,
        arguments.seed,
        arguments.prompts,
    )
    with progress("bench learn") as say:
        sizes = [] if arguments.pair else list(SCALED)
        names = ["published", "ours", *sizes]
        results = bench.compare(
            config_of(PracticeConfig, arguments),
            sizes,
            lambda name: say(names.index(name), len(names), name),
        )
    rows = [(name, *_numbers(run)) for name, run in results["runs"].items()]
    rows += [(run["what"], *_numbers(run)) for run in results["scaling"]]
    shown = table(f"Practice, {arguments.seconds:g} s each", _COLUMNS, rows)
    tables = [shown, *_words(results)]
    show("bench learn", results, as_json=arguments.json, seed=arguments.seed, tables=tables)
    return 0


def _numbers(run: Mapping[str, Any]) -> Iterator[float]:
    return (float(run[key]) for key in _KEYS)


def _words(results: Mapping[str, Any]) -> Iterator[str]:
    ratio = results["ratio"]
    if ratio is None:
        yield "the published loop made no update in that time; give it more with --seconds"
    else:
        cost = results["ratio_by_processor"]
        yield (
            f"{ratio:.1f} times the useful samples per minute of the published loop, "
            f"{cost:.1f} times by processor time"
        )
    for name, stages in results["stages"].items():
        parts = ", ".join(f"{stage} {100 * share:.0f} %" for stage, share in stages.items())
        kind = "time" if name == "published" else "processor time"
        yield f"{kind} of {name}: {parts}"
