"""Weights change whole, at a boundary, with a way back."""

import sys
import threading
from dataclasses import dataclass

import numpy as np
import pytest

from robot_agent.act.policy_slot import PolicySlot
from robot_agent.core.errors import SwapRefusedError
from robot_agent.core.types import Chunk, Observation


@dataclass(frozen=True)
class TaggedPolicy:
    """Writes its version into every number of a chunk."""

    version: str

    def reset(self, instruction: str, seed: int) -> None:
        pass

    def act(self, observation: Observation | None) -> Chunk:
        return Chunk(np.full((5, 7), float(self.version)), self.version, 0, 0)


def test_an_offer_waits_for_the_boundary():
    slot = PolicySlot(TaggedPolicy("1"))
    slot.offer(TaggedPolicy("2"))
    assert slot.active.version == "1"
    assert slot.candidate is not None
    assert slot.swap_at_boundary().version == "2"
    status = slot.status()
    assert (status.active, status.candidate, status.previous) == ("2", "", "1")
    assert (status.offered, status.swapped) == (1, 1)
    assert 0 < status.last_swap_s < 0.001


def test_a_boundary_without_an_offer_changes_nothing():
    slot = PolicySlot(TaggedPolicy("1"))
    assert slot.swap_at_boundary().version == "1"
    assert slot.status().swapped == 0


def test_a_newer_offer_replaces_a_waiting_one():
    slot = PolicySlot(TaggedPolicy("1"))
    slot.offer(TaggedPolicy("2"))
    slot.offer(TaggedPolicy("3"))
    assert slot.swap_at_boundary().version == "3"
    assert slot.status().previous == "1"


def test_an_offer_of_the_active_version_drops_the_one_that_waits():
    slot = PolicySlot(TaggedPolicy("1"))
    slot.offer(TaggedPolicy("2"))
    slot.offer(TaggedPolicy("1"))
    assert slot.swap_at_boundary().version == "1"
    assert (slot.status().candidate, slot.status().swapped) == ("", 0)


def test_a_roll_back_returns_the_previous_weights_at_the_boundary():
    slot = PolicySlot(TaggedPolicy("1"))
    slot.offer(TaggedPolicy("2"))
    slot.swap_at_boundary()
    slot.offer(TaggedPolicy("3"))
    slot.roll_back()
    assert slot.active.version == "2"
    assert slot.swap_at_boundary().version == "1"
    assert slot.status().rolled_back == 1
    with pytest.raises(SwapRefusedError, match="has no previous policy"):
        slot.roll_back()  # never back to the weights that were left


def test_what_cannot_be_done_is_refused():
    slot = PolicySlot(TaggedPolicy("1"))
    with pytest.raises(SwapRefusedError, match="is active already"):
        slot.offer(TaggedPolicy("1"))
    with pytest.raises(SwapRefusedError, match="has no previous policy"):
        slot.roll_back()
    slot.offer(TaggedPolicy("2"))
    assert slot.withdraw()
    assert not slot.withdraw()
    assert slot.swap_at_boundary().version == "1"


def test_under_a_storm_of_offers_no_chunk_mixes_versions():
    slot = PolicySlot(TaggedPolicy("0"))
    stop = threading.Event()

    def storm() -> None:
        version = 1
        while not stop.is_set():
            slot.offer(TaggedPolicy(str(version)))
            if version % 7 == 0 and slot.status().previous:
                slot.roll_back()
            version += 1

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    thread = threading.Thread(target=storm)
    thread.start()
    torn = chunks = 0
    try:
        while slot.status().swapped < 200 and chunks < 200_000:
            chunks += 1
            policy = slot.swap_at_boundary()
            chunk = policy.act(None)
            torn += int((chunk.actions != float(chunk.weights_version)).any())
            torn += int(policy.version != chunk.weights_version)
    finally:
        stop.set()
        thread.join()
        sys.setswitchinterval(interval)
    assert torn == 0
    assert slot.status().swapped >= 200


def test_weights_that_take_turns_are_both_kept():
    slot = PolicySlot(TaggedPolicy("1"))
    slot.offer(TaggedPolicy("2"))
    slot.swap_at_boundary()
    for version, other in (("1", "2"), ("2", "1"), ("2", "1")):
        slot.turn_to(version)
        status = slot.status()
        assert (status.active, status.previous, status.candidate) == (version, other, "")
    with pytest.raises(SwapRefusedError, match="neither active nor previous"):
        slot.turn_to("3")
    slot.offer(TaggedPolicy("3"))
    with pytest.raises(SwapRefusedError, match="3 waits to act"):
        slot.turn_to("1")


def test_weights_that_are_left_are_recalled_and_forgotten():
    slot = PolicySlot(TaggedPolicy("1"))
    slot.offer(TaggedPolicy("2"))
    slot.swap_at_boundary()
    assert not slot.is_recalled
    slot.leave("2")
    assert slot.is_recalled
    assert slot.swap_at_boundary().version == "1"
    assert not slot.is_recalled
    assert slot.status().previous == ""


def test_weights_that_are_left_while_the_others_act_are_forgotten_in_silence():
    slot = PolicySlot(TaggedPolicy("1"))
    slot.offer(TaggedPolicy("2"))
    slot.swap_at_boundary()
    slot.turn_to("1")
    slot.leave("2")
    assert not slot.is_recalled
    assert (slot.status().active, slot.status().previous) == ("1", "")
    slot.leave("1")
    assert slot.swap_at_boundary().version == "1", "the only weights in memory act on"
