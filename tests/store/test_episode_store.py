"""Round trips are exact; what is damaged, foreign or newer is refused by name."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from robot_agent.core.errors import EpisodeFormatError, InputError, StorageError
from robot_agent.store.episode_format import INFO_NAME, RECORDING_NAME, info_to_json
from robot_agent.store.episode_store import EpisodeStore
from robot_agent.store.episode_writer import RecordingConfig
from tests.store.episodes import LOSSLESS, assert_same, make_episode

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def store(episodes_path: Path) -> EpisodeStore:
    return EpisodeStore(episodes_path, LOSSLESS)


def test_a_lossless_round_trip_is_exact(store: EpisodeStore):
    episode = make_episode(steps=5, size=(24, 32))
    store.append(episode)
    assert_same(store.load("ep-1"), episode)


def test_a_jpeg_round_trip_changes_only_pictures_and_little(episodes_path: Path):
    store = EpisodeStore(episodes_path, RecordingConfig(min_free_gb=0.0))
    ramp = np.linspace(0, 255, 48).astype(np.uint8)
    images = np.broadcast_to(ramp[None, None, :, None], (4, 40, 48, 3)).copy()
    episode = dataclasses.replace(make_episode(), images=images)
    store.append(episode)
    loaded = store.load("ep-1")
    assert np.abs(loaded.images.astype(int) - images).max() <= 6
    assert_same(dataclasses.replace(loaded, images=images), episode)
    assert store.describe("ep-1").jpeg_quality == 95


def test_what_episode_json_says(store: EpisodeStore):
    store.append(make_episode())
    info = store.describe("ep-1")
    recording = (store.folder / "ep-1" / RECORDING_NAME).read_bytes()
    assert (info.num_steps, info.image_size, info.image_codec) == (3, (8, 10), "png")
    assert info.recording_sha256 == hashlib.sha256(recording).hexdigest()
    assert info.controllers == ("operator", "policy", "operator")
    assert json.loads((store.folder / "ep-1" / INFO_NAME).read_text())["schema"] == 1


def test_a_flipped_bit_anywhere_is_noticed(store: EpisodeStore):
    store.append(make_episode(steps=1, size=(4, 4)))
    for name, stride in ((INFO_NAME, 3), (RECORDING_NAME, 13)):
        path = store.folder / "ep-1" / name
        whole = path.read_bytes()
        for index in range(0, len(whole), stride):
            damaged = bytearray(whole)
            damaged[index] ^= 1 << (index % 8)
            path.write_bytes(damaged)
            with pytest.raises(EpisodeFormatError):
                store.verify("ep-1")
        path.write_bytes(whole)
    store.verify("ep-1")


def test_a_recording_cut_anywhere_is_noticed(store: EpisodeStore):
    path = store.append(make_episode(steps=1, size=(4, 4))) / RECORDING_NAME
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(EpisodeFormatError, match="cut or damaged"):
            store.load("ep-1")


def test_a_newer_schema_is_refused_with_a_remedy(store: EpisodeStore):
    path = store.append(make_episode()) / INFO_NAME
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "schema": 2}))
    with pytest.raises(
        EpisodeFormatError, match=r"version 2, this program reads up to 1\. Update"
    ):
        store.load("ep-1")


def test_a_recording_that_disagrees_with_its_json_is_refused(store: EpisodeStore):
    folder = store.append(make_episode())
    info = store.describe("ep-1")
    wrong = dataclasses.replace(info, controllers=("policy",) * 3)
    (folder / INFO_NAME).write_bytes(info_to_json(wrong))
    with pytest.raises(EpisodeFormatError, match=r"must be 3 as episode\.json says"):
        store.load("ep-1")


def test_a_foreign_folder_is_not_listed_and_not_loaded(store: EpisodeStore):
    store.append(make_episode())
    (store.folder / "holiday").mkdir()
    (store.folder / "other").mkdir()
    (store.folder / "other" / INFO_NAME).write_text("{}")
    assert store.list() == ["ep-1"]
    with pytest.raises(EpisodeFormatError, match="no episode of this store"):
        store.load("holiday")
    with pytest.raises(EpisodeFormatError, match="no episode of ours"):
        store.load("other")


def test_a_renamed_episode_is_refused(store: EpisodeStore):
    store.append(make_episode()).rename(store.folder / "ep-2")
    with pytest.raises(EpisodeFormatError, match="Was the folder renamed"):
        store.load("ep-2")


@pytest.mark.parametrize("episode_id", ["../up", ".hidden", "a/b", "", "x" * 101, "a\n"])
def test_an_unsafe_id_is_refused(store: EpisodeStore, episode_id: str):
    with pytest.raises(InputError, match="letters, digits"):
        store.load(episode_id)


def test_too_little_space_is_refused_before_anything_is_written(episodes_path: Path):
    store = EpisodeStore(episodes_path, RecordingConfig(min_free_gb=900_000))
    with pytest.raises(StorageError, match=r"GB free, must be at least 900000\.000 GB"):
        store.append(make_episode())
    assert list(episodes_path.iterdir()) == []


def test_a_new_label_replaces_the_old_one(store: EpisodeStore):
    store.append(make_episode())
    store.relabel("ep-1", "failure", "judge v2")
    assert (store.load("ep-1").outcome, store.load("ep-1").judged_by) == ("failure", "judge v2")
    with pytest.raises(InputError, match="must be one of"):
        store.relabel("ep-1", "maybe", "x")


def test_quarantine_hides_an_episode_and_keeps_the_reason(store: EpisodeStore):
    store.append(make_episode())
    place = store.quarantine("ep-1", "the lens was dirty")
    assert store.list() == []
    assert (place.parent / f"{place.name}.txt").read_text() == "the lens was dirty\n"


def test_an_episode_of_schema_1_can_be_read(episodes_path: Path, record_golden: bool):
    """Golden file: made once by `append`, so that a change of the format cannot go unnoticed."""
    store = EpisodeStore(GOLDEN, LOSSLESS)
    if record_golden and not (GOLDEN / "schema-1").exists():
        store.append(make_episode("schema-1", 2, (4, 4)))
    assert_same(store.load("schema-1"), make_episode("schema-1", 2, (4, 4)))
