"""What becomes of a chunk that overlaps the plan, in each mode, number by number."""

import math

import numpy as np
import pytest

from robot_agent.act.execution import (
    MODES,
    ExecutionConfig,
    caught_up,
    fade,
    mix,
    refill_after,
)
from robot_agent.act.plan import Plan
from robot_agent.core.types import Chunk, FloatArray


def chunk(*values: float, gripper: float = 1.0, version: str = "v1") -> Chunk:
    actions = np.zeros((len(values), 7))
    actions[:, 0], actions[:, 6] = values, gripper
    return Chunk(actions, version, 0, 0)


def executed(plan: Plan, count: int) -> list[float]:
    return [float(plan.pop().action[0]) for _ in range(count)]


def planned(mode: str, **settings: float) -> Plan:
    """A plan of plain numbers: actions that catch up would be others than their chunk's."""
    return Plan(ExecutionConfig(mode=mode, catches_up=False, **settings))


def test_actions_whose_step_has_passed_are_dropped_and_counted() -> None:
    plan = planned("asynchronous")
    plan.take(chunk(0, 1, 2, 3, 4), 1, 0, continues=False)
    assert executed(plan, 2) == [0, 1]
    plan.take(chunk(10, 11, 12, 13, 14), 2, 0, continues=True)
    assert plan.dropped == 2
    assert executed(plan, 3) == [12, 13, 14]
    assert plan.pop() is None
    assert plan.next_step == 5, "a tick without an action is no step"


def test_a_chunk_that_is_wholly_late_leaves_nothing() -> None:
    plan = planned("asynchronous", horizon=1)
    plan.take(chunk(0, 1), 1, 0, continues=False)
    assert executed(plan, 1) == [0]
    plan.take(chunk(5, 6), 2, 0, continues=True)
    assert (len(plan), plan.dropped) == (0, 1)


def test_a_horizon_uses_the_first_actions_of_a_chunk_only() -> None:
    plan = planned("synchronous", horizon=2)
    plan.take(chunk(0, 1, 2, 3), 1, 0, continues=False)
    assert executed(plan, 2) == [0, 1]
    assert plan.pop() is None


def test_real_time_chunking_fades_from_the_plan_to_the_chunk() -> None:
    plan = planned("real_time_chunking")
    plan.take(chunk(0, 0, 0, 0, 0), 1, 0, continues=False)
    executed(plan, 2)
    plan.take(chunk(1, 1, 1, 1, 1), 2, 1, continues=True)
    shares = [1.0 - fade(index, 3) for index in range(3)]
    assert executed(plan, 4) == pytest.approx([*shares, 1.0])
    assert 0.0 < shares[0] < shares[1] < shares[2] < 1.0


def test_the_fade_is_that_of_the_paper() -> None:
    """H = 8, d = 2, s = 3: c_i = (H - s - i) / (H - s - d + 1), W = c (e^c - 1) / (e - 1)."""
    for i in range(2, 5):
        c = (8 - 3 - i) / (8 - 3 - 2 + 1)
        wanted = c * (math.exp(c) - 1) / (math.e - 1)
        assert fade(i - 2, 3) == pytest.approx(wanted)


def test_an_ensemble_weighs_the_oldest_prediction_most_as_act_does() -> None:
    plan = planned("temporal_ensembling", decay=0.5)
    plan.take(chunk(0, 0, 0), 1, 0, continues=False)
    executed(plan, 1)
    plan.take(chunk(1, 1, 1), 2, 1, continues=True)
    assert executed(plan, 1) == pytest.approx([math.exp(-0.5) / (1 + math.exp(-0.5))])
    plan.take(chunk(4, 4, 4), 3, 2, continues=True)
    weights = np.exp(-0.5 * np.arange(3))
    assert executed(plan, 1) == pytest.approx([float(weights @ [0, 1, 4]) / weights.sum()])
    assert executed(plan, 1) == pytest.approx(
        [(1 * 1 + 4 * math.exp(-0.5)) / (1 + math.exp(-0.5))]
    )


@pytest.mark.parametrize("mode", MODES)
def test_nothing_of_other_weights_is_mixed_in(mode: str) -> None:
    plan = planned(mode)
    plan.take(chunk(0, 0, 0, 0), 1, 0, continues=False)
    executed(plan, 1)
    plan.take(chunk(8, 8, 8, 8, version="v2"), 2, 0, continues=False)
    assert {planned.chunk.weights_version for planned in plan._ahead.values()} == {"v2"}
    assert executed(plan, 3) == [8, 8, 8]


@pytest.mark.parametrize(
    ("grippers", "weights", "wanted"),
    [
        ((1.0, 0.0, 0.2), (1, 1, 1), 0.1),
        ((1.0, 0.0), (3, 1), 1.0),
        ((0.9, 0.7, 0.0), (1, 1, 1), 0.8),
    ],
)
def test_the_gripper_is_voted_on(
    grippers: tuple[float, ...], weights: tuple[float, ...], wanted: float
) -> None:
    actions = [chunk(0, gripper=gripper).actions[0] for gripper in grippers]
    assert mix(actions, weights)[6] == pytest.approx(wanted)


def test_a_number_that_is_not_finite_is_not_voted_away() -> None:
    broken: FloatArray = chunk(0.01).actions[0].copy()
    broken[6] = np.nan
    assert np.isnan(mix([broken, *chunk(0, 0, 0).actions], (0.1, 1, 1, 1))).all()


def test_a_late_chunk_leads_to_where_it_wanted_to_and_no_step_leaves_the_box() -> None:
    wanted = chunk(0.03, 0.03, 0.03, 0.0, 0.0).actions
    moved = chunk(-0.03, -0.03).actions
    made = caught_up(wanted, 2, moved)
    assert moved[:, 0].sum() + made[2:, 0].sum() == pytest.approx(wanted[:, 0].sum())
    assert np.abs(made[2:, 0]).max() <= 0.05
    assert made[2:, 0] == pytest.approx([0.05, 0.05, 0.05])
    assert np.array_equal(made[:, 6], wanted[:, 6]), "the gripper's is no relative move"


@pytest.mark.parametrize("settings", [{"mode": "eager"}, {"refill": -1}, {"horizon": -1}])
def test_settings_without_sense_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="|".join(settings)):
        ExecutionConfig(**settings)


@pytest.mark.parametrize(
    ("latencies_ms", "chunk", "refill"),
    [
        ([0], 5, 5),  # at once: every step is looked at
        ([0, 90, 110, 200], 8, 8),
        ([0, 90, 110, 900], 8, 8),  # one slow inference among quick ones changes nothing
        ([300], 8, 3),  # two steps, and one to spare
        ([250, 300, 390, 310], 8, 3),
        ([250, 300, 410, 310], 8, 4),
        ([250, 300, 900, 310], 8, 5),  # half of a chunk is executed in any case
        ([300], 5, 3),
        ([900], 5, 3),
        ([900], 1, 1),
    ],
)
def test_an_inference_begins_when_it_comes_in_time_and_not_before(
    latencies_ms: list[int], chunk: int, refill: int
) -> None:
    assert refill_after([ms * 10**6 for ms in latencies_ms], chunk, 200 * 10**6) == refill
