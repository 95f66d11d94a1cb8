"""The worker beside the episode's thread: dropped answers, errors, and one that hangs."""

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from robot_agent.core.errors import ArmFaultError, InputError
from robot_agent.core.types import Chunk, Observation
from robot_agent.ros.clock import ScaledClock
from robot_agent.ros.inference_thread import InferenceThread, PatienceConfig
from tests.ros.running import until

SEEN = Observation(np.zeros((1, 1, 3), np.uint8), np.zeros(6), 1.0, 5)


class Gated:
    """Answers when it is let; fails when told."""

    version = "v1"

    def __init__(self) -> None:
        self.gate, self.calls, self.fails = threading.Event(), 0, False

    def act(self, observation: Observation) -> Chunk:
        self.calls += 1
        self.gate.wait(10.0)
        if self.fails:
            raise InputError("the picture is of another size.")
        return Chunk(np.full((2, 7), float(self.calls)), self.version, 1, observation.stamp_ns)


class Desk:
    """A thread, what it told, and a clock that the test does not have to wait for."""

    def __init__(self) -> None:
        self.policy, self.heard = Gated(), []
        self.woken = threading.Event()
        self.inference = InferenceThread(
            ScaledClock(20.0),
            PatienceConfig(max_inference_s=1.0, max_hang_s=4.0),
            self.woken.set,
            lambda observation, chunk, seconds: self.heard.append((observation, chunk, seconds)),
        )

    def start(self) -> None:
        self.inference.start(self.policy, SEEN, None)

    def answer(self) -> None:
        self.policy.gate.set()
        until(lambda: not self.inference.is_thinking, 5.0, "an answer")


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.policy.gate.set()
    made.inference.close()


def test_a_chunk_is_taken_once_and_heard_of_once(desk: Desk) -> None:
    desk.start()
    assert desk.inference.is_busy
    assert desk.inference.take() is None
    desk.answer()
    assert desk.woken.wait(5.0), "whoever waits is woken"
    chunk = desk.inference.take()
    assert chunk is not None
    assert chunk.observation_stamp_ns == SEEN.stamp_ns
    assert desk.inference.take() is None
    assert not desk.inference.is_busy
    assert [entry[0] for entry in desk.heard] == [SEEN]


def test_a_dropped_inference_keeps_the_worker_and_its_chunk_is_never_seen(desk: Desk) -> None:
    desk.start()
    desk.inference.drop()
    assert desk.inference.is_busy, "one worker: no other may begin"
    desk.answer()
    assert desk.inference.take() is None
    assert not desk.inference.is_busy
    assert not desk.heard
    desk.start()
    desk.answer()
    chunk = desk.inference.take()
    assert chunk is not None
    assert chunk.actions[0, 0] == 2.0, "the second one's"


def test_what_the_policy_raises_comes_out_where_the_chunk_would(desk: Desk) -> None:
    desk.policy.fails = True
    desk.start()
    desk.answer()
    with pytest.raises(InputError, match="another size"):
        desk.inference.take()
    assert not desk.inference.is_busy
    desk.start()
    desk.inference.drop()
    desk.answer()
    assert desk.inference.take() is None, "what nobody wants raises nothing"


def test_an_inference_that_hangs_is_given_up_with_its_worker(desk: Desk) -> None:
    desk.start()
    until(lambda: desk.inference.is_overdue, 5.0, "more than a second of the robot's time")
    with pytest.raises(ArmFaultError, match=r"v1: inference took .* limit 4\.0 s. Roll back"):
        until(desk.inference.take, 5.0, "giving up")
    assert not desk.inference.is_busy
    desk.policy.gate.set()
    desk.start()
    until(lambda: not desk.inference.is_thinking, 5.0, "another worker")
    assert desk.inference.take() is not None
