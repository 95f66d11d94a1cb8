"""Shards of simulated episodes come back exactly; damage is named."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from robot_agent.core.errors import EpisodeFormatError, InputError
from robot_agent.store.shards import Shard, load_shard, save_shard


def make_shard(count: int = 3, steps: int = 5) -> Shard:
    rng = np.random.default_rng(0)
    return Shard(
        frames=rng.integers(0, 256, (count, steps + 1, 8, 8, 3), dtype=np.uint8),
        actions=rng.normal(size=(count, steps, 7)),
        proprio=rng.normal(size=(count, steps + 1, 7)),
        labels=np.zeros((count, steps + 1)),
        lengths=np.arange(count, dtype=np.int64) + steps - count + 1,
        instructions=tuple(f"task {i}" for i in range(count)),
        header={"seed": 4, "world": "tiny"},
    )


def test_a_round_trip_is_exact(tmp_path: Path):
    shard = make_shard()
    save_shard(tmp_path / "s.safetensors", shard)
    loaded = load_shard(tmp_path / "s.safetensors")
    for name in ("frames", "actions", "proprio", "labels", "lengths"):
        assert getattr(loaded, name).tobytes() == getattr(shard, name).tobytes()
    assert (loaded.instructions, loaded.header) == (shard.instructions, shard.header)


def test_trajectories_leave_the_padding_out():
    trajectories = make_shard().trajectories()
    assert [t.num_steps for t in trajectories] == [3, 4, 5]
    assert [t.instruction for t in trajectories] == ["task 0", "task 1", "task 2"]


def test_a_cut_or_foreign_file_is_refused(tmp_path: Path):
    path = tmp_path / "s.safetensors"
    save_shard(path, make_shard())
    whole = path.read_bytes()
    for length in range(0, len(whole), 331):
        path.write_bytes(whole[:length])
        with pytest.raises(EpisodeFormatError, match="no readable shard"):
            load_shard(path)
    with pytest.raises(EpisodeFormatError, match="no readable shard"):
        load_shard(tmp_path / "missing.safetensors")


def test_a_newer_schema_is_refused(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("robot_agent.store.shards.SCHEMA", 2)
    save_shard(tmp_path / "s.safetensors", make_shard())
    monkeypatch.undo()
    with pytest.raises(EpisodeFormatError, match="schema 2, this program reads 1"):
        load_shard(tmp_path / "s.safetensors")


@pytest.mark.parametrize(
    "change",
    [
        {"actions": np.zeros((3, 5, 6))},
        {"lengths": np.array([1, 2, 6])},
        {"lengths": np.array([0, 2, 5])},
        {"instructions": ("one",)},
        {"frames": np.zeros((3, 6, 8, 8, 3), np.float32)},
    ],
)
def test_parts_that_do_not_fit_are_refused(change: dict):
    with pytest.raises(InputError, match="must be"):
        dataclasses.replace(make_shard(), **change)
