"""The shadow's thread beside a real episode loop: nothing waits for it, whatever happens there."""

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from robot_agent.act.observation import ObservationPairing
from robot_agent.act.planner import EpisodeTask
from robot_agent.act.policy_slot import PolicySlot
from robot_agent.core.types import Chunk, Observation, Proposal
from robot_agent.release.promotion import Promotion
from robot_agent.release.road import PromotionConfig, Stage
from robot_agent.release.shadow import ShadowConfig
from robot_agent.ros.clock import ScaledClock
from robot_agent.ros.policy_runner import PolicyRunner, RunnerConfig
from robot_agent.ros.shadow_thread import ShadowThread
from tests.release.test_promotion import Ledger
from tests.ros.running import until

FACTOR = 4.0
CONFIG = PromotionConfig(shadow=ShadowConfig(min_observations=3, max_latency_ratio=100.0))


class Steady:
    """Small steps; what a subclass does in `act` comes first."""

    def __init__(self, version: str) -> None:
        self.version, self.resets = version, []

    def reset(self, instruction: str, seed: int) -> None:
        self.resets.append((instruction, seed))

    def act(self, observation: Observation) -> Chunk:
        self.trouble()
        actions = np.tile([0.001, 0, 0, 0, 0, 0, 1.0], (5, 1))
        return Chunk(actions, self.version, 1, observation.stamp_ns)

    def trouble(self) -> None:
        """None."""


class Hanging(Steady):
    def trouble(self) -> None:
        if len(self.resets) > 1:  # it has warmed up
            threading.Event().wait()


class HangingAtOnce(Steady):
    def trouble(self) -> None:
        threading.Event().wait()


class Raising(Steady):
    def trouble(self) -> None:
        raise RuntimeError("no memory left on the device")


class Place:
    """A runner with its shadow, fed with pictures, over a registry of words."""

    def __init__(self) -> None:
        self.clock = ScaledClock(FACTOR)
        self.ledger, self.slot, self.sent = Ledger(), PolicySlot(Steady("old")), []
        weights: Any = self.ledger
        self.promotion = Promotion(weights, self.slot, CONFIG)
        self.shadow = ShadowThread(self.promotion, self.clock.wall_seconds(1_000_000_000))
        self.pairing = ObservationPairing()
        self.runner = PolicyRunner(
            self.slot,
            self.pairing,
            self.clock,
            RunnerConfig(max_image_age_s=2.0),
            send=self.sent.append,
            heartbeat=lambda: None,
            why_not=lambda: "",
            witness=self.shadow,
        )
        self.ended = threading.Event()
        threading.Thread(target=self._feed, daemon=True).start()

    def _feed(self) -> None:
        rng = np.random.default_rng(1)
        while not self.ended.wait(0.01):
            now_ns = self.clock.now_ns()
            self.pairing.add_joints(np.zeros(6), 1.0, now_ns)
            self.pairing.add_image(rng.integers(0, 255, (8, 8, 3), np.uint8), now_ns)

    def run(self, chunks: int) -> list[Proposal]:
        """Run an episode and return what it proposed."""
        self.sent.clear()
        task = EpisodeTask(instruction="open", seed=7, max_steps=5 * chunks)
        steps, reason = self.runner.run(task, lambda: False, lambda *_: None)
        assert (steps, reason) == (5 * chunks, "")
        return list(self.sent)


@pytest.fixture
def place() -> Iterator[Place]:
    made = Place()
    yield made
    made.ended.set()
    made.shadow.close()
    made.runner.close()


def test_a_candidate_watches_and_then_both_of_a_pair_act_at_half_speed(place: Place) -> None:
    candidate = Steady("new")
    place.promotion.begin(candidate)
    seen = [(p.weights_version, p.speed) for p in place.run(6)]
    assert set(seen) == {("old", 1.0)}
    until(lambda: place.promotion.progress.stage is Stage.ARMED, 5.0, "it is armed")
    assert set(candidate.resets) == {("open", 7)}, "it is asked for the same as the acting ones"
    for version in ("new", "old"):
        assert {(p.weights_version, p.speed) for p in place.run(1)} == {(version, 0.5)}
        place.promotion.report(version, "success", "Ada")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Hanging, "must be at most 0.25 s"),
        (HangingAtOnce, "must be at most 2.50 s"),
        (Raising, "shadow: raised RuntimeError: no memory left on the device"),
    ],
)
def test_what_a_candidate_does_never_holds_up_the_episode(
    place: Place, kind: type[Steady], words: str
) -> None:
    place.run(6)
    alone = place.runner.status.starved_ticks
    place.promotion.begin(kind("new"))
    assert {p.weights_version for p in place.run(6)} == {"old"}
    beside = place.runner.status.starved_ticks - alone
    assert beside <= alone + 3, f"{beside} ticks starved, {alone} without a shadow"
    while place.promotion.progress.stage is Stage.SHADOW:
        place.run(6)
    assert any(words in told for told in place.ledger.told), place.ledger.told
    assert place.promotion.progress.stage is Stage.NONE
    place.promotion.begin(Steady("newer"))
    place.run(6)
    until(
        lambda: place.promotion.progress.stage is Stage.ARMED, 5.0, "the next one is not hindered"
    )
