"""`episodes play`: the actions of an episode on the arm again, or its topics for a viewer."""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from robot_agent.commands.interrupt import interruptible
from robot_agent.commands.options import (
    add_command,
    add_json,
    add_namespace,
    add_store,
    existing_folder,
    number,
)
from robot_agent.commands.output import progress, show, table
from robot_agent.core.errors import ConfigError, InputError

if TYPE_CHECKING:
    from robot_agent.core.types import Episode
    from robot_agent.ros.client import AgentClient
    from robot_agent.store.episode_store import EpisodeStore

_READY_S = 30.0


def register(group: Any) -> None:
    """Add the command to the group `episodes`."""
    play = add_command(group, "play", "replay an episode's actions on the running agent", _play)
    play.add_argument("episode", help="id of the episode")
    play.add_argument("--view", action="store_true", help="move nothing: publish below /replay")
    play.add_argument("--rate", type=number(0.1, 10, ""), default=1.0, help="of --view")
    play.add_argument("--robot", action="store_true", help="on the real robot; asks before it")
    add_namespace(play)
    add_store(play)
    add_json(play)


def _play(arguments: argparse.Namespace) -> int:
    from robot_agent.ros.client import AgentClient
    from robot_agent.store.episode_store import EpisodeStore

    if arguments.rate != 1.0 and not arguments.view:
        raise ConfigError("--rate: only with --view; actions are meant for 5 a second.")
    remedy = "Name the store with --store, or record episodes: robot-agent up"
    store = EpisodeStore(existing_folder(arguments.store, "an episode store", remedy))
    store.verify(arguments.episode)
    with (
        interruptible("the replay") as asked,
        AgentClient(arguments.namespace) as client,
        progress("replaying") as say,
    ):
        if arguments.view:
            results = _view(client, store, arguments, asked.is_set, say)
        else:
            results = _move(client, store.load(arguments.episode), arguments, asked.is_set, say)
    rows = results.items()
    title = f"Replay of {arguments.episode}"
    show(
        "episodes play",
        results,
        as_json=arguments.json,
        tables=[table(title, ("what", "value"), rows)],
    )
    return 0


def _view(
    client: "AgentClient",
    store: "EpisodeStore",
    arguments: argparse.Namespace,
    asked: Any,
    say: Any,
) -> dict[str, Any]:
    from robot_agent.ros.replay_view import PREFIX, view
    from robot_agent.store.episode_format import RECORDING_NAME

    path = store.folder / arguments.episode / RECORDING_NAME
    count = view(client, path, arguments.rate, asked, lambda n: say(n, 0, "messages"))
    return {"messages": count, "below": PREFIX}


def _move(
    client: "AgentClient", episode: "Episode", arguments: argparse.Namespace, asked: Any, say: Any
) -> dict[str, Any]:
    from robot_agent.ros.replay import Replay

    client.wait_ready(_READY_S)
    replay = Replay(client)
    replay.require_free()
    _require_consent(client, episode, is_robot=arguments.robot)
    report = replay.play(
        episode, asked, lambda step: say(step, episode.num_steps, episode.instruction)
    )
    return dict(vars(report))


def _require_consent(client: "AgentClient", episode: "Episode", *, is_robot: bool) -> None:
    """Refuse to move a real arm unless a person beside it says so; simulation needs nobody."""
    if client.sim_state is not None:
        return
    if not is_robot:
        raise InputError(
            "no simulator is heard, so this is a real arm. If it shall move, add --robot."
        )
    if not sys.stdin.isatty():
        raise InputError(
            "--robot: a person at a terminal must confirm that the arm may move, and the input "
            "is none. Start it by hand."
        )
    sys.stderr.write(
        f"The real arm will go to where {episode.episode_id} began and repeat its "
        f"{episode.num_steps} actions ({episode.instruction}). It does not look at the scene.\n"
        f"Clear the table, keep a hand on the switch, and type 'move' to begin: "
    )
    if sys.stdin.readline().strip() != "move":
        raise InputError("not confirmed; nothing was moved.")
