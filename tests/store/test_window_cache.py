"""Windows from the cache are those of the recordings, and a damaged entry is made anew."""

import shutil

import numpy as np
import pytest

from robot_agent.core.errors import EpisodeFormatError
from robot_agent.store.bench_windows import own_memory_mb
from robot_agent.store.episode_store import EpisodeStore
from robot_agent.store.recovery import recover
from robot_agent.store.window_cache import CACHE_NAME, WindowCache
from robot_agent.store.windows import WindowSampler, trajectory_from_episode
from tests.store.episodes import LOSSLESS, make_episode

SIZE = (4, 6)


@pytest.fixture
def store(episodes_path) -> EpisodeStore:
    made = EpisodeStore(episodes_path, LOSSLESS)
    for number in range(3):
        made.append(make_episode(f"e{number}", steps=5 + number, seed=number))
    return made


def entries(store: EpisodeStore):
    return sorted((store.folder / CACHE_NAME).iterdir())


def assert_sound(store: EpisodeStore, cache: WindowCache) -> None:
    for name in store.list():
        wanted = trajectory_from_episode(store.load(name), SIZE)
        found = cache.trajectory(name)
        np.testing.assert_array_equal(found.frames, wanted.frames)
        np.testing.assert_array_equal(found.actions, wanted.actions)
        np.testing.assert_array_equal(found.proprio, wanted.proprio)
        assert (found.name, found.instruction) == (wanted.name, wanted.instruction)


def test_what_is_cached_is_what_was_recorded_the_first_and_the_second_time(store):
    cache = WindowCache(store, SIZE)
    assert_sound(store, cache)
    assert_sound(store, WindowCache(store, SIZE))
    assert len(entries(store)) == 3


def test_the_second_time_nothing_is_decoded(store, monkeypatch):
    WindowCache(store, SIZE).trajectories()
    monkeypatch.setattr(store, "load", lambda _: pytest.fail("decoded again"))
    assert [t.num_steps for t in WindowCache(store, SIZE).trajectories()] == [5, 6, 7]


def test_sizes_do_not_mix(store):
    assert WindowCache(store, (3, 3)).trajectory("e0").frames.shape == (6, 3, 3, 3)
    assert WindowCache(store, SIZE).trajectory("e0").frames.shape == (6, 4, 6, 3)


@pytest.mark.parametrize("name", ["frames.u8", "numbers.f8", "about.json"])
@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone"])
def test_a_damaged_entry_is_made_anew(store, name, damage):
    cache = WindowCache(store, SIZE)
    cache.trajectory("e0")
    path = entries(store)[0] / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    damaged = {"flip": bytes(content), "cut": bytes(content[:-1]), "empty": b""}
    path.unlink() if damage == "gone" else path.write_bytes(damaged[damage])
    assert_sound(store, cache)


def test_a_relabelled_episode_keeps_its_entry_and_a_quarantined_one_loses_it(store):
    cache = WindowCache(store, SIZE)
    cache.trajectories()
    store.relabel("e0", "failure", "a person")
    assert cache.prune() == 0
    store.quarantine("e1", "for a test")
    assert cache.prune() == 1
    assert len(entries(store)) == 2
    with pytest.raises(EpisodeFormatError):
        cache.trajectory("e1")


def test_the_cache_is_no_episode_and_may_be_deleted(store):
    cache = WindowCache(store, SIZE)
    cache.trajectories()
    assert list(store.list()) == ["e0", "e1", "e2"]
    assert not recover(store, check_all=True).entries
    shutil.rmtree(store.folder / CACHE_NAME)
    assert_sound(store, cache)


def test_ten_thousand_windows_leave_the_memory_flat(store):
    sampler = WindowSampler([(WindowCache(store, SIZE).trajectories(), 1.0)], 4, seed=0)
    sampler.sample(64)
    before_mb = own_memory_mb()
    for _ in range(10_000 // 64 + 1):
        sampler.sample(64)
    assert own_memory_mb() - before_mb < 4.0
