"""A policy that cannot be asked now: the arm holds, and the next question is of a new picture."""

import itertools

import numpy as np
import pytest

from robot_agent.act.execution import MODES, ExecutionConfig
from robot_agent.act.executor import Numbering, StepExecutor
from robot_agent.act.inference import InferenceHere
from robot_agent.act.loop import run_episode
from robot_agent.act.planner import EpisodeTask, Planner
from robot_agent.act.policy_slot import PolicySlot
from robot_agent.core.clock import FakeClock
from robot_agent.core.errors import InputError, InstructionError, PolicyAwayError
from robot_agent.core.types import Chunk, Observation


class Asked(InferenceHere):
    """Raises when the answer is taken, as a worker's future does."""

    error: Exception | None = None

    def start(self, policy, observation, ahead):
        try:
            super().start(policy, observation, ahead)
        except InputError as error:
            self.error = error

    def take(self):
        error, self.error = self.error, None
        if error is not None:
            raise error
        return super().take()


class Far:
    """Away at its `away` questions; knows no dance, which it says only when it is asked."""

    version = "far"

    def __init__(self, away=()):
        self.away, self.asked_ns, self.told = set(away), [], ""
        self.asked = []

    def reset(self, instruction, seed):
        self.told = instruction

    def act(self, observation):
        self.asked_ns.append(observation.stamp_ns)
        self.asked.append(self.told)
        if len(self.asked_ns) in self.away:
            raise PolicyAwayError("away")
        if self.told == "dance":
            raise InstructionError("instruction 'dance' is unknown.")
        return Chunk(np.zeros((5, 7)), self.version, 1, observation.stamp_ns)


class Room:
    def __init__(self, policy, mode="synchronous"):
        self.clock, self.policy, self.sent = FakeClock(10**9), policy, []
        self.driver = StepExecutor(
            self.clock, self.sent.append, lambda: None, self.clock.sleep_until
        )
        self.planner = Planner(
            self,
            PolicySlot(policy),
            Asked(),
            self.driver,
            clock=self.clock,
            numbering=Numbering(0),
            config=ExecutionConfig(mode=mode),
        )

    def newest(self, not_before_ns):
        now_ns = self.clock.now_ns()
        if now_ns < not_before_ns:
            return None
        return Observation(np.zeros((1, 1, 3), np.uint8), np.zeros(6), 1.0, now_ns)

    def run(self, steps=12, on_step=lambda *_: None, instruction="open"):
        task = EpisodeTask(instruction=instruction, max_steps=steps)
        return run_episode(self.planner, self.driver, task, on_step=on_step)


def test_the_arm_holds_while_the_policy_is_away_and_each_tick_is_counted():
    room = Room(Far(away=range(2, 12)))
    assert room.run() == 12
    assert room.driver.starved_ticks >= 2, "ten holds of 50 ms are two ticks or more"
    assert room.planner.away == "", "it is back"
    assert len(room.sent) == len({p.sequence for p in room.sent}) == 12


@pytest.mark.parametrize("mode", MODES)
def test_every_question_is_of_a_newer_picture_and_no_action_is_lost_or_twice(mode):
    room = Room(Far(away=(1, 2, 4, 7)), mode)
    assert room.run() == 12
    stamps = room.policy.asked_ns
    assert stamps == sorted(stamps)
    waited = [after - before for before, after in itertools.pairwise(stamps)]
    assert min(waited[:2]) > 0, "the same picture was asked about twice"
    assert [p.sequence for p in room.sent] == list(range(1, 13))


def test_it_is_said_while_it_lasts():
    policy, seen = Far(away=(2, 3)), []
    room = Room(policy)
    room.driver._heartbeat = lambda: seen.append(room.planner.away)
    room.run(8)
    assert seen.count("away") >= 2
    assert seen[0] == ""
    assert seen[-1] == ""


def test_an_instruction_that_is_refused_only_when_asked_leaves_the_old_one():
    room = Room(Far())
    room.run(12, lambda step, _: room.planner.instruct("dance") if step == 3 else None)
    assert room.planner.refusal == "instruction 'dance' is unknown."
    assert room.planner.instruction == "open"
    assert room.policy.asked[0] == "open"
    assert room.policy.asked.count("dance") == 1, "it is not asked again and again"
    assert len(room.sent) == 12


def test_an_episode_whose_own_instruction_is_refused_ends():
    with pytest.raises(InstructionError, match="'dance' is unknown"):
        Room(Far()).run(instruction="dance")
