"""A policy under an operator's hand waits, shows life, and looks again when it is let go."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from robot_agent.act.observation import ObservationPairing
from robot_agent.act.planner import EpisodeTask
from robot_agent.act.policy_slot import PolicySlot
from robot_agent.core import wx250s
from robot_agent.core.types import Chunk, Observation, Proposal
from robot_agent.ros.clock import ScaledClock
from robot_agent.ros.policy_runner import PolicyRunner, RunnerConfig


class Seeing:
    """A policy that remembers when what it was shown was seen."""

    version = "v1"

    def __init__(self) -> None:
        self.seen_ns: list[int] = []

    def reset(self, instruction: str, seed: int) -> None:
        pass

    def act(self, observation: Observation) -> Chunk:
        self.seen_ns.append(observation.stamp_ns)
        return Chunk(
            actions=np.zeros((2, 7)),
            chunk_id=0,
            weights_version=self.version,
            observation_stamp_ns=observation.stamp_ns,
        )


class Alone:
    """Nobody proves these weights."""

    speed = 1.0

    def begin_episode(self, task: EpisodeTask) -> None:
        pass

    def instruct(self, instruction: str) -> None:
        pass

    def saw(self, observation: Observation, chunk: Chunk, seconds: float) -> None:
        pass

    def end_episode(self) -> None:
        pass


class Bench:
    """A runner with a camera of 50 Hz, an operator, and a count of the signs of life."""

    def __init__(self) -> None:
        self.clock, self.pairing, self.policy = ScaledClock(), ObservationPairing(), Seeing()
        self.hand, self.end = threading.Event(), threading.Event()
        self.sent: list[Proposal] = []
        self.signs = 0
        self.runner = PolicyRunner(
            PolicySlot(self.policy),
            self.pairing,
            self.clock,
            RunnerConfig(),
            send=self.sent.append,
            heartbeat=self._beat,
            why_not=lambda: "",
            witness=Alone(),
        )
        self.runner.is_operated = self.hand.is_set
        self._camera = threading.Thread(target=self._film, daemon=True)
        self._camera.start()

    def _beat(self) -> None:
        self.signs += 1

    def _film(self) -> None:
        picture = np.zeros((8, 8, 3), np.uint8)
        while not self.end.wait(0.02):
            now_ns = self.clock.now_ns()
            self.pairing.add_joints(wx250s.NEUTRAL_RAD, 1.0, now_ns)
            self.pairing.add_image(picture, now_ns)

    def close(self) -> None:
        self.end.set()
        self._camera.join(2.0)
        self.runner.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.close()


def test_the_policy_acts_on_what_it_sees_after_the_operator_let_go(bench: Bench) -> None:
    bench.hand.set()
    released: list[int] = []

    def release() -> None:
        released.append(bench.clock.now_ns())
        bench.hand.clear()

    threading.Timer(0.6, release).start()
    steps, reason = bench.runner.run(
        EpisodeTask(instruction="open", max_steps=2), lambda: False, lambda *_: None
    )
    assert (steps, reason) == (2, "")
    assert bench.policy.seen_ns[0] >= released[0]
    assert bench.signs > 10, "a policy that waits must not look dead"


def test_an_episode_that_is_ended_under_the_operators_hand_ends(bench: Bench) -> None:
    bench.hand.set()
    told = threading.Event()
    threading.Timer(0.3, told.set).start()
    steps, reason = bench.runner.run(
        EpisodeTask(instruction="open", max_steps=2), told.is_set, lambda *_: None
    )
    assert steps == 0
    assert "operator had control" in reason
    assert not bench.sent
