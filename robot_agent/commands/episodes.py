"""`episodes list|show|check|label`: look into an episode store and mend what is wrong."""

import argparse
import dataclasses
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_agent.commands import episodes_exchange, episodes_keep, episodes_play
from robot_agent.commands.options import (
    add_command,
    add_group,
    add_json,
    add_store,
    existing_folder,
)
from robot_agent.commands.output import progress, show, table
from robot_agent.core.errors import ConfigError
from robot_agent.store.durable import storage_errors
from robot_agent.store.episode_format import OUTCOMES

if TYPE_CHECKING:
    from robot_agent.commands.options import Commands
    from robot_agent.core.types import Episode
    from robot_agent.store.episode_store import EpisodeStore

_ALIGNED = 60
"""Newest episodes that the alignment of pictures and motion is measured on."""


def register(commands: "Commands") -> None:
    """Add the group."""
    group = add_group(commands, "episodes", "look into an episode store")
    listing = add_command(group, "list", "list the episodes, oldest first", _list)
    showing = add_command(group, "show", "say everything about one episode", _show)
    showing.add_argument("episode", help="id of the episode")
    showing.add_argument("--sheet", type=Path, help="write its pictures as one PNG")
    showing.add_argument("--html", type=Path, help="write a page with clip, curves and findings")
    check = add_command(group, "check", "mend what a crash left, set damaged ones aside", _check)
    check.add_argument(
        "--all", action="store_true", help="hash and look into every recording, which is slow"
    )
    check.add_argument(
        "--calibration", type=Path, help="folder of those that every episode must be recorded with"
    )
    label = add_command(group, "label", "say how an episode ended", _label)
    label.add_argument("episode", help="id of the episode")
    label.add_argument("outcome", choices=OUTCOMES)
    label.add_argument("--by", default="operator", help="who judged it (default operator)")
    for parser in (listing, showing, check, label):
        add_store(parser)
        add_json(parser)
    episodes_exchange.register(group)
    episodes_play.register(group)
    episodes_keep.register(group)


def _open(folder: Path) -> "EpisodeStore":
    from robot_agent.store.episode_store import EpisodeStore

    remedy = "Name the store with --store, or record episodes: robot-agent up"
    return EpisodeStore(existing_folder(folder, "an episode store", remedy))


def _list(arguments: argparse.Namespace) -> int:
    from robot_agent.store.retention import pins

    store = _open(arguments.store)
    pinned = pins(store)
    found = [store.describe(episode_id) for episode_id in store.list()]
    columns = ("id", "instruction", "scene", "outcome", "judged_by", "num_steps")
    rows = [[getattr(info, name) for name in columns] for info in found]
    versions = [_versions(info.weights_versions) for info in found]
    entries = [
        dict(zip(columns, row, strict=True), weights=weights, pinned=pinned.get(str(row[0]), ""))
        for row, weights in zip(rows, versions, strict=True)
    ]
    show(
        "episodes list",
        {"episodes": entries, "store": arguments.store},
        as_json=arguments.json,
        tables=[
            table(
                f"{len(rows)} episodes in {arguments.store}",
                (*columns, "pinned"),
                [[*row, pinned.get(str(row[0]), "")] for row in rows],
            )
        ],
    )
    return 0


def _show(arguments: argparse.Namespace) -> int:
    store = _open(arguments.store)
    info = store.verify(arguments.episode)
    if arguments.sheet or arguments.html:
        _draw(store.load(arguments.episode), arguments)
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


def _draw(episode: "Episode", arguments: argparse.Namespace) -> None:
    from robot_agent.evaluate.episode_page import contact_sheet, write_episode_page

    if arguments.sheet:
        with storage_errors("writing the sheet", arguments.sheet):
            contact_sheet(episode).save(arguments.sheet)
    if arguments.html:
        write_episode_page(arguments.html, episode)


def _check(arguments: argparse.Namespace) -> int:
    from robot_agent.store.recovery import recover

    store = _open(arguments.store)
    report = recover(store, check_all=arguments.all)
    entries = [dataclasses.asdict(entry) for entry in report.entries]
    findings = _look_into(store, _wanted_seal(arguments)) if arguments.all else []
    rows = [[entry["episode"], entry["kind"], entry["detail"]] for entry in findings]
    tables = [table("Findings", ("episode", "what", "why"), rows)] if rows else []
    show(
        "episodes check",
        {"entries": entries, "findings": findings},
        as_json=arguments.json,
        tables=[str(report), *tables],
    )
    return 0


def _wanted_seal(arguments: argparse.Namespace) -> str:
    """Return the hash of the calibration that is asked for, or an empty text."""
    if arguments.calibration is None:
        return ""
    if not arguments.all:
        raise ConfigError("--calibration: only with --all, which looks into every episode.")
    from robot_agent.calibrate.records import require_set

    return require_set(arguments.calibration, "", "").hash


def _look_into(store: "EpisodeStore", wanted_seal: str) -> list[dict[str, Any]]:
    """Check what every episode holds; those that would teach something false are set aside."""
    from robot_agent.store.episode_checks import (
        check_alignment,
        check_calibration,
        check_episode,
    )

    findings, sound = [], []
    with progress("checking") as say:
        ids = list(store.list())
        for number, episode_id in enumerate(ids, 1):
            found = check_episode(store.load(episode_id))
            found += check_calibration(store.describe(episode_id), wanted_seal)
            findings += [{"episode": episode_id, **dataclasses.asdict(one)} for one in found]
            fatal = [one for one in found if one.is_fatal]
            if fatal:
                store.quarantine(episode_id, "; ".join(f"{f.kind}: {f.detail}" for f in fatal))
            else:
                sound.append(episode_id)
            say(number, len(ids), episode_id)
    lag = check_alignment(store.load(episode_id) for episode_id in sound[-_ALIGNED:])
    if lag is not None:
        findings.append({"episode": f"the newest {len(sound[-_ALIGNED:])}", **vars(lag)})
    return findings


def _label(arguments: argparse.Namespace) -> int:
    store = _open(arguments.store)
    store.relabel(arguments.episode, arguments.outcome, arguments.by)
    info = {"id": arguments.episode, "outcome": arguments.outcome, "judged_by": arguments.by}
    show(
        "episodes label",
        info,
        as_json=arguments.json,
        tables=[table(f"Episode {arguments.episode}", ("what", "value"), info.items())],
    )
    return 0


def _versions(each_step: tuple[str, ...]) -> dict[str, int]:
    """Return how many steps each version of the weights acted."""
    return dict(Counter(each_step))
