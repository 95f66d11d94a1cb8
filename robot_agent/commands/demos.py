"""`demos collect | inspect | check`: data of the scripted hands, and how good the hands are."""

import argparse
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_agent.commands.options import (
    add_command,
    add_group,
    add_json,
    add_seed,
    existing_file,
    new_file,
    number,
    whole,
)
from robot_agent.commands.output import progress, show, table
from robot_agent.core.clock import Stopwatch
from robot_agent.core.errors import ConfigError

if TYPE_CHECKING:
    from robot_agent.commands.options import Commands

_SHARES = 4
"""Shares of the work per process; none may be empty."""
_CELLS = ("table", "drawer", "sink")
_CHECK_SEED = 3_000_000
"""Resets of `check` start here, away from those of evaluation."""


def register(commands: "Commands") -> None:
    """Add the group."""
    group = add_group(commands, "demos", "data of the scripted hands in simulation")
    collect = add_command(group, "collect", "collect episodes into one safetensors file", _collect)
    collect.add_argument(
        "--kind",
        choices=("demonstration", "play"),
        default="demonstration",
        help="demonstrations at home, or play and near misses in broad scenes",
    )
    collect.add_argument("--cell", choices=_CELLS, default="table", help="what stands there")
    collect.add_argument("--task", default="", help="only one task: name or instruction")
    collect.add_argument(
        "--varied",
        type=number(0, 1),
        default=0.0,
        help="share of demonstrations in the home distribution; the rest at the plain home",
    )
    collect.add_argument("--num", type=whole(1, 1_000_000), required=True, help="episodes")
    collect.add_argument(
        "--steps", type=whole(5, 1000), help="steps of each at 5 Hz (table 24, drawer 45, sink 70)"
    )
    collect.add_argument("--workers", type=whole(1, 256), default=2, help="processes")
    collect.add_argument("--out", type=Path, required=True, help="file to write")
    add_seed(collect)
    add_json(collect)
    inspect = add_command(group, "inspect", "say what a file of episodes holds", _inspect)
    inspect.add_argument("file", type=Path, help="what `demos collect` wrote")
    inspect.add_argument("--sheet", type=Path, help="PNG to write: episodes as rows of pictures")
    add_json(inspect)
    check = add_command(group, "check", "measure the scripted hands by the tasks' rules", _check)
    check.add_argument("--cell", choices=_CELLS, action="append", help="default: drawer and sink")
    check.add_argument("--num", type=whole(1, 10_000), default=200, help="resets per task")
    add_seed(check, default=_CHECK_SEED)
    add_json(check)


def _collect(arguments: argparse.Namespace) -> int:
    least = _SHARES * arguments.workers
    if arguments.workers > 1 and arguments.num < least:
        raise ConfigError(
            f"--num is {arguments.num}, must be at least {least} for {arguments.workers} workers. "
            f"Collect more episodes, or set --workers 1."
        )
    if arguments.kind == "play" and arguments.task:
        raise ConfigError("--task does not go with play, which takes every task. Leave it out.")
    share = arguments.varied
    if arguments.kind == "play" and share:
        raise ConfigError("--varied does not go with play, whose scenes are broad. Leave it out.")
    out = new_file(arguments.out)
    from robot_agent.sim.collect import DEFAULT_STEPS, Plan, collect
    from robot_agent.sim.household import draw_home
    from robot_agent.sim.recordings import save_recording, summarise
    from robot_agent.store.durable import storage_errors

    plan = Plan(
        kind=arguments.kind,
        cell=arguments.cell,
        task=arguments.task,
        num=arguments.num,
        seed=arguments.seed,
        steps=arguments.steps or DEFAULT_STEPS[arguments.cell],
        draw_scene=partial(draw_home, arguments.cell, share) if share else None,
    )
    watch = Stopwatch()
    with progress(f"collecting {plan.kind}") as say:
        recording = collect(plan, arguments.workers, say)
    with storage_errors("writing a recording", out):
        save_recording(out, recording)
    results = {"file": out, "seconds": watch.seconds(), **summarise(recording)}
    _show("demos collect", results, arguments, seed=arguments.seed)
    return 0


def _inspect(arguments: argparse.Namespace) -> int:
    from robot_agent.sim.recordings import contact_sheet, open_recording, summarise

    file = existing_file(arguments.file, "a recording", "Make one with: robot-agent demos collect")
    recording = open_recording(file)
    if arguments.sheet is not None:
        import cv2

        picture = contact_sheet(recording)
        cv2.imwrite(str(new_file(arguments.sheet)), picture[..., ::-1])
    _show("demos inspect", {"file": file, **summarise(recording)}, arguments)
    return 0


def _show(
    command: str,
    results: Mapping[str, Any],
    arguments: argparse.Namespace,
    seed: int | None = None,
) -> None:
    """Print one table about the whole and one about its tasks."""
    tasks = results["tasks"]
    columns = ("task", *next(iter(tasks.values())))
    rows = [(name, *row.values()) for name, row in tasks.items()]
    whole_rows = [(name, value) for name, value in results.items() if name != "tasks"]
    tables = [table("Recording", ("what", "value"), whole_rows), table("Tasks", columns, rows)]
    show(command, results, as_json=arguments.json, seed=seed, tables=tables)


def _check(arguments: argparse.Namespace) -> int:
    from robot_agent.evaluate.statistics import wilson_interval
    from robot_agent.sim.attempt import Attempt, attempt
    from robot_agent.sim.robot import SimRobot
    from robot_agent.sim.scenes import CELL_SCENES
    from robot_agent.sim.tasks import tasks_of

    results: dict[str, Any] = {}
    for cell in arguments.cell or ("drawer", "sink"):
        scene, robot = CELL_SCENES[cell], SimRobot(CELL_SCENES[cell])
        for task in tasks_of(cell):
            found: list[Attempt] = []
            with progress(f"{cell}: {task.instruction}") as say:
                for index in range(arguments.num):
                    found.append(attempt(robot, scene, task, arguments.seed + index))
                    say(index + 1, arguments.num, "resets")
            done = sum(one.is_success for one in found)
            low, high = wilson_interval(done, len(found))
            results[f"{cell}/{task.name}"] = {
                "successes": done,
                "trials": len(found),
                "interval": [round(low, 4), round(high, 4)],
                "median_steps": sorted(one.first_step for one in found)[len(found) // 2],
                "drops": sum(one.drops for one in found),
            }
    columns = ("task", "successes", "trials", "95 % interval", "median steps", "drops")
    rows = [(name, *row.values()) for name, row in results.items()]
    text = table("Scripted hands", columns, rows)
    show("demos check", results, as_json=arguments.json, seed=arguments.seed, tables=[text])
    return 0
