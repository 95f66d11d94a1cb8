"""Whatever the order of swaps, stops, takeovers, faults and shutdowns: no invariant breaks."""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

from robot_agent.act.policy_slot import PolicySlot
from robot_agent.core.errors import RobotAgentError
from robot_agent.release.promotion import Promotion
from robot_agent.release.states import Releases
from tests.release.schedules import EVENTS, run_schedules


def test_hundreds_of_schedules_break_nothing(tmp_path):
    found, seen = run_schedules(tmp_path, range(300))
    assert found == []
    assert set(seen) == set(EVENTS)
    assert min(seen.values()) > 50


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_more_schedules_break_nothing(tmp_path, exhaustive):
    count, processors = 100_000 if exhaustive else 1_000, len(os.sched_getaffinity(0))
    folders = [tmp_path / str(number) for number in range(processors)]
    for folder in folders:
        folder.mkdir()
    shares = [range(1000 + number, 1000 + count, processors) for number in range(processors)]
    with ProcessPoolExecutor(processors, mp_context=get_context("spawn")) as workers:
        done = list(workers.map(run_schedules, folders, shares))
    assert [words for found, _ in done for words in found] == []
    assert sum(seen.total() for _, seen in done) == 50 * count


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
        found = next(filter(None, (run_schedules(tmp_path, [seed])[0] for seed in range(400))), [])
    except (KeyError, ValueError, RobotAgentError) as error:
        found = [str(error)]
    assert found
