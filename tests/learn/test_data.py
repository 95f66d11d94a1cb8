"""Windows pair action t with frames t and t+1; recorded episodes are padded, not read past."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_agent.core.errors import InputError
from robot_agent.learn.data import (
    draw_windows,
    episodes_from_store,
    join,
    load_demonstrations,
    subset,
)
from robot_agent.models.scaling import scale_actions
from robot_agent.models.tiny_team import TWIN_INSTRUCTIONS
from robot_agent.sim.collect import Plan, collect
from robot_agent.sim.recordings import save_recording
from robot_agent.sim.tasks import tasks_of
from tests.learn.episodes import counting_episodes, real_episode


@given(st.integers(0, 10_000), st.integers(1, 6))
@settings(max_examples=15, deadline=None)
def test_action_t_stands_between_frames_t_and_t_plus_one(seed, unroll):
    window = draw_windows(counting_episodes(), 6, unroll, np.random.default_rng(seed))
    shown = (window.images_BTCHW[:, :, :2, 0, 0] * 255).round()
    assert window.actions_BTA.shape == (6, unroll + 1, 7)
    for b in range(6):
        episode, start = shown[b, 0].tolist()
        for t in range(unroll):
            assert shown[b, t].tolist() == [episode, start + t]
            assert window.actions_BTA[b, t + 1, :2].tolist() == [episode, start + t]
            assert window.states_BTP[b, t, :2].tolist() == [episode, start + t]


def test_the_action_before_the_window_is_the_one_that_led_to_its_first_frame():
    window = draw_windows(counting_episodes(), 200, 2, np.random.default_rng(0))
    shown = (window.images_BTCHW[:, 0, 1, 0, 0] * 255).round()
    before = window.actions_BTA[:, 0]
    assert (before[shown == 0] == 0).all(), "nothing came before the first frame"
    assert (before[shown > 0][:, 1] == shown[shown > 0] - 1).all()
    assert (shown == 0).any()
    assert (shown > 0).any()


def test_the_first_picture_is_of_the_same_episode_and_not_later():
    window = draw_windows(counting_episodes(), 200, 2, np.random.default_rng(1))
    first = (window.first_BCHW[:, :2, 0, 0] * 255).round()
    start = (window.images_BTCHW[:, 0, :2, 0, 0] * 255).round()
    assert (first[:, 0] == start[:, 0]).all()
    assert (first[:, 1] <= start[:, 1]).all()
    assert (first[:, 1] < start[:, 1]).any()


def test_padding_is_never_drawn():
    episodes = counting_episodes(3, 8, lengths=[8, 3, 5])
    window = draw_windows(episodes, 300, 4, np.random.default_rng(2))
    last = (window.images_BTCHW[:, -1, :2, 0, 0] * 255).round()
    assert set(last[:, 0].tolist()) == {1.0, 3.0}, "the second episode is shorter than the window"
    assert last[last[:, 0] == 3][:, 1].max() == 5
    assert last[last[:, 0] == 1][:, 1].max() == 8


def test_episodes_of_any_length_and_size_are_padded_to_the_longest():
    recorded = [real_episode("a", 4, (48, 64)), real_episode("b", 2, (480, 640), seed=1)]
    found = episodes_from_store(recorded)
    assert found.images_NTHWC.shape == (2, 5, 64, 64, 3)
    assert found.lengths_N.tolist() == [4, 2]
    assert torch.equal(found.actions_NTA[1, :2], scale_actions(recorded[1].actions))
    assert (found.images_NTHWC[1, 3:] == 0).all()


def test_no_episodes_is_an_error_with_a_remedy():
    with pytest.raises(InputError) as refused:
        episodes_from_store([])
    assert str(refused.value) == (
        "no episodes: at least 1 is needed. Record some: robot-agent capture"
    )


def test_a_subset_keeps_rows_together():
    some = subset(counting_episodes(), [2, 0])
    assert some.images_NTHWC[:, 0, 0, 0, 0].tolist() == [3, 1]
    assert some.actions_NTA[:, 0, 0].tolist() == [3, 1]
    assert some.openings_NT is None


def test_batches_are_joined_in_order():
    rng = np.random.default_rng(0)
    one, two = (draw_windows(counting_episodes(), size, 2, rng) for size in (2, 3))
    joined = join([one, two])
    assert torch.equal(joined.actions_BTA[2:], two.actions_BTA)
    assert len(joined.first_BCHW) == 5


def test_demonstrations_of_two_cells_share_one_list_of_instructions(tmp_path):
    paths = [tmp_path / "table.safetensors", tmp_path / "sink.safetensors"]
    short = collect(Plan(kind="demonstration", num=2, seed=1, steps=3), workers=1)
    longer = collect(Plan(kind="demonstration", num=2, seed=1, steps=5, cell="sink"), workers=1)
    for path, recording in zip(paths, (short, longer), strict=True):
        save_recording(path, recording)
    episodes, instructions = load_demonstrations(paths)
    assert instructions == TWIN_INSTRUCTIONS
    assert [instructions[int(i)] for i in episodes.tasks_N] == [
        tasks_of(recording.cell)[int(i)].instruction
        for recording in (short, longer)
        for i in recording.tasks
    ]
    assert episodes.images_NTHWC.shape == (4, 6, 64, 64, 3)
    assert episodes.lengths_N.tolist() == [3, 3, 5, 5]
    assert torch.equal(episodes.images_NTHWC[0, 4], episodes.images_NTHWC[0, 3])
    assert np.array_equal(episodes.images_NTHWC[3].numpy(), longer.images[1])
