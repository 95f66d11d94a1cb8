"""What stays when the disk budget is passed: pins, what releases learned from, and the newest."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from robot_agent.core.errors import EpisodeFormatError, InputError, StorageError
from robot_agent.store import retention
from robot_agent.store.episode_format import EpisodeStart
from robot_agent.store.episode_store import EpisodeStore
from robot_agent.store.episode_writer import RecordingConfig
from robot_agent.store.recovery import recover
from tests.store.episodes import LOSSLESS, make_episode


@pytest.fixture
def store(episodes_path: Path) -> EpisodeStore:
    made = EpisodeStore(episodes_path, LOSSLESS)
    for number in range(4):
        made.append(make_episode(f"e{number}", seed=number))
    return made


def test_the_oldest_go_first_until_the_budget_is_met(store):
    size = store.size_bytes()
    done = retention.prune(store, size * 0.6e-9, {})
    assert done.removed == ("e0", "e1")
    assert list(store.list()) == ["e2", "e3"]
    assert store.size_bytes() <= size * 0.6
    assert (done.bytes_before, done.bytes_after) == (size, store.size_bytes())


def test_what_is_pinned_or_was_learned_from_stays_and_says_why(store):
    retention.pin(store, "e0", "the first success")
    done = retention.prune(store, 0.0, {"e2": "v7 learned from it"})
    assert list(store.list()) == ["e0", "e2"]
    assert done.kept == {"e0": "pinned: the first success", "e2": "v7 learned from it"}
    retention.unpin(store, "e0")
    assert retention.prune(store, 0.0, {}).removed == ("e0", "e2")


def test_a_dry_run_deletes_nothing(store):
    assert retention.prune(store, 0.0, {}, is_dry=True).removed == ("e0", "e1", "e2", "e3")
    assert len(store.list()) == 4


def test_wrong_pins_are_refused(store):
    with pytest.raises(InputError, match="needs a reason"):
        retention.pin(store, "e0", " ")
    with pytest.raises(EpisodeFormatError, match="no episode"):
        retention.pin(store, "e9", "x")
    with pytest.raises(InputError, match="not pinned"):
        retention.unpin(store, "e0")
    with pytest.raises(ValueError, match="budget_gb"):
        retention.prune(store, float("nan"), {})


def test_a_crash_while_pruning_leaves_no_half_episode(store, monkeypatch):
    def killed(_path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(retention.shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        retention.prune(store, 0.0, {})
    monkeypatch.undo()
    assert not store.list()
    assert not recover(store, check_all=True).entries
    retention.prune(store, 0.0, {})
    assert store.size_bytes() == 0


def test_over_its_budget_a_store_takes_no_new_episode_and_deletes_none(store):
    tight = EpisodeStore(store.folder, RecordingConfig(min_free_gb=0.0, budget_gb=1e-6))
    with pytest.raises(StorageError, match=r"nothing was deleted.*episodes prune"):
        tight.open_episode(EpisodeStart(instruction="x"))
    assert len(tight.list()) == 4
    roomy = EpisodeStore(store.folder, RecordingConfig(min_free_gb=0.0, budget_gb=1.0))
    roomy.append(make_episode("e4"))


class Retention(RuleBasedStateMachine):
    """Any order of appending, pinning and pruning; a shadow of what must be there."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.store = EpisodeStore(Path(self.folder.name) / "s", LOSSLESS)
        self.names: list[str] = []
        self.pinned: set[str] = set()
        self.count = 0

    @rule()
    def append(self) -> None:
        self.store.append(make_episode(f"e{self.count}", steps=1, size=(2, 2)))
        self.names.append(f"e{self.count}")
        self.count += 1

    @rule(data=st.data())
    def pin(self, data) -> None:
        if self.names:
            name = data.draw(st.sampled_from(self.names))
            retention.pin(self.store, name, "wanted")
            self.pinned.add(name)

    @rule(data=st.data())
    def unpin(self, data) -> None:
        if self.pinned:
            name = data.draw(st.sampled_from(sorted(self.pinned)))
            retention.unpin(self.store, name)
            self.pinned.discard(name)

    @rule(share=st.floats(0.0, 1.2), data=st.data())
    def prune(self, share: float, data) -> None:
        needed = data.draw(st.sets(st.sampled_from(self.names))) if self.names else set()
        budget = share * self.store.size_bytes() * 1e-9
        done = retention.prune(self.store, budget, dict.fromkeys(needed, "needed"))
        assert not set(done.removed) & (self.pinned | needed)
        self.names = [name for name in self.names if name not in done.removed]

    @invariant()
    def nothing_else_is_missing(self) -> None:
        assert list(self.store.list()) == self.names

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()


TestRetention = Retention.TestCase
TestRetention.settings = settings(max_examples=15, stateful_step_count=12, deadline=None)
