"""A captured view appears whole, comes back as it was, and damage is said."""

import json

import numpy as np
import pytest

from robot_agent.core.errors import EpisodeFormatError, InputError
from robot_agent.store.start_frames import StartFrame, keep_start_frame, load_start_frames


def _frame(rng, **changes):
    facts = {
        "scene": "kitchen",
        "instruction": "open the drawer",
        "image_hwc": rng.integers(0, 256, (12, 16, 3), np.uint8),
        "joints_rad": rng.normal(size=6),
        "gripper": 0.25,
    }
    return StartFrame(**{**facts, **changes})


def test_a_start_frame_comes_back_bit_for_bit_and_only_in_its_scene(tmp_path, rng):
    frames = [_frame(rng), _frame(rng, instruction="close the drawer")]
    for index, frame in enumerate(frames):
        keep_start_frame(tmp_path, f"2026-{index}", frame)
    keep_start_frame(tmp_path, "2026-0", _frame(rng, scene="study"))
    loaded = load_start_frames(tmp_path, "kitchen")
    assert [frame.instruction for frame in loaded] == ["open the drawer", "close the drawer"]
    for before, after in zip(frames, loaded, strict=True):
        assert np.array_equal(before.image_hwc, after.image_hwc)
        assert np.array_equal(before.joints_rad, after.joints_rad)
        assert before.gripper == after.gripper
    assert load_start_frames(tmp_path, "nursery") == []


def test_what_a_crash_left_is_no_start_frame(tmp_path, rng):
    path = keep_start_frame(tmp_path, "2026-0", _frame(rng))
    path.rename(path.with_name(".tmp-2026-0"))
    assert load_start_frames(tmp_path, "kitchen") == []


def test_a_scene_that_leaves_the_folder_is_refused(tmp_path, rng):
    with pytest.raises(InputError, match=r"\.\./kitchen"):
        keep_start_frame(tmp_path, "2026-0", _frame(rng, scene="../kitchen"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": 2}, "schema 2"),
        ({"joints_rad": [0.0] * 7}, r"\(7,\) joints"),
        ({"gripper": None}, "is no start frame"),
    ],
)
def test_a_damaged_start_frame_is_said_with_the_remedy(tmp_path, rng, change, words):
    path = keep_start_frame(tmp_path, "2026-0", _frame(rng)) / "frame.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(EpisodeFormatError, match=rf"{words}.*capture the scene anew"):
        load_start_frames(tmp_path, "kitchen")


def test_a_cut_picture_is_said(tmp_path, rng):
    path = keep_start_frame(tmp_path, "2026-0", _frame(rng)) / "frame.png"
    path.write_bytes(path.read_bytes()[:8])
    with pytest.raises(EpisodeFormatError, match="neither JPEG nor PNG"):
        load_start_frames(tmp_path, "kitchen")
