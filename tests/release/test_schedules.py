"""Whatever the order of swaps, stops, takeovers, faults and shutdowns: no invariant breaks."""

from collections import Counter

import pytest

from robot_agent.act.policy_slot import PolicySlot
from robot_agent.core.errors import RobotAgentError
from robot_agent.release.promotion import Promotion
from robot_agent.release.signing import save_keyring
from robot_agent.release.states import Releases
from tests.release.bundles import KEYRING
from tests.release.schedules import EVENTS, run_schedule


def broken(folder, seeds) -> tuple[list[str], Counter[str]]:
    save_keyring(folder / "keyring.json", KEYRING)
    found, seen = [], Counter()
    for seed in seeds:
        words, names = run_schedule(folder, seed)
        seen.update(names)
        found += words
    return found, seen


def test_hundreds_of_schedules_break_nothing(tmp_path):
    found, seen = broken(tmp_path, range(300))
    assert found == []
    assert set(seen) == set(EVENTS)
    assert min(seen.values()) > 50


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_more_schedules_break_nothing(tmp_path, exhaustive):
    count = 100_000 if exhaustive else 1_000
    assert broken(tmp_path, range(1000, 1000 + count))[0] == []


def keep_the_rejected(self, label, state, record, take=Releases._take_state):
    """A registry that forgets that a release was rejected."""
    if record["state"] != "REJECTED":
        take(self, label, state, record)


@pytest.mark.parametrize(
    ("kind", "name", "wrong"),
    [
        (Releases, "_take_state", keep_the_rejected),
        (PolicySlot, "roll_back", lambda self: None),
        (PolicySlot, "offer", lambda self, policy: None),
        (PolicySlot, "leave", lambda self, version: None),
        (PolicySlot, "turn_to", lambda self, version: None),
        (Promotion, "hear_guard", lambda self, causes, *, is_operator: False),
        (Promotion, "follow", lambda self: None),
        (Promotion, "require_free", lambda self, version: None),
    ],
)
def test_a_wrong_part_is_found(tmp_path, monkeypatch, kind, name, wrong):
    """The schedules can fail: each planted fault is found within four hundred."""
    monkeypatch.setattr(kind, name, wrong)
    try:
        found = next(filter(None, (broken(tmp_path, [seed])[0] for seed in range(400))), [])
    except (KeyError, ValueError, RobotAgentError) as error:
        found = [str(error)]
    assert found
