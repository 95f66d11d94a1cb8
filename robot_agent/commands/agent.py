"""`up` and `adapt`: start the nodes, adapt to a scene."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_agent.commands.interrupt import interruptible
from robot_agent.commands.options import (
    add_command,
    add_config,
    add_json,
    add_namespace,
    add_seed,
    config_of,
    number,
    whole,
)
from robot_agent.commands.output import progress, show, table
from robot_agent.commands.place import add_place, require_known
from robot_agent.core.errors import ConfigError

if TYPE_CHECKING:
    from robot_agent.commands.options import Commands, Parser

_READY_S = 30.0


def register(commands: "Commands") -> None:
    """Add the commands that deal with a running agent."""
    up = add_command(commands, "up", "start the nodes and watch them until Ctrl-C", _up)
    body = up.add_mutually_exclusive_group()
    body.add_argument("--sim", action="store_true", help="on the simulated robot (default)")
    body.add_argument("--robot", action="store_true", help="on the real robot")
    add_namespace(up)
    up.add_argument("--scene", default="home", help="simulated scene (default home)")
    up.add_argument("--folder", type=Path, default=Path("runs/up"), help="logs and state")
    up.add_argument("--store", type=Path, help="episode store (default FOLDER/episodes)")
    up.add_argument("--releases", type=Path, help="release registry (default FOLDER/releases)")
    add_seed(up)
    add_config(up)

    adapt = add_command(commands, "adapt", "adapt to a scene on the running agent", _adapt)
    adapt.add_argument("--instruction", action="append", required=True, help="repeatable")
    _add_budget(adapt)
    add_place(adapt)
    add_json(adapt)
    learner = adapt.add_argument_group("the learner process, which the adaptation node starts")
    learner.add_argument("--source", choices=("agent", "pipe"), default="agent")
    learner.add_argument("--run", dest="run_folder", type=Path, help="folder of this adaptation")
    learner.add_argument("--store", type=Path, help="episode store")
    learner.add_argument("--releases", type=Path, help="release registry")
    learner.add_argument("--captures", type=Path, help="start frames that were captured")
    add_config(adapt)


def _add_budget(parser: "Parser") -> None:
    parser.add_argument(
        "--budget-minutes", type=number(0.1, 1e5, "minutes"), default=15.0, help="wall clock"
    )
    parser.add_argument(
        "--max-real-episodes", type=whole(1, 10_000), default=40, help="on the robot"
    )
    parser.add_argument("--resume", action="store_true", help="go on from the last finished stage")


def _up(arguments: argparse.Namespace) -> int:
    from robot_agent.compose import ensure_releases
    from robot_agent.ros import environment, up
    from robot_agent.ros.description import AgentOptions
    from robot_agent.sim.household import scene_named

    words = [
        f"is_simulated={'false' if arguments.robot else 'true'}",
        f"namespace={arguments.namespace}",
        f"scene={scene_named(arguments.scene).name}",
        f"folder={arguments.folder}",
        f"seed={arguments.seed}",
    ]
    words += [f"store={arguments.store}"] if arguments.store else []
    words += [f"releases={arguments.releases}"] if arguments.releases else []
    options = config_of(AgentOptions, arguments, words)
    if arguments.robot:
        environment.require_robot()
    ensure_releases(options.releases_folder, options.shipped)
    return up.run(options)


def _adapt(arguments: argparse.Namespace) -> int:
    if arguments.source == "pipe":
        from robot_agent.commands.learner import run_learner

        return run_learner(arguments)
    _require_agent_options(arguments)
    require_known(arguments)
    from robot_agent.ros.client import AgentClient

    with (
        interruptible("the adaptation") as asked,
        AgentClient(arguments.namespace) as client,
        progress("adapting") as say,
    ):
        client.wait_ready(_READY_S)
        result = client.adapt(
            arguments.scene,
            arguments.instruction,
            budget_minutes=arguments.budget_minutes,
            max_real_episodes=arguments.max_real_episodes,
            resume=arguments.resume,
            on_feedback=lambda feedback: say(
                round(100 * feedback.progress), 100, _words(feedback)
            ),
            is_cancelled=asked.is_set,
        )
    results = {
        "success": bool(result.success),
        "version": str(result.version),
        "message": str(result.message),
        "report": str(result.report_path),
    }
    show(
        "adapt",
        results,
        as_json=arguments.json,
        seed=arguments.seed,
        tables=[table("Adaptation", ("what", "value"), results.items())],
    )
    return 0 if result.success else 1


def _require_agent_options(arguments: argparse.Namespace) -> None:
    """Refuse what the running node has of its own: folders and configuration."""
    given = {
        "--run": arguments.run_folder,
        "--store": arguments.store,
        "--releases": arguments.releases,
        "--captures": arguments.captures,
        "--config": arguments.config,
        "--set": arguments.overrides,
    }
    if not arguments.scene:
        raise ConfigError(
            "--scene is empty, must name the scene to adapt to. "
            "Give one, for example: --scene kitchen"
        )
    wrong = [name for name, value in given.items() if value]
    if wrong:
        raise ConfigError(
            f"{', '.join(wrong)}: only for --source pipe; the running agent was told its folders "
            f"by robot-agent up. Leave it out."
        )


def _words(feedback: Any) -> str:
    return f"round {feedback.round} {feedback.stage}: {feedback.message}"
