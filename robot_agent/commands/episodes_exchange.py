"""`episodes export|import`: to and from the formats of other tools."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_agent.commands.options import add_command, add_json, add_store, existing_folder, whole
from robot_agent.commands.output import progress, show, table

if TYPE_CHECKING:
    from robot_agent.core.types import Episode
    from robot_agent.store.exchange import Exporter, Importer

_FORMATS = ("lerobot", "rlds", "clips", "rosbag")
_VIEWERS = ("rerun",)
"""Written, never read back."""


def register(group: Any) -> None:
    """Add both commands to the group `episodes`."""
    export = add_command(group, "export", "write episodes in the format of another tool", _export)
    export.add_argument("--format", choices=(*_FORMATS, *_VIEWERS), required=True)
    export.add_argument("--out", type=Path, required=True, help="new folder")
    export.add_argument("--episode", action="append", default=[], help="only this; repeatable")
    export.add_argument("--outcome", help="only those that ended so, for example success")
    export.add_argument("--codec", choices=("jpeg", "png"), default="jpeg", help="for rlds")
    export.add_argument("--jpeg-quality", type=whole(1, 100), default=95)
    export.add_argument("--video-crf", type=whole(0, 51), default=18, help="0 loses least")
    taking = add_command(group, "import", "take over episodes of another tool", _import)
    taking.add_argument("folder", type=Path, help="the data set; of a bag, also the file")
    taking.add_argument("--format", choices=_FORMATS, required=True)
    taking.add_argument("--camera", default="", help="which of several cameras")
    for flag, words in (
        ("--drop-first", "Bridge: leave out the first step, whose action is all zeros"),
        ("--binarize-gripper", "Bridge: opening 0 or 1, what lies between takes what comes next"),
        ("--relabel", "Bridge: actions are the differences of the states that were reached"),
    ):
        taking.add_argument(flag, action="store_true", help=words)
    for parser in (export, taking):
        add_store(parser)
        add_json(parser)


def _export(arguments: argparse.Namespace) -> int:
    from robot_agent.store.episode_store import EpisodeStore
    from robot_agent.store.exchange import ExportOptions
    from robot_agent.store.rosbag import export_bags

    remedy = "Name the store with --store, or record episodes: robot-agent up"
    store = EpisodeStore(existing_folder(arguments.store, "an episode store", remedy))
    ids = list(arguments.episode or store.list())
    if arguments.outcome:
        ids = [name for name in ids if store.describe(name).outcome == arguments.outcome]
    options = ExportOptions(
        codec=arguments.codec, jpeg_quality=arguments.jpeg_quality, video_crf=arguments.video_crf
    )
    with progress("exporting") as say:

        def load() -> "Iterator[Episode]":
            for number, name in enumerate(ids, 1):
                yield store.load(name)
                say(number, len(ids), name)

        exporter = _exporters().get(arguments.format)
        done = (
            exporter(load(), arguments.out, options)
            if exporter is not None
            else export_bags(store, ids, arguments.out)
        )
    rows = [("folder", done.folder), ("episodes", done.episodes), ("steps", done.steps)]
    show(
        "episodes export",
        vars(done),
        as_json=arguments.json,
        tables=[table("Exported", ("what", "value"), [*rows, *(("lost", w) for w in done.lost)])],
    )
    return 0


def _import(arguments: argparse.Namespace) -> int:
    from robot_agent.store.episode_store import EpisodeStore
    from robot_agent.store.exchange import ImportOptions, renamed

    options = ImportOptions(
        camera=arguments.camera,
        drop_first=arguments.drop_first,
        binarize_gripper=arguments.binarize_gripper,
        relabel=arguments.relabel,
    )
    store = EpisodeStore(arguments.store)
    taken, ids = set(store.list()), []
    for episode in _importers()[arguments.format](arguments.folder, options):
        ids.append(store.append(renamed(episode, taken)).name)
    show(
        "episodes import",
        {"episodes": ids, "store": arguments.store},
        as_json=arguments.json,
        tables=[table(f"{len(ids)} episodes in {arguments.store}", ("id",), [[i] for i in ids])],
    )
    return 0


def _exporters() -> "dict[str, Exporter]":
    """Return the exporters that take loaded episodes; a bag is a recording as it is."""
    from robot_agent.store.clip_exchange import export_clips
    from robot_agent.store.lerobot_export import export_lerobot
    from robot_agent.store.rerun_export import export_rerun
    from robot_agent.store.rlds import export_rlds

    return {
        "lerobot": export_lerobot,
        "rlds": export_rlds,
        "clips": export_clips,
        "rerun": export_rerun,
    }


def _importers() -> "dict[str, Importer]":
    from robot_agent.store.clip_exchange import import_clips
    from robot_agent.store.lerobot_import import import_lerobot
    from robot_agent.store.rlds import import_rlds
    from robot_agent.store.rosbag import import_bags

    return {
        "lerobot": import_lerobot,
        "rlds": import_rlds,
        "clips": import_clips,
        "rosbag": import_bags,
    }
