"""One open episode: order, refusals, and that nothing is visible before the commit."""

from pathlib import Path

import numpy as np
import pytest

from robot_agent.core.errors import InputError, StorageError
from robot_agent.core.types import Observation, Step
from robot_agent.store.episode_format import EpisodeStart
from robot_agent.store.episode_store import EpisodeStore
from tests.store.episodes import LOSSLESS


@pytest.fixture
def store(episodes_path: Path) -> EpisodeStore:
    return EpisodeStore(episodes_path, LOSSLESS)


def observation(t: int, size: tuple[int, int] = (6, 8)) -> Observation:
    image = np.full((*size, 3), t, np.uint8)
    return Observation(image, np.full(6, 0.1 * t), 0.5, stamp_ns=1000 + t)


def step(t: int, sent: float = 0.01) -> Step:
    action = np.full(7, sent)
    return Step(observation(t), np.full(7, np.nan), action, f"v{t}", "policy", ("shortened",))


START = EpisodeStart(instruction="close the drawer", scene="home", config={"rate_hz": 5.0})


def test_a_streamed_episode_is_the_same_when_loaded(store: EpisodeStore):
    with store.open_episode(START) as writer:
        for t in range(3):
            writer.add_step(step(t))
        folder = writer.commit("failure", "operator", observation(3))
    loaded = store.load(folder.name)
    assert loaded.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3]
    assert loaded.stamps_ns.tolist() == [1000, 1001, 1002, 1003]
    assert loaded.weights_versions == ("v0", "v1", "v2")
    assert np.isnan(loaded.proposed).all(), "what was proposed is kept, even when it is no number"
    assert store.describe(folder.name).config == {"rate_hz": 5.0}


def test_nothing_is_visible_before_the_commit(store: EpisodeStore):
    with store.open_episode(START) as writer:
        writer.add_step(step(0))
        assert store.list() == []
        writer.commit("success", "operator", observation(1))
        assert len(store.list()) == 1


def test_leaving_without_a_commit_discards(store: EpisodeStore):
    with store.open_episode(START) as writer:
        writer.add_step(step(0))
    assert list(store.folder.iterdir()) == []


def test_an_action_without_its_next_picture_is_left_out(store: EpisodeStore):
    with store.open_episode(START) as writer:
        for t in range(3):
            writer.add_step(step(t))
        folder = writer.commit("abort", "operator")
    assert store.load(folder.name).num_steps == 2


def test_an_episode_without_a_complete_step_is_refused_and_stays_open(store: EpisodeStore):
    with store.open_episode(START) as writer:
        with pytest.raises(InputError, match="must hold a complete step"):
            writer.commit("abort", "operator")
        writer.add_step(step(0))
        with pytest.raises(InputError, match="1 actions and no picture after"):
            writer.commit("abort", "operator")
        writer.commit("abort", "operator", observation(1))


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (step(0), r"stamp 1000 ns, must be after 1000 ns\. Is the camera repeating"),
        (Step(observation(1, (4, 4)), np.zeros(7), np.zeros(7), "", ""), r"must be \(6, 8, 3\)"),
        (step(1, float("nan")), r"step\.sent: holds a number that is not finite"),
    ],
)
def test_a_step_that_does_not_fit_is_refused(store: EpisodeStore, second: Step, message: str):
    with store.open_episode(START) as writer:
        writer.add_step(step(0))
        with pytest.raises(InputError, match=message):
            writer.add_step(second)


def test_two_writers_of_one_id_are_refused(store: EpisodeStore):
    start = EpisodeStart(instruction="x", episode_id="same")
    with store.open_episode(start), pytest.raises(InputError, match="is being written"):
        store.open_episode(start)


def test_a_closed_writer_is_refused(store: EpisodeStore):
    writer = store.open_episode(START)
    writer.discard()
    with pytest.raises(StorageError, match="is closed, must be open"):
        writer.add_step(step(0))
