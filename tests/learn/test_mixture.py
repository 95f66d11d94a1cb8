"""Sources are mixed in their shares, and what is held out never enters a batch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from robot_agent.core.errors import ConfigError, EpisodeFormatError, InputError
from robot_agent.learn.data import chain
from robot_agent.learn.mixture import Mixture, counts_of, shares_of, with_replay
from robot_agent.learn.sources import parse_source, read_mixture
from robot_agent.learn.split import SplitConfig, split
from robot_agent.sim.collect import Plan, collect
from robot_agent.sim.recordings import save_recording
from robot_agent.store.clips import save_clip
from robot_agent.store.episode_store import EpisodeStore
from tests.learn.episodes import counting_episodes, real_episode
from tests.learn.test_clips import moving

WEIGHTS = st.lists(st.floats(0.01, 100.0), min_size=1, max_size=5)


@given(WEIGHTS, st.integers(1, 40), st.integers(0, 1000))
def test_the_rows_of_a_batch_add_up_and_are_never_off_by_a_whole_one(weights, batch, seed):
    shares = shares_of(weights)
    counts = counts_of(shares, batch, np.random.default_rng(seed))
    assert sum(counts) == batch
    assert all(abs(count - share * batch) < 1.0 + 1e-6
               for count, share in zip(counts, shares, strict=True))  # fmt: skip


def test_a_small_share_gets_its_rows_in_the_long_run():
    rng = np.random.default_rng(0)
    counts = np.sum([counts_of((0.97, 0.03), 10, rng) for _ in range(2000)], axis=0)
    assert counts[1] / counts.sum() == pytest.approx(0.03, abs=0.005)


@pytest.mark.parametrize("weights", [[], [1.0, 0.0], [1.0, -1.0], [float("nan")]])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(InputError, match="each must be over 0"):
        shares_of(weights)


def test_a_batch_holds_each_source_in_its_share():
    one, two = counting_episodes(1), counting_episodes(1)
    two.actions_NTA[..., 2] = 7.0
    drawn = Mixture((one, two), (0.75, 0.25)).draw(8, 2, np.random.default_rng(0))
    assert (drawn.actions_BTA[:, 1, 2] == 7.0).sum() == 2
    assert len(drawn.images_BTCHW) == 8


def test_replay_is_a_second_source_and_none_is_none():
    scene, old = counting_episodes(1), counting_episodes(2)
    assert with_replay(scene, None, 0.3).parts == (scene,)
    assert with_replay(scene, old, 0.0).parts == (scene,)
    assert with_replay(scene, old, 0.3).shares == (0.7, 0.3)
    assert with_replay(scene, old, 1.0).parts == (old,)


def test_by_episode_the_last_ones_are_held_out():
    found = split(counting_episodes(5), SplitConfig(episodes=0.4))
    assert found.seen.actions_NTA[:, 0, 0].tolist() == [1, 2, 3]
    assert found.others.actions_NTA[:, 0, 0].tolist() == [4, 5]
    assert found.later is None


def test_by_time_no_picture_to_predict_is_trained_on():
    episodes = counting_episodes(2, steps=8, lengths=[8, 5])
    found = split(episodes, SplitConfig(time=0.25))
    assert found.seen.lengths_N.tolist() == [5, 3]
    assert found.later.lengths_N.tolist() == [3, 2]
    for row, cut in enumerate((5, 3)):
        steps = range(3)
        assert [int(found.later.images_NTHWC[row, t, 0, 0, 1]) for t in steps] == [
            cut + t for t in steps
        ]
        assert [float(found.later.actions_NTA[row, t, 1]) for t in range(2)] == [cut, cut + 1]
    seen = Mixture((found.seen,)).draw(200, 1, np.random.default_rng(0))
    marks = (seen.images_BTCHW[:, :, :2, 0, 0] * 255).round()
    assert marks[marks[:, 0, 0] == 1][:, 1, 1].max() == 5
    assert marks[marks[:, 0, 0] == 2][:, 1, 1].max() == 3


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_episodes_to_hold_one_out_are_named(count):
    with pytest.raises(InputError, match=rf"play: {count} episodes, 10% of them held out are 0"):
        split(counting_episodes(count), SplitConfig(episodes=0.1), "play")


def test_episodes_of_any_length_are_chained():
    joined = chain([counting_episodes(2, steps=3), counting_episodes(1, steps=6)])
    assert joined.lengths_N.tolist() == [3, 3, 6]
    assert joined.images_NTHWC.shape[:2] == (3, 7)
    assert float(joined.actions_NTA[2, 5, 1]) == 5.0


def test_a_source_is_a_kind_a_path_and_a_weight():
    plain = parse_source("runs/a=b.safetensors")
    assert (plain.kind, str(plain.path), plain.weight) == ("recording", "runs/a=b.safetensors", 1)
    weighed = parse_source("clips:../data/bridge=0.3")
    assert (weighed.kind, str(weighed.path), weighed.weight) == ("clips", "../data/bridge", 0.3)
    assert parse_source(str(weighed)) == weighed
    assert parse_source("store:runs/up/episodes=2").kind == "store"


@pytest.mark.parametrize("text", ["", "clips:", "a.safetensors=0", "a=-1", "a=1e999", "a=1-1"])
def test_a_source_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match="must be PATH, clips:PATH or store:PATH"):
        parse_source(text)


def test_recordings_clips_and_stores_are_mixed(tmp_path):
    save_recording(tmp_path / "play", collect(Plan(kind="play", num=2, seed=5, steps=6), 1))
    (tmp_path / "clips").mkdir()
    save_clip(tmp_path / "clips", moving("000000000", frames=16))
    store = EpisodeStore(tmp_path / "store")
    store.append(real_episode(steps=6))
    words = ["play=2", "clips:clips", "store:store=1"]
    sources = [parse_source(w.replace(":", f":{tmp_path}/") if ":" in w else f"{tmp_path}/{w}")
               for w in words]  # fmt: skip
    mixture, splits = read_mixture(sources, SplitConfig(time=0.25))
    assert mixture.shares == (0.5, 0.25, 0.25)
    assert [len(part) for part in mixture.parts] == [2, 1, 1]
    assert mixture.parts[1].lengths_N.tolist() == [11]
    assert len(mixture.held_out) == 3
    assert all(each.others is None for each in splits)
    assert torch.isfinite(mixture.draw(9, 2, np.random.default_rng(0)).images_BTCHW).all()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nothing.safetensors", "no such file, must be a recording"),
        ("clips:nothing", "no such folder, must hold clips"),
        ("store:nothing", "no such folder, must be an episode store"),
    ],
)
def test_sources_that_are_missing_are_named(tmp_path, text, words, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((InputError, EpisodeFormatError), match=words):
        read_mixture([parse_source(text)], SplitConfig())
