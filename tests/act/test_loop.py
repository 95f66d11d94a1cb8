"""The episode loop on fakes with teeth: order, boundaries, numbers, ends."""

from collections.abc import Callable

import numpy as np
import pytest

from robot_agent.act.executor import PERIOD_NS, Numbering, StepExecutor
from robot_agent.act.inference import InferenceHere
from robot_agent.act.loop import run_episode
from robot_agent.act.plan import Planned
from robot_agent.act.planner import EpisodeTask, Planner
from robot_agent.act.policy_slot import PolicySlot
from robot_agent.core.clock import FakeClock
from robot_agent.core.errors import InputError
from robot_agent.core.types import Chunk, Observation, Proposal


class CountingWorld:
    """Every picture shows how many actions made it; every action says which picture it saw."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock, self.sent = clock, []
        self.heartbeats: list[int] = []

    def newest(self, not_before_ns: int) -> Observation | None:
        if self.clock.now_ns() < not_before_ns:
            return None
        image = np.full((8, 8, 3), len(self.sent), np.uint8)
        return Observation(image, np.zeros(6), 1.0, self.clock.now_ns())

    def send(self, proposal: Proposal) -> None:
        seen = int(proposal.action[0])
        assert seen + proposal.index == len(self.sent), "action was chosen for another picture"
        self.sent.append(proposal)

    def heartbeat(self) -> None:
        self.heartbeats.append(self.clock.now_ns())


class SeeingPolicy:
    """Answers with five actions that hold the number that the picture shows."""

    def __init__(self, version: str) -> None:
        self.version, self.resets = version, []

    def reset(self, instruction: str, seed: int) -> None:
        if instruction == "dance":
            raise InputError("instruction 'dance' is unknown. Choose another.")
        self.resets.append((instruction, seed))

    def act(self, observation: Observation) -> Chunk:
        actions = np.zeros((5, 7))
        actions[:, 0] = observation.image_hwc[0, 0, 0]
        return Chunk(actions, self.version, 1, observation.stamp_ns)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1_000_000_000)


def run(
    clock: FakeClock,
    slot: PolicySlot,
    world: CountingWorld,
    max_steps: int = 12,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> int:
    task = EpisodeTask(instruction="open", seed=3, max_steps=max_steps)
    planner, executor = planned(clock, slot, world)
    return run_episode(planner, executor, task, is_cancelled=is_cancelled)


def planned(
    clock: FakeClock, slot: PolicySlot, world: CountingWorld
) -> tuple[Planner, StepExecutor]:
    executor = StepExecutor(clock, world.send, world.heartbeat, clock.sleep_until)
    numbering = Numbering(clock.now_ns())
    planner = Planner(world, slot, InferenceHere(), executor, clock=clock, numbering=numbering)
    return planner, executor


def test_actions_follow_pictures_and_come_every_200_ms(clock: FakeClock) -> None:
    world, policy = CountingWorld(clock), SeeingPolicy("v1")
    assert run(clock, PolicySlot(policy), world) == 12
    assert policy.resets == [("open", 3)]
    deadlines = [proposal.deadline_ns for proposal in world.sent]
    assert np.diff(deadlines).tolist() == [PERIOD_NS] * 11
    assert clock.now_ns() == deadlines[-1], "the last action had its full period"
    assert [p.index for p in world.sent] == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1]
    assert np.diff([p.sequence for p in world.sent]).min() > 0
    assert max(np.diff(world.heartbeats)) <= 50_000_000


def test_weights_change_between_chunks_only(clock: FakeClock) -> None:
    world, first, second = CountingWorld(clock), SeeingPolicy("v1"), SeeingPolicy("v2")
    slot = PolicySlot(first)

    def offer_in_mid_chunk() -> bool:
        if len(world.sent) == 2 and slot.candidate is None and slot.active is first:
            slot.offer(second)
        return False

    run(clock, slot, world, is_cancelled=offer_in_mid_chunk)
    assert [p.weights_version for p in world.sent] == ["v1"] * 5 + ["v2"] * 7
    assert second.resets == [("open", 3)]


def test_weights_that_are_recalled_finish_no_chunk(clock: FakeClock) -> None:
    world, first, second = CountingWorld(clock), SeeingPolicy("v1"), SeeingPolicy("v2")
    slot = PolicySlot(first)
    slot.offer(second)

    def recall_in_mid_chunk() -> bool:
        if len(world.sent) == 2 and slot.active is second and not slot.is_recalled:
            slot.leave("v2")
        return False

    run(clock, slot, world, max_steps=8, is_cancelled=recall_in_mid_chunk)
    assert [p.weights_version for p in world.sent] == ["v2"] * 2 + ["v1"] * 6
    assert [p.index for p in world.sent] == [0, 1, 0, 1, 2, 3, 4, 0], "it looked again first"


def test_cancel_ends_the_step_under_way(clock: FakeClock) -> None:
    world = CountingWorld(clock)
    steps = run(
        clock, PolicySlot(SeeingPolicy("v1")), world, is_cancelled=lambda: len(world.sent) >= 3
    )
    assert steps == len(world.sent) == 3
    assert clock.now_ns() < world.sent[-1].deadline_ns


def test_an_unknown_instruction_sends_nothing(clock: FakeClock) -> None:
    world = CountingWorld(clock)
    planner, executor = planned(clock, PolicySlot(SeeingPolicy("v1")), world)
    with pytest.raises(InputError, match="dance"):
        run_episode(planner, executor, EpisodeTask(instruction="dance"))
    assert not world.sent


@pytest.mark.parametrize(("instruction", "max_steps"), [("  ", 5), ("open", 0), ("open", 10_001)])
def test_a_task_without_sense_is_refused(instruction: str, max_steps: int) -> None:
    with pytest.raises(InputError):
        EpisodeTask(instruction=instruction, max_steps=max_steps)


def test_a_proposer_that_starts_again_goes_on_above_its_numbers() -> None:
    planned = Planned(np.zeros(7), (), Chunk(np.zeros((5, 7)), "v1", 1, 0), 1, 0)
    before, now_ns = Numbering(0), 0
    for _ in range(500):
        last = before.number(planned).sequence
        now_ns += PERIOD_NS
    assert Numbering(now_ns).number(planned).sequence > last
