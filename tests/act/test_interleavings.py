"""Whatever happens between any two calls of the loop, no action is late, twice or of two minds."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from robot_agent.act.executor import HoldCount
from robot_agent.act.plan import Plan, Planned
from robot_agent.act.planner import Planner
from robot_agent.act.policy_slot import PolicySlot
from robot_agent.core.errors import InputError
from robot_agent.core.types import Chunk
from tests.act.interleaving import World, run_world


def run_seeds(count: int) -> Counter[str]:
    found: Counter[str] = Counter()
    for seed in range(count):
        world = run_world(seed)
        found["executed"] += len(world.executed)
        found["starved"] += world.starved
        found["cut"] += len(world.partial)
        found["dropped"] += world.planner.dropped
        found["changes"] += len({step.weights_version for step in world.executed}) - 1
        found["refused"] += bool(world.planner.refusal)
        found[world.mode] += 1
    return found


def test_hundreds_of_interleavings_break_nothing() -> None:
    found = run_seeds(400)
    assert found["executed"] > 2_000
    rare = ("starved", "cut", "dropped", "changes", "refused")
    assert all(found[what] > 50 for what in rare), found


@pytest.mark.slow
def test_a_hundred_thousand_interleavings_break_nothing(exhaustive: bool) -> None:
    count = 100_000 if exhaustive else 5_000
    assert run_seeds(count)["executed"] > 5 * count


def _never_late(self: Plan, chunk: Chunk, chunk_id: int, step: int, *, continues: bool) -> None:
    _TAKE(self, chunk, chunk_id, self.next_step, continues=continues)


def _of_two_minds(self: Plan, chunk: Chunk, chunk_id: int, step: int, *, continues: bool) -> None:
    del continues
    _TAKE(self, chunk, chunk_id, step, continues=True)


def _twice(self: Plan) -> Planned | None:
    planned = _POP(self)
    if planned is not None and self.next_step % 7 == 3:
        self._ahead = {step + 1: later for step, later in self._ahead.items()}
        self._ahead[self.next_step] = planned
    return planned


def _trusting(self: PolicySlot, policy: Any) -> bool:
    return bool(_BEGIN(self, policy)) or True


def _deaf_to_the_operator(self: Planner) -> bool:
    self._is_operated = lambda: False
    return bool(_MUST_CUT(self))


def _deaf_to_a_recall(self: Planner) -> bool:
    if self._is_operated():
        self.cut()
        return True
    return False


def _remembering(self: Planner) -> None:
    before = getattr(self, "_fresh_ns", 0)
    _FORGET(self)
    self._fresh_ns = before


def _counting_nothing(self: HoldCount, duration_ns: int) -> None:
    """Nothing."""


def _impatient(self: Planner) -> None:
    self._collect()
    self._ask()


def _talking_at_once(self: Planner, instruction: str) -> None:
    self._wish = self.instruction = instruction


_TAKE, _POP, _BEGIN = Plan.take, Plan.pop, PolicySlot.begin_chunk
_MUST_CUT, _FORGET = Planner.must_cut, Planner._forget


@pytest.mark.parametrize(
    ("kind", "name", "fault"),
    [
        (Plan, "take", _never_late),
        (Plan, "take", _of_two_minds),
        (Plan, "pop", _twice),
        (PolicySlot, "begin_chunk", _trusting),
        (Planner, "must_cut", _deaf_to_the_operator),
        (Planner, "must_cut", _deaf_to_a_recall),
        (Planner, "_forget", _remembering),
        (HoldCount, "lasts", _counting_nothing),
        (Planner, "refresh", _impatient),
        (Planner, "instruct", _talking_at_once),
    ],
)
def test_planted_faults_are_found(
    kind: type, name: str, fault: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kind, name, fault)
    with pytest.raises((AssertionError, InputError)):
        run_seeds(500)


def test_a_camera_whose_latency_is_not_compensated_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A picture of the step before last passes for one of now."""
    take = World.newest

    def newest(self: World, not_before_ns: int) -> Any:
        seen = take(self, not_before_ns)
        if seen is not None:
            seen.joints_rad[:] = len(self.executed)
        return seen

    monkeypatch.setattr(World, "newest", newest)
    with pytest.raises(AssertionError):
        run_seeds(200)
