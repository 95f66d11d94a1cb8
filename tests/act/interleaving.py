"""One episode in virtual time in which anything may happen between any two calls of the loop.

Every seam that the loop touches (picture, worker, clock, guard) first lets the world act: weights
are offered, recalled, forgotten or withdrawn, an operator takes the arm or lets go, a stop or
another instruction comes, an inference ends. What must always hold is checked where the guard
would receive an action.
"""

import random
from collections.abc import Callable

import numpy as np

from robot_agent.act.execution import MODES, ExecutionConfig
from robot_agent.act.executor import PERIOD_NS, Numbering, StepExecutor
from robot_agent.act.loop import run_episode
from robot_agent.act.plan import Ahead
from robot_agent.act.planner import EpisodeTask, Planner
from robot_agent.act.policy_slot import PolicySlot
from robot_agent.core.clock import FakeClock
from robot_agent.core.errors import InputError
from robot_agent.core.types import Chunk, Observation, Proposal

STEP, VERSION, INSTRUCTION, SEEN = 0, 1, 2, 3
"""What the first numbers of an action say: for which step, by whom, for what, and when."""
WORDS = ("open", "close", "sing")
"""The third is refused by every policy."""


_PICTURE = np.zeros((1, 1, 3), np.uint8)


class TellingPolicy:
    """Its actions say which step they are for, by which weights and for which instruction.

    The step is read from the picture, in which the world shows how many actions were executed.
    """

    def __init__(self, number: int, chunk: int) -> None:
        self.number, self.version, self._chunk = number, f"v{number}", chunk
        self.instruction = ""
        self.is_thinking = False

    def reset(self, instruction: str, seed: int) -> None:
        assert not self.is_thinking, "a policy was told something while it was thinking"
        if instruction == "sing":
            raise InputError("instruction 'sing' is unknown. Choose another.")
        self.instruction = instruction

    def act(self, observation: Observation) -> Chunk:
        actions = np.zeros((self._chunk, 7))
        actions[:, STEP] = observation.joints_rad[0] + np.arange(self._chunk)
        actions[:, VERSION] = self.number
        actions[:, INSTRUCTION] = WORDS.index(self.instruction)
        actions[:, SEEN] = observation.stamp_ns
        actions[:, 6] = 1.0
        return Chunk(actions, self.version, 1, observation.stamp_ns)


class World:
    """Camera, worker, guard and everything that can go wrong, from one seed."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        self.clock = FakeClock(1_000_000_000)
        self.chunk = self._rng.randint(1, 8)
        self._median_s = self._rng.choice([0.0, 0.05, 0.3, 0.9])
        self._versions = 0
        self.slot = PolicySlot(self._new_policy())
        self.executed: list[Proposal] = []
        self.partial: set[int] = set()
        self.is_operated = self.is_stopped = False
        self.released_ns = self._end_ns = self.starved = 0
        self.was_operated = self._was_taken = self._is_under_way = False
        self._thinking: tuple[TellingPolicy, Observation, int] | None = None
        self._is_wanted = False
        self.mode = self._rng.choice(MODES)
        self._events: tuple[Callable[[], None], ...] = (
            self._take_over, self._offer, self._offer, self._recall, self._leave_previous,
            self._withdraw, self._instruct, self._instruct, self._stop,
        )  # fmt: skip
        self.planner = self._make_planner()

    def _new_policy(self) -> TellingPolicy:
        self._versions += 1
        return TellingPolicy(self._versions, self.chunk)

    def _make_planner(self) -> Planner:
        self.steps = StepExecutor(self.clock, self.receive, lambda: None, self._sleep)
        return Planner(
            self,
            self.slot,
            self,
            self.steps,
            clock=self.clock,
            numbering=Numbering(self.clock.now_ns()),
            config=ExecutionConfig(
                mode=self.mode,
                catches_up=False,  # it would change the numbers that actions tell
                refill=self._rng.randint(0, 9),
                horizon=self._rng.choice([0, 0, 0, 1, 3]),
            ),
            is_operated=self._says_operated,
        )

    def begin(self) -> None:
        """Make ready for another episode."""
        self.is_stopped = self._is_under_way = False
        self.was_operated = self.is_operated
        self.starved = self.steps.starved_ticks

    def _says_operated(self) -> bool:
        said, self._was_taken = self._was_taken or self.is_operated, self.is_operated
        return said

    # --- what may happen at any time -------------------------------------------------------------

    def happen(self) -> None:
        """Let one of the things that other threads do happen, now and then."""
        if self._rng.random() < 0.95:
            return
        self._rng.choice(self._events)()

    def _take_over(self) -> None:
        if self.is_operated:
            self.released_ns = self.clock.now_ns()
        self.is_operated = not self.is_operated
        self._was_taken |= self.is_operated
        self.was_operated = True

    def _offer(self) -> None:
        self.slot.offer(self._new_policy())

    def _recall(self) -> None:
        active = self.slot.active.version
        self.slot.leave(active)

    def _leave_previous(self) -> None:
        previous = self.slot.status().previous
        if previous:
            self.slot.leave(previous)

    def _withdraw(self) -> None:
        if not self.slot.is_recalled:
            self.slot.withdraw()

    def _instruct(self) -> None:
        self.planner.instruct(self._rng.choice(WORDS))

    def _stop(self) -> None:
        self.is_stopped = self._rng.random() < 0.2

    def _sleep(self, deadline_ns: int) -> None:
        self.happen()
        self.clock.sleep_until(deadline_ns)

    # --- eyes ------------------------------------------------------------------------------------

    def newest(self, not_before_ns: int) -> Observation | None:
        """A camera of 30 Hz whose pictures come 40 ms late; each shows the nearest step."""
        self.happen()
        stamp_ns = (self.clock.now_ns() - 40_000_000) // 33_333_333 * 33_333_333
        if stamp_ns < not_before_ns:
            return None
        begun_ns = self.steps.end_ns - PERIOD_NS
        shown = len(self.executed)
        is_whole = shown - 1 not in self.partial
        if shown and is_whole and stamp_ns - begun_ns < PERIOD_NS / 2:
            shown -= 1
        joints = np.full(6, float(shown))
        return Observation(_PICTURE, joints, 1.0, stamp_ns)

    # --- worker ----------------------------------------------------------------------------------

    @property
    def is_busy(self) -> bool:
        self.happen()
        return self._thinking is not None

    def start(self, policy: TellingPolicy, observation: Observation, ahead: Ahead | None) -> None:
        assert self._thinking is None, "two inferences at once"
        if ahead is not None and len(ahead.actions):
            steps = ahead.actions[:, STEP]
            assert np.allclose(steps, observation.joints_rad[0] + np.arange(len(steps)))
        latency_ns = round(self._median_s * self._rng.lognormvariate(0.0, 0.5) * 1e9)
        policy.is_thinking = True
        self._thinking = policy, observation, self.clock.now_ns() + latency_ns
        self._is_wanted = True
        self.happen()

    def take(self) -> Chunk | None:
        self.happen()
        if self._thinking is None or self.clock.now_ns() < self._thinking[2]:
            return None
        (policy, observation, _), self._thinking = self._thinking, None
        policy.is_thinking = False
        return policy.act(observation) if self._is_wanted else None

    def drop(self) -> None:
        self._is_wanted = False

    # --- guard -----------------------------------------------------------------------------------

    def receive(self, proposal: Proposal) -> None:
        """Check what must always hold of an action that goes to the guard."""
        step, action = len(self.executed), proposal.action
        assert abs(action[STEP] - step) < 1e-6, f"step {action[STEP]} was executed as {step}"
        assert abs(action[VERSION] - int(proposal.weights_version[1:])) < 1e-6, (
            "versions were mixed"
        )
        assert abs(action[INSTRUCTION] - round(action[INSTRUCTION])) < 1e-6, (
            "instructions were mixed"
        )
        said = WORDS[round(action[INSTRUCTION])]
        assert said == self.planner.instruction, "the instruction that it claims is another"
        assert proposal.weights_version == self.slot.active.version, "other weights act"
        assert not self.slot.is_recalled, "recalled weights act"
        assert not self.is_operated, "the policy acts under the operator's hand"
        assert proposal.stamp_ns >= self.released_ns, "seen before the operator let go"
        if self.executed:
            last = self.executed[-1]
            assert proposal.sequence > last.sequence
            assert proposal.chunk_id >= last.chunk_id
            gap_ns = proposal.deadline_ns - PERIOD_NS - self._end_ns
            assert gap_ns >= 0, "two actions in one period"
            if self._is_under_way:
                self.starved += (gap_ns + PERIOD_NS // 2) // PERIOD_NS
            is_counted = self.steps.starved_ticks == self.starved
            assert is_counted or self.was_operated, "starved ticks are miscounted"
        self._is_under_way = True
        self.executed.append(proposal)

    def is_cancelled(self) -> bool:
        self.happen()
        return self.is_stopped

    def on_step(self, count: int, proposal: Proposal) -> None:
        assert proposal.sequence == self.executed[-1].sequence
        self._end_ns = self.steps.end_ns
        if self._end_ns < self.executed[-1].deadline_ns:
            self.partial.add(len(self.executed) - 1)


def run_world(seed: int, episodes: int = 2, max_steps: int = 8) -> World:
    """Run episodes of one seed, checking every action; return the world for the counts."""
    world = World(seed)
    for _ in range(episodes):
        world.begin()
        deadline_ns = world.clock.now_ns() + 5_000_000_000

        def is_cancelled(deadline_ns: int = deadline_ns) -> bool:
            return world.is_cancelled() or world.clock.now_ns() > deadline_ns

        run_episode(
            world.planner,
            world.steps,
            EpisodeTask(instruction="open", max_steps=max_steps),
            is_cancelled=is_cancelled,
            on_step=world.on_step,
        )
    return world
