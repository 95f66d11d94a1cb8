"""`episodes pin|unpin|prune`: what stays when the disk budget is passed."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_agent.commands.options import (
    RELEASES,
    add_command,
    add_json,
    add_store,
    existing_folder,
    number,
)
from robot_agent.commands.output import show, table

if TYPE_CHECKING:
    from robot_agent.store.episode_store import EpisodeStore


def register(group: Any) -> None:
    """Add the commands to the group `episodes`."""
    pin = add_command(group, "pin", "keep an episode whatever the budget says", _pin)
    pin.add_argument("episode", help="id of the episode")
    pin.add_argument("--why", required=True, help="for whoever wonders later")
    unpin = add_command(group, "unpin", "let an episode go with the others", _unpin)
    unpin.add_argument("episode", help="id of the episode")
    prune = add_command(group, "prune", "delete the oldest episodes down to a budget", _prune)
    prune.add_argument("--budget-gb", type=number(0, 1e6, "GB"), required=True)
    prune.add_argument("--dry-run", action="store_true", help="say what would go")
    prune.add_argument(
        "--releases", type=Path, default=RELEASES, help="episodes their weights learned from stay"
    )
    prune.add_argument("--no-releases", action="store_true", help="keep none for their sake")
    for parser in (pin, unpin, prune):
        add_store(parser)
        add_json(parser)


def _store(arguments: argparse.Namespace) -> "EpisodeStore":
    from robot_agent.store.episode_store import EpisodeStore

    remedy = "Name the store with --store, or record episodes: robot-agent up"
    return EpisodeStore(existing_folder(arguments.store, "an episode store", remedy))


def _pin(arguments: argparse.Namespace) -> int:
    from robot_agent.store.retention import pin, pins

    store = _store(arguments)
    pin(store, arguments.episode, arguments.why)
    _show_pins("pin", pins(store), as_json=arguments.json)
    return 0


def _unpin(arguments: argparse.Namespace) -> int:
    from robot_agent.store.retention import pins, unpin

    store = _store(arguments)
    unpin(store, arguments.episode)
    _show_pins("unpin", pins(store), as_json=arguments.json)
    return 0


def _show_pins(command: str, found: dict[str, str], *, as_json: bool) -> None:
    shown = table(f"{len(found)} pinned", ("episode", "why"), found.items())
    show(f"episodes {command}", {"pins": found}, as_json=as_json, tables=[shown])


def _prune(arguments: argparse.Namespace) -> int:
    from robot_agent.store.retention import prune

    needed = {} if arguments.no_releases else learned_from(arguments.releases)
    done = prune(_store(arguments), arguments.budget_gb, needed, is_dry=arguments.dry_run)
    word = "would go" if arguments.dry_run else "deleted"
    rows = [*((name, word) for name in done.removed), *done.kept.items()]
    sizes = f"{done.bytes_before / 1e9:.3f} GB before, {done.bytes_after / 1e9:.3f} GB after"
    results = {**vars(done), "removed": list(done.removed), "kept": dict(done.kept)}
    show(
        "episodes prune",
        {**results, "dry_run": arguments.dry_run},
        as_json=arguments.json,
        tables=[table(f"{len(done.removed)} {word}; {sizes}", ("episode", "what"), rows)],
    )
    return 0


def learned_from(releases: Path) -> dict[str, str]:
    """Return the episodes that releases name as what they learned from, with the release."""
    existing_folder(releases, "a release registry", "Name it with --releases, or --no-releases")
    from robot_agent.commands.weights import open_registry

    registry = open_registry(releases)
    needed: dict[str, str] = {}
    for info in registry.list():
        for name in registry.load(info.label).manifest.provenance.get("episodes", ()):
            needed[str(name)] = f"{info.label} learned from it"
    return needed
