"""An operator takes the arm from a policy that answers late and gives it back, in every mode.

The loop and its planner propose to the real guard, 20 ms by 20 ms, in virtual time.
"""

from dataclasses import dataclass, field

import numpy as np
import pytest

from robot_agent.act.execution import MODES, ExecutionConfig
from robot_agent.act.executor import Numbering, StepExecutor
from robot_agent.act.loop import run_episode
from robot_agent.act.planner import EpisodeTask, Planner
from robot_agent.act.policy_slot import PolicySlot
from robot_agent.core import wx250s
from robot_agent.core.clock import FakeClock
from robot_agent.core.types import Chunk, FloatArray, Observation, Proposal
from robot_agent.evaluate.late import LateInference, LatencyConfig
from tests.guard.paper_arm import MS, PaperArm

S = 1_000 * MS


class Wandering:
    """As large steps as a policy may make, to and fro; its answers remember what they saw."""

    version = "v1"

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def reset(self, instruction: str, seed: int) -> None:
        """Nothing to begin."""

    def act(self, observation: Observation) -> Chunk:
        actions = np.zeros((8, 7))
        actions[:, :3] = self._rng.uniform(-0.05, 0.05, (8, 3))
        actions[:, 3:6] = self._rng.uniform(-0.2, 0.2, (8, 3))
        return Chunk(actions, self.version, 1, observation.stamp_ns)


@dataclass
class Stage:
    """A guard, an arm that follows it, and a person who acts between two times."""

    mode: str
    seed: int
    clock: FakeClock = field(init=False)
    arm: PaperArm = field(default_factory=PaperArm)
    proposal: Proposal | None = None
    was_operated: bool = False
    ways_m: list[tuple[int, float]] = field(default_factory=list)
    """Time, and the way from the measured tool to the commanded one."""
    accepted: list[Proposal] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start_ns = self.arm.now_ns
        self.clock = FakeClock(self.start_ns)
        self.takes_ns, self.lets_go_ns = self.start_ns + 3 * S, self.start_ns + 5 * S

    @property
    def is_operated(self) -> bool:
        return self.takes_ns <= self.arm.now_ns < self.lets_go_ns

    def says_operated(self) -> bool:
        """Whether the person acts, or acted since this was last asked, as the node says it."""
        said, self.was_operated = self.was_operated or self.is_operated, self.is_operated
        return said

    # a clock for the executor: while it sleeps the guard ticks
    def now_ns(self) -> int:
        return self.arm.now_ns

    def sleep_until(self, deadline_ns: int) -> None:
        while self.arm.now_ns < deadline_ns:
            self._tick()
            self.clock.sleep_until(self.arm.now_ns)

    def _tick(self) -> None:
        before: FloatArray = self.arm.tool_m.copy()
        inputs = {"operator": self.arm.operate(0.03, -0.02)} if self.is_operated else {}
        state = self.arm.tick(self.proposal, **inputs)
        assert self.arm.command is not None
        way = np.linalg.norm(wx250s.forward(self.arm.command.joints_rad)[:3, 3] - before)
        self.ways_m.append((self.arm.now_ns, float(way)))
        if state.accepted_this_tick and state.controller == "policy" and self.proposal:
            self.accepted.append(self.proposal)

    def newest(self, not_before_ns: int) -> Observation | None:
        now_ns = self.arm.now_ns
        if now_ns < not_before_ns:
            return None
        return Observation(np.zeros((1, 1, 3), np.uint8), self.arm.joints_rad, 1.0, now_ns)

    def send(self, proposal: Proposal) -> None:
        self.proposal = proposal

    def play(self) -> int:
        rng = np.random.default_rng(self.seed)
        steps = StepExecutor(self, self.send, lambda: None, self.sleep_until)
        planner = Planner(
            self,
            PolicySlot(Wandering(rng)),
            LateInference(self.clock, LatencyConfig(), rng),
            steps,
            clock=self,
            numbering=Numbering(0),
            config=ExecutionConfig(mode=self.mode),
            is_operated=self.says_operated,
        )
        return run_episode(planner, steps, EpisodeTask(instruction="wander", max_steps=40))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(3))
def test_taking_over_and_giving_back_leave_no_jump_beyond_a_normal_step(
    mode: str, seed: int
) -> None:
    stage = Stage(mode, seed)
    assert stage.play() == 40
    moments = [moment for moment, _ in stage.ways_m]
    assert moments[-1] > stage.lets_go_ns + 2 * S, "the policy went on"
    normal_m = stage.arm.config.max_translation_m + stage.arm.config.box_tolerance_m
    assert max(way for _, way in stage.ways_m) <= normal_m
    for handover_ns in (stage.takes_ns, stage.lets_go_ns):
        near = [way for moment, way in stage.ways_m if abs(moment - handover_ns) < 60 * MS]
        assert near
        assert max(near) <= normal_m
    after = [proposal for proposal in stage.accepted if proposal.deadline_ns > stage.lets_go_ns]
    assert len(after) > 5
    assert min(proposal.stamp_ns for proposal in after) >= stage.lets_go_ns, "it looked again"
    assert stage.arm.state.counters.dropped_late == 0, "nothing old was even proposed"
