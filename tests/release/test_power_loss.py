"""The registry and its publisher survive every loss of power; naive ones fail the same test."""

from functools import partial
from pathlib import Path

import pytest

from tests.release.power_loss_registry import problems
from tests.store.power_loss import breaks, replay, without_syncs
from tests.store.system_calls import Op, record


def lived(memory: Path, kind: str = "") -> tuple[list[Op], bytes]:
    root, acks = memory / f"root{kind}", memory / f"acks{kind}"
    root.mkdir()
    words = ["tests.release.power_loss_registry", str(root), str(acks), *([kind] if kind else [])]
    ops = record(words, root, acks)
    return ops, (root / "out/export.tar").read_bytes()


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_after_a_loss_of_power_the_registry_is_whole(memory: Path, exhaustive: bool):
    ops, export = lived(memory)
    check = partial(problems, export=export)
    states, different, bad = replay(ops, check, memory / "disk", 1 if exhaustive else 20)
    assert states >= 10_000
    assert different > 1000
    assert bad == []


@pytest.mark.parametrize("missing", ["every sync", "the syncs of folders", "a rename"])
def test_a_naive_registry_fails_the_same_test(memory: Path, missing: str):
    ops, export = lived(memory, "naive" if missing == "a rename" else "")
    if missing != "a rename":
        ops = without_syncs(ops, folders_only=missing == "the syncs of folders")
    check = partial(problems, export=export)
    assert breaks(ops, check, memory / "disk"), f"a store without {missing} must not pass"
