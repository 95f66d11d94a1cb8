"""Episodes survive the way to other tools' formats and back."""

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from rosbags.highlevel import AnyReader

from robot_agent.core.errors import EpisodeFormatError, InputError
from robot_agent.core.types import Episode
from robot_agent.core.wx250s import inverse, pose_at
from robot_agent.store.clip_exchange import export_clips, import_clips
from robot_agent.store.episode_store import EpisodeStore
from robot_agent.store.exchange import ExportOptions, ImportOptions, binarized, reached
from robot_agent.store.lerobot_export import export_lerobot
from robot_agent.store.lerobot_import import import_lerobot
from robot_agent.store.rlds import export_rlds, import_rlds
from robot_agent.store.rosbag import export_bags, import_bags
from robot_agent.store.tfrecord import read_records, write_records

BRIDGE = Path(__file__).parents[3] / "shared/data/rlds_bridge/1.0.0"
EXACT = ("actions", "proposed", "joints_rad", "gripper", "stamps_ns")
TEXTS = ("episode_id", "instruction", "outcome", "judged_by", "scene", "controllers")


def made(name: str, steps: int = 6, seed: int = 0, size: int = 32) -> Episode:
    """An episode whose arm moves within reach, with numbers that float32 cannot hold."""
    rng = np.random.default_rng(seed)
    path = np.array([0.25, 0.0, 0.15]) + np.cumsum(rng.normal(0, 0.005, (steps + 1, 3)), axis=0)
    joints, seed_rad = [], np.zeros(6)
    for point in path:
        solved = inverse(pose_at(point), seed_rad)
        assert solved is not None
        joints.append(solved)
        seed_rad = solved
    smooth = np.linspace(0, 200, size)[None, :, None] + np.zeros((size, 1, 3))
    images = np.stack([smooth + 5 * index for index in range(steps + 1)]).astype(np.uint8)
    return Episode(
        episode_id=name,
        instruction="open the drawer",
        images=images,
        actions=np.c_[rng.normal(0, 0.01, (steps, 6)), rng.uniform(0, 1, steps)],
        proposed=rng.normal(0, 0.01, (steps, 7)),
        joints_rad=np.stack(joints),
        gripper=rng.uniform(0, 1, steps + 1),
        weights_versions=tuple(f"v{index % 2}" for index in range(steps)),
        controllers=("policy",) * (steps - 1) + ("operator",),
        outcome="success",
        judged_by="sim",
        scene="kitchen",
        stamps_ns=np.cumsum(rng.integers(190_000_000, 210_000_000, steps + 1)),
    )


EPISODES = (made("first", 6, 1), made("second", 9, 2))


def assert_equal(got: Episode, wanted: Episode) -> None:
    for name in EXACT:
        assert np.array_equal(getattr(got, name), getattr(wanted, name)), name
    for name in TEXTS:
        assert getattr(got, name) == getattr(wanted, name), name
    assert got.weights_versions == wanted.weights_versions
    assert got.images.shape == wanted.images.shape


@pytest.mark.parametrize(
    ("export", "read", "place", "grey"),
    [
        (export_lerobot, import_lerobot, "", 4.0),
        (export_rlds, import_rlds, "bridge_dataset/1.0.0", 2.0),
        (export_clips, import_clips, "", 4.0),
    ],
)
def test_a_round_trip_is_exact_but_for_the_pictures(tmp_path, export, read, place, grey):
    done = export(EPISODES, tmp_path / "out", ExportOptions())
    assert (done.episodes, done.steps) == (2, 15)
    assert done.lost  # and says so
    back = list(read(tmp_path / "out" / place, ImportOptions()))
    assert len(back) == 2
    for got, wanted in zip(back, EPISODES, strict=True):
        assert_equal(got, wanted)
        assert np.abs(got.images.astype(int) - wanted.images).mean() < grey


def test_rlds_with_png_and_bags_are_exact_to_the_pixel(tmp_path):
    export_rlds(EPISODES, tmp_path / "rlds", ExportOptions(codec="png"))
    back = list(import_rlds(tmp_path / "rlds/bridge_dataset/1.0.0", ImportOptions()))
    assert all(np.array_equal(a.images, b.images) for a, b in zip(back, EPISODES, strict=True))
    store = EpisodeStore(tmp_path / "store")
    for episode in EPISODES:
        store.append(episode)
    assert export_bags(store, store.list(), tmp_path / "bags").lost == ()
    for got in import_bags(tmp_path / "bags", ImportOptions()):
        assert_equal(got, store.load(got.episode_id))
        assert np.array_equal(got.images, store.load(got.episode_id).images)


def test_rosbags_reads_our_bags(tmp_path):
    store = EpisodeStore(tmp_path / "store")
    store.append(EPISODES[0])
    export_bags(store, store.list(), tmp_path / "bags")
    described = yaml.safe_load((tmp_path / "bags/first/metadata.yaml").read_text())
    with AnyReader([tmp_path / "bags/first"]) as reader:
        kinds = {connection.topic: connection.msgtype for connection in reader.connections}
        assert kinds["/joint_states"] == "sensor_msgs/msg/JointState"
        messages = list(reader.messages())
        assert len(messages) == described["rosbag2_bagfile_information"]["message_count"]
        sent = [
            reader.deserialize(raw, connection.msgtype).data
            for connection, _, raw in messages
            if connection.topic == "/action/sent"
        ]
    assert np.array_equal(np.stack(sent), EPISODES[0].actions)


def test_without_our_own_file_an_import_takes_what_the_data_set_says(tmp_path):
    export_lerobot(EPISODES, tmp_path, ExportOptions())
    for path in (tmp_path / "robot_agent").iterdir():
        path.unlink()
    (tmp_path / "robot_agent").rmdir()
    first, _ = import_lerobot(tmp_path, ImportOptions())
    assert np.array_equal(first.actions, EPISODES[0].actions[:-1].astype(np.float32))
    assert np.abs(first.joints_rad - EPISODES[0].joints_rad[:-1]).max() < 0.02  # solved again
    assert first.controllers == ("operator",) * 5


def test_actions_that_another_tool_changed_win_over_our_own_file(tmp_path):
    export_lerobot(EPISODES, tmp_path, ExportOptions())
    path = tmp_path / "data/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    rows[0]["action"][0] = 0.5
    pq.write_table(type(table).from_pylist(rows, schema=table.schema), path)
    first, second = import_lerobot(tmp_path, ImportOptions())
    assert first.actions[0, 0] == 0.5
    assert_equal(second, EPISODES[1])


def test_real_bridge_episodes_are_taken_over_with_bridges_conventions():
    assert BRIDGE.is_dir(), f"{BRIDGE} is missing: the shared data must lie beside the project"
    plain = list(import_rlds(BRIDGE, ImportOptions()))
    assert len(plain) == 25
    assert plain[0].instruction == "put cup from counter or drying rack into sink"
    assert plain[0].images.shape == (10, 64, 64, 3)
    assert np.abs(plain[0].actions[0, :6]).max() < 1e-6  # the logger's first step
    options = ImportOptions(drop_first=True, binarize_gripper=True, relabel=True)
    done = list(import_rlds(BRIDGE, options))
    for before, after in zip(plain, done, strict=True):
        assert after.num_steps == before.num_steps - 1
        assert set(np.unique(after.actions[:, 6])) <= {0.0, 1.0}
        # What was reached is not what was commanded, and close to it.
        apart = np.abs(after.actions[:, :3] - before.actions[1:, :3]).max()
        assert 0 < apart < 0.06


def test_the_conventions_in_numbers():
    assert binarized(np.array([0.5, 1.0, 0.5, 0.0, 0.5])).tolist() == [1.0, 1.0, 0.0, 0.0, 1.0]
    states = np.zeros((2, 7))
    states[:, 5] = (3.1, -3.1)  # over the wrap: a small turn, not one of -6.2
    assert reached(states)[0, 5] == pytest.approx(2 * np.pi - 6.2)


def test_wrong_input_is_said_in_words(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/a").touch()
    with pytest.raises(InputError, match="is not empty"):
        export_lerobot(EPISODES, tmp_path / "full", ExportOptions())
    with pytest.raises(InputError, match=r"pictures of \(64, 64\), those before are \(32, 32\)"):
        export_rlds((EPISODES[0], made("large", size=64)), tmp_path / "mixed", ExportOptions())
    with pytest.raises(InputError, match="even sides"):
        export_lerobot((made("odd", size=33),), tmp_path / "odd", ExportOptions())
    export_lerobot(EPISODES, tmp_path / "l", ExportOptions())
    info = json.loads((tmp_path / "l/meta/info.json").read_text())
    (tmp_path / "l/meta/info.json").write_text(json.dumps(info | {"fps": 30}))
    with pytest.raises(EpisodeFormatError, match="30 steps per second, must be 5"):
        list(import_lerobot(tmp_path / "l", ImportOptions()))
    (tmp_path / "l/meta/info.json").write_text(json.dumps(info | {"codebase_version": "v2.1"}))
    with pytest.raises(EpisodeFormatError, match=r"version v2\.1.*must be v3"):
        list(import_lerobot(tmp_path / "l", ImportOptions()))
    with pytest.raises(EpisodeFormatError, match="no camera 'wrist'"):
        list(import_rlds(BRIDGE, ImportOptions(camera="wrist")))
    with pytest.raises(EpisodeFormatError, match="world finetune --clips"):
        list(import_clips(BRIDGE.parents[1] / "bridge", ImportOptions()))


@pytest.mark.parametrize("cut", [1, 9, 100])
def test_a_cut_or_damaged_shard_is_refused(tmp_path, cut):
    path = tmp_path / "x.tfrecord"
    write_records(path, [{"a": np.arange(50.0), "b": [b"text"]}, {"a": np.arange(3)}])
    content = path.read_bytes()
    path.write_bytes(content[:-cut])
    with pytest.raises(EpisodeFormatError, match="cannot be read"):
        list(read_records(path))
    damaged = bytearray(content)
    damaged[40] ^= 1
    path.write_bytes(bytes(damaged))
    with pytest.raises(EpisodeFormatError, match="record 0"):
        list(read_records(path))


def _is_there(name: str) -> bool:
    found = importlib.util.find_spec(name) is not None
    if not found:
        sys.stderr.write(f"\nWARNING: {name} is not installed: its own reader was not asked.\n")
    return found


def test_lerobots_own_reader_reads_ours(tmp_path):
    if not _is_there("lerobot"):
        pytest.skip("lerobot is not installed; see CONTRIBUTING.md for its environment")
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    export_lerobot(EPISODES, tmp_path / "out", ExportOptions())
    data = LeRobotDataset("local/ours", root=tmp_path / "out")
    rows = [data[index] for index in range(len(data))]
    got = np.stack([row["action"].numpy() for row in rows])
    wanted = np.concatenate([episode.actions for episode in EPISODES]).astype(np.float32)
    assert np.array_equal(got, wanted)
    assert {row["task"] for row in rows} == {"open the drawer"}


def test_tensorflow_datasets_own_reader_reads_ours(tmp_path):
    if not _is_there("tensorflow_datasets"):
        pytest.skip("tensorflow_datasets is not installed; see CONTRIBUTING.md")
    import tensorflow_datasets as tfds

    place = export_rlds(EPISODES, tmp_path / "out", ExportOptions(codec="png")).folder
    found = list(tfds.builder_from_directory(str(place)).as_dataset(split="train"))
    for episode, wanted in zip(found, EPISODES, strict=True):
        steps = list(episode["steps"].as_numpy_iterator())
        assert len(steps) == wanted.num_steps + 1
        got = np.stack([step["action"] for step in steps[:-1]])
        assert np.array_equal(got, wanted.actions.astype(np.float32))
        images = np.stack([step["observation"]["image_0"] for step in steps])
        assert np.array_equal(images, wanted.images)
        assert steps[-1]["is_terminal"]


def test_ids_that_are_taken_get_a_number():
    from robot_agent.store.exchange import renamed

    taken = {"first"}
    names = [renamed(replace(EPISODES[0]), taken).episode_id for _ in range(2)]
    assert names == ["first-2", "first-3"]
