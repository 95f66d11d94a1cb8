"""`episodes list|show|check`: look into an episode store and mend what a crash left."""

import argparse
import dataclasses
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_agent.commands.options import (
    add_command,
    add_group,
    add_json,
    add_store,
    existing_folder,
)
from robot_agent.commands.output import show, table

if TYPE_CHECKING:
    from robot_agent.commands.options import Commands
    from robot_agent.store.episode_store import EpisodeStore


def register(commands: "Commands") -> None:
    """Add the group."""
    group = add_group(commands, "episodes", "look into an episode store")
    listing = add_command(group, "list", "list the episodes, oldest first", _list)
    showing = add_command(group, "show", "say everything about one episode", _show)
    showing.add_argument("episode", help="id of the episode")
    check = add_command(group, "check", "mend what a crash left, set damaged ones aside", _check)
    check.add_argument("--all", action="store_true", help="hash every recording, which is slow")
    for parser in (listing, showing, check):
        add_store(parser)
        add_json(parser)


def _open(folder: Path) -> "EpisodeStore":
    from robot_agent.store.episode_store import EpisodeStore

    remedy = "Name the store with --store, or record episodes: robot-agent up"
    return EpisodeStore(existing_folder(folder, "an episode store", remedy))


def _list(arguments: argparse.Namespace) -> int:
    store = _open(arguments.store)
    found = [store.describe(episode_id) for episode_id in store.list()]
    columns = ("id", "instruction", "scene", "outcome", "judged_by", "num_steps")
    rows = [[getattr(info, name) for name in columns] for info in found]
    versions = [_versions(info.weights_versions) for info in found]
    entries = [
        dict(zip(columns, row, strict=True), weights=weights)
        for row, weights in zip(rows, versions, strict=True)
    ]
    show(
        "episodes list",
        {"episodes": entries, "store": arguments.store},
        as_json=arguments.json,
        tables=[table(f"{len(rows)} episodes in {arguments.store}", columns, rows)],
    )
    return 0


def _show(arguments: argparse.Namespace) -> int:
    info = _open(arguments.store).verify(arguments.episode)
    plain: dict[str, Any] = dataclasses.asdict(info)
    plain["weights_versions"] = _versions(info.weights_versions)
    plain["controllers"] = dict(Counter(info.controllers))
    show(
        "episodes show",
        plain,
        as_json=arguments.json,
        tables=[table(f"Episode {info.id}: whole", ("what", "value"), plain.items())],
    )
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from robot_agent.store.recovery import recover

    report = recover(_open(arguments.store), check_all=arguments.all)
    entries = [dataclasses.asdict(entry) for entry in report.entries]
    show("episodes check", {"entries": entries}, as_json=arguments.json, tables=[str(report)])
    return 0


def _versions(each_step: tuple[str, ...]) -> dict[str, int]:
    """Return how many steps each version of the weights acted."""
    return dict(Counter(each_step))
