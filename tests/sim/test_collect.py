"""Recordings: action t leads from image t to image t+1, and the same seed records the same."""

import numpy as np
import pytest

from robot_agent.sim.collect import collect_demonstrations, collect_play
from robot_agent.sim.recordings import save_recording


@pytest.fixture(scope="module")
def play():
    return collect_play(2, seed=3, workers=1, steps=6)


def test_a_recording_has_one_more_picture_than_actions(play):
    assert play.images.shape == (2, 7, 64, 64, 3)
    assert play.states.shape == (2, 7, 7)
    assert play.actions.shape == play.labels.shape == (2, 6, 7)
    assert play.openings.shape == (2, 7)


def test_a_sent_action_leads_from_its_state_to_the_next(play):
    moved = np.diff(play.states[..., :3], axis=1)
    sent = play.actions[..., :3]
    now = np.sum(moved * sent)
    shifted = np.sum(moved[:, 1:] * sent[:, :-1])
    assert now > 0
    assert now / np.linalg.norm(moved) > 0.8 * np.linalg.norm(sent), "motion is not the action's"
    assert now > shifted


def test_the_same_seed_records_the_same(play, tmp_path):
    again = collect_play(2, seed=3, workers=1, steps=6)
    for name, values in vars(play).items():
        assert np.array_equal(values, getattr(again, name)), name
    save_recording(tmp_path / "new" / "play.safetensors", play)
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["play.safetensors"]


def test_demonstrations_take_turns_between_the_tasks():
    found = collect_demonstrations(2, seed=0, workers=1, steps=2)
    assert sorted(found.tasks.tolist()) == [0, 1]
    assert (found.valid == 2).all()
