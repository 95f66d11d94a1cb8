"""What every EpisodeStore promises, of the real one and of a stand-in in memory."""

from pathlib import Path

import numpy as np
import pytest

from robot_agent.core.errors import EpisodeFormatError, InputError
from robot_agent.core.protocols import EpisodeStore as EpisodeStoreSeam
from robot_agent.core.types import Episode
from robot_agent.store.episode_store import EpisodeStore
from tests.store.episodes import LOSSLESS, assert_same, make_episode


class MemoryStore:
    def __init__(self) -> None:
        self._episodes: dict[str, Episode] = {}

    def append(self, episode: Episode) -> Path:
        if episode.episode_id in self._episodes:
            raise InputError(f"episode {episode.episode_id}: exists, must be new.")
        self._episodes[episode.episode_id] = episode
        return Path(episode.episode_id)

    def load(self, episode_id: str) -> Episode:
        if episode_id not in self._episodes:
            raise EpisodeFormatError(f"{episode_id}: is no episode of this store.")
        return self._episodes[episode_id]

    def list(self) -> list[str]:
        return list(self._episodes)


@pytest.fixture(params=["folder", "memory"])
def store(request, episodes_path: Path) -> EpisodeStoreSeam:
    return EpisodeStore(episodes_path, LOSSLESS) if request.param == "folder" else MemoryStore()


@pytest.mark.parametrize("stamps", [True, False])
def test_what_was_appended_is_loaded(store: EpisodeStoreSeam, stamps: bool):
    episode = make_episode(stamps=stamps)
    store.append(episode)
    assert_same(store.load("ep-1"), episode)


def test_the_list_is_oldest_first_whatever_the_names(store: EpisodeStoreSeam):
    for name in ("m", "z", "a", "k"):
        store.append(make_episode(name, 1))
    assert list(store.list()) == ["m", "z", "a", "k"]


def test_an_id_is_used_once(store: EpisodeStoreSeam):
    store.append(make_episode())
    with pytest.raises(InputError, match="must be new"):
        store.append(make_episode(seed=1))
    assert_same(store.load("ep-1"), make_episode())


def test_an_unknown_id_is_refused(store: EpisodeStoreSeam):
    with pytest.raises(EpisodeFormatError, match="no episode of this store"):
        store.load("nobody")


def test_action_t_leads_from_image_t_to_image_t_plus_1(store: EpisodeStoreSeam):
    episode = make_episode(steps=4)
    counted = np.arange(5, dtype=np.uint8)[:, None, None, None]
    episode.images[:] = counted
    episode.actions[:, 0] = np.arange(4)
    store.append(episode)
    loaded = store.load("ep-1")
    assert (loaded.images[:-1, 0, 0, 0] == loaded.actions[:, 0]).all()
    assert (loaded.images[1:, 0, 0, 0] == loaded.actions[:, 0] + 1).all()
