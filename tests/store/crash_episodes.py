"""The crash sweep of the episode store; prints one JSON object. Run by test_crash.py."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from robot_agent.core.errors import RobotAgentError
from robot_agent.store.episode_format import info_to_json
from robot_agent.store.episode_store import EpisodeStore
from robot_agent.store.recovery import recover
from tests.store.crash_points import FAILING, NO_SPACE, count_points, run_to_point
from tests.store.episodes import LOSSLESS, assert_same, make_episode

_FOLDERS = itertools.count()


def write_two(folder: Path) -> Callable[[Callable[[str], None]], None]:
    def action(acknowledge: Callable[[str], None]) -> None:
        store = EpisodeStore(folder, LOSSLESS)
        for name in ("first", "second"):
            store.append(make_episode(name, 2, (4, 4)))
            acknowledge(name)

    return action


def naive(folder: Path) -> Callable[[Callable[[str], None]], None]:
    """Writes under the final name: what the sweep must catch."""

    def action(acknowledge: Callable[[str], None]) -> None:
        store = EpisodeStore(folder, LOSSLESS)
        whole = store.append(make_episode("first", 2, (4, 4)))
        acknowledge("first")
        info = dataclasses.replace(store.describe("first"), id="second", order=2)
        (folder / "second").mkdir()
        (folder / "second/episode.json").write_bytes(info_to_json(info))
        (folder / "second/episode.mcap").write_bytes((whole / "episode.mcap").read_bytes())

    return action


def problems(folder: Path, acknowledged: list[str], error: int | None) -> list[str]:
    """Return what a crash broke: lost, half visible, unreadable, or not accepted again."""
    store = EpisodeStore(folder, LOSSLESS)
    found = []
    for name in store.list():
        found += _unreadable(store, name)
    lost = {"first", "second"} & set(acknowledged) - set(store.list())
    found += [f"lost {name}" for name in lost]
    if error is not None and "error:StorageError" not in acknowledged and len(acknowledged) < 2:
        found.append(f"said {acknowledged}")
    recover(store)
    leftovers = [p.name for p in folder.iterdir() if p.name.startswith(".tmp")]
    found += [f"left {name}" for name in leftovers]
    found += [f"bad after recovery: {p}" for n in store.list() for p in _unreadable(store, n)]
    store.append(make_episode("third", 1, (4, 4)))
    return found


def _unreadable(store: EpisodeStore, name: str) -> list[str]:
    try:
        episode = store.load(name)
        if name in ("first", "second"):
            assert_same(episode, make_episode(name, 2, (4, 4)))
    except (RobotAgentError, AssertionError) as error:
        return [f"{name}: {error}"]
    return []


def sweep(kind: str, stride: int, root: Path) -> dict[str, object]:
    make = naive if kind == "naive" else write_two
    error = {"enospc": NO_SPACE, "eio": FAILING}.get(kind)
    make(root / "warm")(lambda name: None)  # imports and caches are done once
    points = count_points(make(root / "count"))
    bad = []
    for point in range(1, points + 1, stride):
        folder = root / str(next(_FOLDERS))
        outcome = run_to_point(make(folder), point, error)
        found = problems(folder, outcome.acknowledged, error)
        if error is None and not outcome.killed:
            found.append("was not killed")
        bad += [f"point {point}: {problem}" for problem in found]
        shutil.rmtree(folder)
    return {"points": points, "tried": len(range(1, points + 1, stride)), "bad": bad}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        swept = {}
        for argument in sys.argv[1:]:
            name, every = argument.split(":")
            swept[name] = sweep(name, int(every), Path(scratch) / name)
        sys.stdout.write(json.dumps(swept))
