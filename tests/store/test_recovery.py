"""After a crash whatever can be saved is saved, and the report says what became of it."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from robot_agent.store.durable import try_folder_lock
from robot_agent.store.episode_format import RECORDING_NAME, EpisodeStart
from robot_agent.store.episode_store import EpisodeStore
from robot_agent.store.recovery import recover
from tests.store.episodes import LOSSLESS, make_episode


@pytest.fixture
def store(episodes_path: Path) -> EpisodeStore:
    store = EpisodeStore(episodes_path, LOSSLESS)
    store.append(make_episode("whole", 4))
    return store


def leave_open(store: EpisodeStore, content: bytes) -> Path:
    """Leave what a killed writer leaves."""
    folder = store.folder / ".tmp-cut"
    folder.mkdir()
    (folder / RECORDING_NAME).write_bytes(content)
    return folder


def test_a_whole_store_needs_nothing(store: EpisodeStore):
    assert str(recover(store, check_all=True)) == "Every episode is whole."


def test_a_recording_cut_anywhere_gives_its_complete_steps(store: EpisodeStore):
    content = (store.folder / "whole" / RECORDING_NAME).read_bytes()
    whole = make_episode("whole", 4)
    salvaged_steps = set()
    for length in range(0, len(content), 173):
        leave_open(store, content[:length])
        (entry,) = recover(store).entries
        if entry.action == "removed":
            continue
        assert entry.action == "salvaged", entry
        episode = store.load("whole-salvaged")
        steps = episode.num_steps
        salvaged_steps.add(steps)
        assert f"{steps} steps of" in entry.detail
        assert (episode.outcome, episode.judged_by) == ("abort", "recovery")
        assert np.array_equal(episode.images, whole.images[: steps + 1])
        assert np.array_equal(episode.actions, whole.actions[:steps])
        assert episode.weights_versions == whole.weights_versions[:steps]
        shutil.rmtree(store.folder / "whole-salvaged")
    assert salvaged_steps == {1, 2, 3, 4}
    assert store.list() == ["whole"]


def test_an_open_episode_of_a_living_writer_is_left_alone(store: EpisodeStore):
    with store.open_episode(EpisodeStart(instruction="x", episode_id="open")):
        (entry,) = recover(store).entries
        assert (entry.action, entry.folder) == ("in use", ".tmp-open")


def test_an_episode_that_lacked_only_its_name_is_committed(store: EpisodeStore):
    (store.folder / "whole").rename(store.folder / ".tmp-whole")
    (entry,) = recover(store).entries
    assert entry.action == "committed"
    assert store.load("whole").outcome == "success"


def test_damaged_episodes_go_to_quarantine_and_foreign_folders_stay(store: EpisodeStore):
    (store.folder / "holiday").mkdir()
    store.append(make_episode("rotten", 1))
    path = store.folder / "rotten" / RECORDING_NAME
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    assert [e.action for e in recover(store).entries] == ["foreign"]
    assert [e.action for e in recover(store, check_all=True).entries] == ["foreign", "quarantined"]
    assert store.list() == ["whole"]
    assert (store.folder / "holiday").exists()


def test_a_newer_episode_is_named_and_left_alone(store: EpisodeStore):
    path = store.folder / "whole" / "episode.json"
    path.write_bytes(path.read_bytes().replace(b'"schema":1', b'"schema":9'))
    (entry,) = recover(store, check_all=True).entries
    assert entry.action == "foreign"
    assert "version 9" in entry.detail
    assert (store.folder / "whole").exists()


def test_a_folder_lock_is_held_by_one(tmp_path: Path):
    first = try_folder_lock(tmp_path)
    assert first is not None
    assert try_folder_lock(tmp_path) is None
    os.close(first)
