"""The episode store survives every loss of power; naive ones fail the same test."""

from pathlib import Path

import pytest

from tests.store.power_loss import breaks, replay, without_syncs
from tests.store.power_loss_episodes import problems
from tests.store.system_calls import Op, record


def lived(memory: Path, kind: str = "") -> list[Op]:
    root, acks = memory / f"root{kind}", memory / f"acks{kind}"
    root.mkdir()
    words = ["tests.store.power_loss_episodes", str(root), str(acks), *([kind] if kind else [])]
    return record(words, root, acks)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_after_a_loss_of_power_every_committed_episode_is_whole(memory: Path, exhaustive: bool):
    ops = lived(memory)
    states, different, bad = replay(ops, problems, memory / "disk", 1 if exhaustive else 20)
    assert states >= 10_000
    assert different > 500
    assert bad == []


@pytest.mark.parametrize("missing", ["every sync", "the syncs of folders", "a rename"])
def test_a_naive_episode_store_fails_the_same_test(memory: Path, missing: str):
    ops = lived(memory, "naive" if missing == "a rename" else "")
    if missing != "a rename":
        ops = without_syncs(ops, folders_only=missing == "the syncs of folders")
    assert breaks(ops, problems, memory / "disk"), f"a store without {missing} must not pass"
