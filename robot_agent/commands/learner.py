"""The learner process: `adapt --source pipe`, JSON lines on stdin and stdout and nothing else."""

import argparse
import dataclasses
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

from robot_agent.commands.judge import require_audited
from robot_agent.commands.options import config_of
from robot_agent.core.clock import wall_stamp
from robot_agent.core.config import to_plain
from robot_agent.core.errors import ConfigError, RobotAgentError

if TYPE_CHECKING:
    from robot_agent.learn.improve import ImproveConfig
    from robot_agent.learn.journal import RoundRecord
    from robot_agent.learn.source import PipeSource

_ORDER, _REPORT, _REPLAY = "order.json", "report.json", "replay.safetensors"
_VOTES = "judge-memory.jsonl"


def run_learner(arguments: argparse.Namespace) -> int:
    """Adapt with the robot at the other end of the pipe; every end of it is told there."""
    _require_folders(arguments)
    from robot_agent.learn.improve import ImproveConfig
    from robot_agent.learn.journal import RunFolder
    from robot_agent.learn.source import PipeSource

    with _ending_at_once(), _own_stdout() as events:
        robot = PipeSource(sys.stdin, events)
        try:
            records = _improve(robot, arguments, config_of(ImproveConfig, arguments))
        except RobotAgentError as error:
            robot.say("failed", message=str(error))
            raise
        except KeyboardInterrupt:
            _write_report(arguments.run_folder, RunFolder(arguments.run_folder).load_rounds())
            raise
        report = _write_report(arguments.run_folder, records)
        version = next((r.version_after for r in reversed(records) if r.version_after), "")
        robot.say("done", version=version, report=str(report), message=_verdict(records))
    return 0


def _improve(
    robot: "PipeSource", arguments: argparse.Namespace, config: "ImproveConfig"
) -> "list[RoundRecord]":
    from robot_agent.compose import compose_slow_loop, ensure_replay, make_order
    from robot_agent.learn.improve import improve
    from robot_agent.learn.reality import outcome_of
    from robot_agent.models.classifier_judge import ClassifierJudge
    from robot_agent.models.tiny_team import INSTRUCTIONS
    from robot_agent.store.start_frames import load_start_frames

    order = make_order(arguments.scene, arguments.instruction, arguments.max_real_episodes)
    require_audited(order.instructions)
    saved = {**dataclasses.asdict(order), "config": to_plain(config)}
    run: Path = arguments.run_folder
    _prepare_run(run, saved, is_resumed=arguments.resume)
    slow = compose_slow_loop(
        robot,
        run=run,
        store=arguments.store,
        releases=arguments.releases,
        replay=ensure_replay(run.parent / _REPLAY),
        minutes=arguments.budget_minutes,
        say=robot.progress,
        config=config,
    )
    if config.reward:
        from robot_agent.learn.reward_file import load_reward

        slow.reward = load_reward(Path(config.reward), order.instructions, run / _VOTES)
    if arguments.captures:
        slow.captured = load_start_frames(arguments.captures, arguments.scene)
    strict = ClassifierJudge([slow.team.held_out_judge], INSTRUCTIONS)
    robot.judge = lambda episode_id: outcome_of(
        strict, slow.store.load(episode_id), config.real_threshold
    )
    return improve(slow, order, config)


def _prepare_run(run: Path, order: dict[str, Any], *, is_resumed: bool) -> None:
    """Use an empty run folder, or one of the same order; an old one is moved aside, not lost."""
    from robot_agent.store.durable import replace_file, storage_errors

    path = run / _ORDER
    with storage_errors("preparing a run folder", run):
        if path.is_file() and is_resumed:
            _require_same(path, order)
            return
        if path.is_file():
            run.rename(run.with_name(f"{run.name}-{wall_stamp()}"))
        run.mkdir(parents=True, exist_ok=True)
        replace_file(path, json.dumps(order, indent=1).encode())


def _require_same(path: Path, order: dict[str, Any]) -> None:
    """Refuse to go on with another scene, other tasks or another configuration."""
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(
            f"{path}: is no order of a run ({error}). Start again without resume."
        ) from error
    now = json.loads(json.dumps(order))
    for key in ("scene", "instructions", "config"):
        if before.get(key) != now[key]:
            raise ConfigError(
                f"{path}: {key} was {before.get(key)}, now {now[key]}, must be equal to resume. "
                f"Ask for the same again, or start without resume."
            )


def _write_report(run: Path, records: "Sequence[RoundRecord]") -> Path:
    from robot_agent.store.durable import replace_file, storage_errors

    path = run / _REPORT
    content = {"rounds": [dataclasses.asdict(record) for record in records]}
    with storage_errors("writing a report", path):
        replace_file(path, json.dumps(content, indent=1).encode())
    return path


def _verdict(records: "Sequence[RoundRecord]") -> str:
    """Say in words how the rounds ended."""
    if not records:
        return "no round was finished within the budget"
    last = records[-1]
    if last.version_after:
        return f"{last.version_after} acts after {len(records)} rounds"
    if last.not_acting:
        return (
            f"{last.not_acting} passed the gate and does not act: refused since, or still in the "
            f"shadow. See: robot-agent weights show {last.not_acting}"
        )
    if not last.trusted:
        reasons = "; ".join(last.trust.get("reasons", ()))
        return f"round {last.index}: the world model is not trusted here: {reasons}"
    failed = [check for check in last.gate if not check["passed"]]
    if failed:
        check = failed[0]
        return (
            f"round {last.index}: the gate refused: {check['name']} is {check['value']}, "
            f"must be {check['limit']}"
        )
    return f"round {last.index} made no new version; gaps: {'; '.join(last.gaps) or 'none'}"


@contextmanager
def _ending_at_once() -> Iterator[None]:
    """Leave on SIGINT, and let no worker process hold the pipes open or be waited for.

    A shell that starts this in the background may have SIGINT ignored; the robot sends it.
    """

    def on_signal(_number: int, _frame: FrameType | None) -> NoReturn:
        for child in multiprocessing.active_children():
            child.terminate()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield
    finally:
        os.nice(10)  # the robot's processes come first
    signal.signal(signal.SIGINT, before)


def _require_folders(arguments: argparse.Namespace) -> None:
    for name, value in (
        ("--run", arguments.run_folder),
        ("--store", arguments.store),
        ("--releases", arguments.releases),
        ("--scene", arguments.scene or None),
    ):
        if value is None:
            raise ConfigError(f"{name} is missing, must be given with --source pipe. Add it.")


@contextmanager
def _own_stdout() -> Iterator[TextIO]:
    """Yield the pipe to the robot; what anything else prints goes to stderr meanwhile."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        events = os.fdopen(os.dup(kept), "w", encoding="utf-8")
        with events, redirect_stdout(sys.stderr):
            yield events
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
