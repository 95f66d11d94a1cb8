"""A life of the episode store to lose power in, and what must hold afterwards.

`python -m tests.store.power_loss_episodes FOLDER ACKS [naive]` lives it once.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from robot_agent.core.errors import RobotAgentError
from robot_agent.store import episode_store
from robot_agent.store.episode_store import EpisodeStore
from robot_agent.store.recovery import recover
from tests.store.episodes import LOSSLESS, assert_same, make_episode

NAMES = ("first", "second", "third")


def live(folder: Path, acknowledge: Callable[[str], None]) -> None:
    """Record three episodes, change the label of one, put another in quarantine."""
    store = EpisodeStore(folder / "episodes", LOSSLESS)
    for name in NAMES:
        store.append(make_episode(name, 2, (4, 4)))
        acknowledge(f"committed {name}")
    store.relabel("second", "failure", "a person")
    acknowledge("relabelled second")
    store.quarantine("third", "looks odd")


def commit_in_place(staging: Path, final: Path) -> None:
    """What a recorder does that nobody asked about crashes: it writes under the final name."""
    final.mkdir()
    for path in sorted(staging.iterdir()):
        (final / path.name).write_bytes(path.read_bytes())
        path.unlink()
    staging.rmdir()


def problems(folder: Path, acks: Sequence[str]) -> list[str]:
    """Return what the crash broke, after everything that a restart does."""
    try:
        return _problems(folder / "episodes", acks)
    except (RobotAgentError, OSError, AssertionError) as error:
        return [f"{type(error).__name__}: {error}"]


def _problems(folder: Path, acks: Sequence[str]) -> list[str]:
    if not folder.exists() and not acks:
        return []
    store = EpisodeStore(folder, LOSSLESS)
    for name in store.list():
        _require_whole(store, name, acks)
    committed = {ack.split()[1] for ack in acks if ack.startswith("committed")}
    shelf = [path.name for path in (folder / episode_store.QUARANTINE_NAME).glob("third-*")]
    present = set(store.list()) | ({"third"} if any("." not in name for name in shelf) else set())
    found = [f"lost {name}" for name in sorted(committed - present)]
    report = recover(store, check_all=True)
    harmed = [e for e in report.entries if e.folder in committed]
    found += [f"{entry.folder} was {entry.action}: {entry.detail}" for entry in harmed]
    found += [f"left {path.name}" for path in folder.glob(".tmp-*") if path.is_dir()]
    for name in store.list():
        _require_whole(store, name, acks)
    store.append(make_episode("next", 1, (4, 4)))
    return found


def _require_whole(store: EpisodeStore, name: str, acks: Sequence[str]) -> None:
    """An episode is what was recorded, or says that it was salvaged from less."""
    episode = store.load(name)
    if name not in NAMES:
        assert episode.judged_by == "recovery", f"{name} is not said to be salvaged"
        return
    if name == "second" and episode.outcome == "failure":
        episode = dataclasses.replace(episode, outcome="success")
    elif name == "second":
        assert "relabelled second" not in acks, "the new label is lost"
    assert_same(episode, make_episode(name, 2, (4, 4)))


def main(root: Path, acks: Path, *kinds: str) -> None:
    """Live once, reporting what is done to the file `acks`."""
    if "naive" in kinds:
        episode_store.publish_folder = commit_in_place
    descriptor = os.open(acks, os.O_WRONLY | os.O_CREAT, 0o600)
    live(root, lambda text: os.write(descriptor, f"{text}\n".encode()) and None)
    os.close(descriptor)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
