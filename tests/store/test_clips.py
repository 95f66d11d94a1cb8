"""The clip layout: real clips read, damage named, and the scaling inverted."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from robot_agent.core.errors import EpisodeFormatError, InputError
from robot_agent.store.clips import (
    Clip,
    actions_from_columns,
    columns_from_actions,
    list_clips,
    load_clip,
    save_clip,
    split_by_time,
)

BRIDGE = Path(__file__).resolve().parents[3] / "shared" / "data" / "bridge"


@pytest.fixture(scope="module")
def bridge() -> Path:
    if not BRIDGE.is_dir():
        pytest.fail(f"{BRIDGE} is missing: this test needs the Bridge clips beside the checkout")
    return BRIDGE


def moving_clip(frames: int = 6) -> Clip:
    rng = np.random.default_rng(0)
    actions = rng.uniform(-0.04, 0.04, (frames, 7))
    actions[:, 6] = np.arange(frames) % 2
    column = np.linspace(0, 255, 32).astype(np.uint8)
    images = np.broadcast_to(column[None, :, None, None], (frames, 32, 32, 3)).copy()
    return Clip("000000042", images, actions)


def test_real_clips_have_one_row_of_actions_per_frame(bridge: Path):
    names = list_clips(bridge)
    assert len(names) >= 7
    clip = load_clip(bridge, names[0])
    assert clip.frames.shape == (40, 256, 256, 3)
    assert clip.actions.shape == (40, 7)
    assert np.abs(clip.actions[:, :3]).max() <= 0.05
    assert np.abs(clip.actions[:, 3:6]).max() <= 0.25
    assert set(np.unique(clip.actions[:, 6])) <= {0.0, 1.0}
    assert clip.frames.std() > 10
    trajectory = clip.trajectory((64, 64), "move the orange pot")
    assert trajectory.frames.shape == (40, 64, 64, 3)
    assert trajectory.num_steps == 39


def test_every_real_clip_can_be_read(bridge: Path):
    for name in list_clips(bridge)[1:3]:
        clip = load_clip(bridge, name)
        assert len(clip.frames) == len(clip.actions)


def test_the_scaling_is_that_of_the_published_world_model():
    columns = np.array([[1.75, -0.35, 0, 0.56, 0, -1.39, -1, 0, 0, 0]], np.float32)
    action = actions_from_columns(columns, "x")[0]
    assert np.allclose(action, [0.05, -0.01, 0, 0.1, 0, -1.39 / 5.6, 1.0], atol=1e-6)


def test_actions_come_back_exactly_but_for_float32_and_clipping():
    actions = moving_clip().actions
    assert np.allclose(
        actions_from_columns(columns_from_actions(actions), "x"), actions, atol=1e-7
    )
    far = columns_from_actions(np.full((1, 7), 0.9))
    assert np.allclose(far[0, :6], [1.74] * 3 + [1.39] * 3)


def test_a_clip_that_was_written_can_be_read(tmp_path: Path):
    clip = moving_clip()
    save_clip(tmp_path, clip)
    loaded = load_clip(tmp_path, clip.name)
    assert np.allclose(loaded.actions, clip.actions, atol=1e-7)
    assert np.abs(loaded.frames.astype(int) - clip.frames).mean() < 6
    assert list_clips(tmp_path) == [clip.name]


def test_lengths_that_differ_are_refused(tmp_path: Path):
    clip = moving_clip()
    save_clip(tmp_path, clip)
    np.savez(tmp_path / f"{clip.name}.npz", columns_from_actions(clip.actions[:-1]))
    with pytest.raises(EpisodeFormatError, match="6 frames and 5 rows of actions, must be equal"):
        load_clip(tmp_path, clip.name)


@pytest.mark.parametrize("suffix", ["npz", "mp4"])
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, suffix: str):
    clip = moving_clip()
    save_clip(tmp_path, clip)
    path = tmp_path / f"{clip.name}.{suffix}"
    whole = path.read_bytes()
    for length in range(0, len(whole) - 1, max(1, len(whole) // 12)):
        path.write_bytes(whole[:length])
        with pytest.raises(EpisodeFormatError, match="leave it out"):
            load_clip(tmp_path, clip.name)
    path.unlink()
    with pytest.raises(EpisodeFormatError):
        load_clip(tmp_path, clip.name)


def test_a_real_video_that_was_cut_is_refused(bridge: Path, tmp_path: Path):
    name = list_clips(bridge)[0]
    video = (bridge / f"{name}.mp4").read_bytes()
    (tmp_path / f"{name}.npz").write_bytes((bridge / f"{name}.npz").read_bytes())
    for share in (0.3, 0.9, 0.99):
        (tmp_path / f"{name}.mp4").write_bytes(video[: int(share * len(video))])
        with pytest.raises(EpisodeFormatError):
            load_clip(tmp_path, name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c[:, :7], r"\(6, 7\), must be \(T, 10\)"),
        (lambda c: c * 35, "column . reaches .*, must be finite and at most 1."),
        (lambda c: c + np.eye(6, 10, 9) * 0.5, "column 9 reaches"),
        (lambda c: c * np.nan, "must be finite"),
        (lambda c: c.ravel(), r"\(60,\), must be \(T, 10\)"),
    ],
)
def test_columns_of_another_kind_are_refused(change, message: str):
    columns = columns_from_actions(moving_clip().actions)
    with pytest.raises(EpisodeFormatError, match=message):
        actions_from_columns(change(columns), "x")


def test_a_file_with_python_objects_is_refused(tmp_path: Path):
    clip = moving_clip()
    save_clip(tmp_path, clip)
    np.savez(tmp_path / f"{clip.name}.npz", np.array([{"a": 1}], object))
    with pytest.raises(EpisodeFormatError, match="no readable action file"):
        load_clip(tmp_path, clip.name)


def test_the_split_is_by_time_and_leaves_no_side_empty():
    names = [f"{i:09d}" for i in range(10)]
    train, test = split_by_time(names[::-1])
    assert (train, test) == (names[:7], names[7:])
    assert split_by_time(names[:2]) == (names[:1], names[1:2])


def test_an_empty_folder_and_wrong_actions_are_refused(tmp_path: Path):
    with pytest.raises(InputError, match="holds no clip"):
        list_clips(tmp_path)
    clip = dataclasses.replace(moving_clip(), actions=np.zeros((6, 3)))
    with pytest.raises(InputError, match="clip actions"):
        save_clip(tmp_path, clip)
