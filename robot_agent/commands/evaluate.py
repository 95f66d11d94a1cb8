"""`evaluate`: policies against each other on the same start states, in simulation or on an arm."""

import argparse
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_agent.commands.evaluate_tables import tables
from robot_agent.commands.interrupt import interruptible
from robot_agent.commands.options import (
    add_command,
    add_json,
    add_namespace,
    add_releases,
    add_store,
    number,
    whole,
)
from robot_agent.commands.output import Say, progress, show
from robot_agent.commands.study import add_study, run_study
from robot_agent.core.errors import ConfigError

if TYPE_CHECKING:
    from robot_agent.commands.options import Commands, Parser
    from robot_agent.evaluate.judging import ClipJudge
    from robot_agent.evaluate.outcomes import Comparison
    from robot_agent.evaluate.sequential import SequentialTest
    from robot_agent.evaluate.suites import Suite
    from robot_agent.evaluate.trial_runner import TrialRunner

_JOURNAL = Path("runs/evaluate/trials.jsonl")
_READY_S = 30.0
_SHIPPED = Path("runs/shipped")
"""Registries of the shipped policies, one each."""


def register(commands: "Commands") -> None:
    """Add the command."""
    parser = add_command(
        commands, "evaluate", "compare policies on the same start states", _evaluate
    )
    _add_what(parser)
    parser.add_argument(
        "--instruction", action="append", default=[], help="repeatable; every task by default"
    )
    parser.add_argument(
        "--trials", type=whole(1, 1000), default=50, help="start states of each task (default 50)"
    )
    parser.add_argument("--max-steps", type=whole(1, 1000), help="steps of a trial at 5 Hz")
    parser.add_argument("--workers", type=whole(1, 64), default=2, help="processes, for --on sim")
    parser.add_argument(
        "--on", choices=("sim", "ros", "robot"), default="sim",
        help="simulation in process (default), the running simulated agent, or the robot",
    )  # fmt: skip
    parser.add_argument(
        "--judge", help="`tiny`: held against the truth in simulation; decides on the robot, "
        "where else the operator's key does",
    )  # fmt: skip
    parser.add_argument(
        "--journal", type=Path, default=_JOURNAL, help="finished trials; a killed run goes on"
    )
    parser.add_argument("--html", type=Path, help="write a page with pictures and plots")
    parser.add_argument(
        "--groups-of", type=whole(0, 1000), default=0, help="also by groups, as AutoEval: 10"
    )
    _add_early_stop(parser)
    add_releases(parser)
    add_store(parser)
    add_namespace(parser)
    add_study(parser)
    add_json(parser)


def _add_what(parser: "Parser") -> None:
    parser.add_argument(
        "--suite",
        default="home",
        help="table, novel, autoeval, household, or scenes with commas; @real: other physics",
    )
    parser.add_argument("--others", default="", help="a suite that shows what was forgotten")
    parser.add_argument(
        "--policies",
        default="current",
        help="labels, slots (current, previous, factory), bundle folders, or what is shipped "
        "(tiny, tiny-twin), with commas between",
    )


def _add_early_stop(parser: "Parser") -> None:
    parser.add_argument("--stop-early", action="store_true", help="stop once the pair is decided")
    for name, low, high, default, words in (
        ("--alpha", 1e-4, 0.2, 0.05, "chance to call equal policies different"),
        ("--power", 0.5, 0.99, 0.8, "chance to find a difference of --min-effect"),
        ("--min-effect", 0.1, 0.6, 0.2, "smallest difference of success that matters"),
    ):
        parser.add_argument(
            name, type=number(low, high), default=default, help=f"{words} (default {default})"
        )


def _evaluate(arguments: argparse.Namespace) -> int:
    if arguments.study:
        return run_study(arguments)
    from robot_agent.compose import load_judge
    from robot_agent.evaluate.comparison import FIRST_SEED, compare
    from robot_agent.evaluate.suites import suite_named

    suite = suite_named(
        arguments.suite,
        others=arguments.others,
        instructions=arguments.instruction,
        trials=arguments.trials,
        max_steps=arguments.max_steps,
    )
    policies = _policies(arguments.policies, arguments.releases)
    judge = load_judge(arguments.judge) if arguments.judge else None
    with _runner(arguments, policies, judge) as runner, _progress(arguments) as say:
        comparison = compare(
            policies,
            runner,
            suite,
            journal=arguments.journal,
            stop_early=_early_stop(arguments),
            on_trial=lambda done, total, record: say(done, total, f"{record.scene}"),
        )
    is_truth_known = arguments.on != "robot"
    results = comparison.to_json(
        arguments.groups_of, judge.threshold if judge and is_truth_known else None
    )
    if arguments.html:
        _write_page(arguments, results, comparison, policies, suite)
    show(
        "evaluate",
        results,
        as_json=arguments.json,
        seed=FIRST_SEED,
        tables=tables(results),
    )
    return 0


def _progress(arguments: argparse.Namespace) -> "AbstractContextManager[Say]":
    """Return a bar; none on the robot, where it would be drawn over the operator's question."""
    return nullcontext(lambda *_: None) if arguments.on == "robot" else progress("evaluating")


def _early_stop(arguments: argparse.Namespace) -> "SequentialTest | None":
    from robot_agent.evaluate.sequential import SequentialTest

    if not arguments.stop_early:
        return None
    return SequentialTest(
        alpha=arguments.alpha, power=arguments.power, min_effect=arguments.min_effect
    )


@contextmanager
def _runner(
    arguments: argparse.Namespace, policies: Mapping[str, Path], judge: "ClipJudge | None"
) -> "Iterator[TrialRunner]":
    """Yield what runs the trials; leaves the agent at the end."""
    if arguments.on == "sim":
        from robot_agent.compose import load_policy
        from robot_agent.evaluate.trial_workers import SimRunner

        yield SimRunner(policies, load_policy, workers=arguments.workers, judge=judge)
        return
    versions = {name: _version(name, path, arguments) for name, path in policies.items()}
    from robot_agent.evaluate.success import JudgeDecision, OperatorKeys, SimulatorTruth
    from robot_agent.ros.client import AgentClient
    from robot_agent.ros.trial_runner import RosRunner
    from robot_agent.store.episode_store import EpisodeStore

    load = EpisodeStore(arguments.store).load
    keys, is_robot = OperatorKeys(), arguments.on == "robot"
    with interruptible("the evaluation") as asked, AgentClient(arguments.namespace) as client:
        client.wait_ready(_READY_S)
        yield RosRunner(
            client,
            versions,
            (JudgeDecision(judge, load) if judge else keys)
            if is_robot
            else SimulatorTruth(judge, load),
            place=arguments.on,
            judge=judge.name if judge else "",
            is_recorded=is_robot or judge is not None,
            prepare=keys.prepare if is_robot else lambda _: None,
            is_cancelled=asked.is_set,
        )


def _version(name: str, path: Path, arguments: argparse.Namespace) -> str:
    """Return the release that the agent is to promote; a folder elsewhere is none of its own."""
    if arguments.releases.resolve() not in path.resolve().parents:
        raise ConfigError(
            f"policy '{name}': {path} is no release of {arguments.releases}, must be one for "
            f"--on {arguments.on}: the agent promotes releases only. Name a label or a slot."
        )
    return path.name


def _write_page(
    arguments: argparse.Namespace,
    results: Mapping[str, Any],
    comparison: "Comparison",
    policies: Mapping[str, Path],
    suite: "Suite",
) -> None:
    from robot_agent.compose import load_policy
    from robot_agent.evaluate import trial_clips
    from robot_agent.evaluate.evaluation_page import write_page
    from robot_agent.store.episode_store import EpisodeStore

    wanted = trial_clips.worth_showing(comparison)
    if arguments.on == "sim":
        clips = trial_clips.run_again(wanted, policies, load_policy, suite)
    else:
        clips = trial_clips.recorded(wanted, EpisodeStore(arguments.store))
    write_page(arguments.html, results, clips)


def _policies(names: str, releases: Path) -> Mapping[str, Path]:
    """Return the bundle folder of each name."""
    from robot_agent.models.tiny_team import POLICIES

    found = {}
    for name in (part.strip() for part in names.split(",")):
        if name in POLICIES:
            found[name] = _shipped(name)
        else:
            found[name] = Path(name) if Path(name).is_dir() else _release(name, releases)
    return found


def _shipped(name: str) -> Path:
    """Return the bundle of a shipped policy, made at its first use."""
    from robot_agent.commands.weights import open_registry
    from robot_agent.compose import ensure_releases

    folder = _SHIPPED / name
    label = ensure_releases(folder, name)
    return open_registry(folder).path(label)


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
