"""The tiny policy as a `Policy`: seeds, instructions, picture sizes, versions."""

import numpy as np
import pytest
import torch

from robot_agent.core.errors import InputError
from robot_agent.core.types import Observation
from robot_agent.models.tiny_policy import TinyPolicy
from robot_agent.models.tiny_vla import TinyVla

KNOWN = ("open the drawer", "close the drawer")


@pytest.fixture(scope="module")
def vla():
    torch.manual_seed(0)
    return TinyVla(TinyPolicy(), KNOWN, version="v7")


def observe(size=(64, 64), seed=0):
    image = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    return Observation(image_hwc=image, joints_rad=np.zeros(6), gripper=1.0, stamp_ns=77)


def chunks(vla, seed, instruction="open the drawer", count=2):
    vla.reset(instruction, seed)
    return np.stack([vla.act(observe()).actions for _ in range(count)])


def test_the_same_seed_gives_the_same_chunks(vla):
    assert np.array_equal(chunks(vla, 3), chunks(vla, 3))


def test_another_seed_gives_other_chunks(vla):
    assert not np.array_equal(chunks(vla, 3), chunks(vla, 4))


def test_the_second_chunk_is_a_new_draw(vla):
    first, second = chunks(vla, 3)
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("instruction", ["", "  ", "fold the towel"])
def test_an_unknown_instruction_is_refused_with_the_known_ones(vla, instruction):
    with pytest.raises(InputError) as refused:
        vla.reset(instruction, 0)
    assert str(refused.value) == (
        f"instruction '{instruction}' is of no task these weights know. "
        f"Choose one of: open the drawer, close the drawer."
    )


@pytest.mark.parametrize("size", [(64, 64), (480, 640), (37, 91), (1, 1)])
def test_a_picture_of_any_size_gives_a_finite_chunk(vla, size):
    vla.reset(KNOWN[0], 0)
    chunk = vla.act(observe(size))
    assert chunk.actions.shape == (5, 7)
    assert np.isfinite(chunk.actions).all()
    assert np.abs(chunk.actions).max() <= 1.0


def test_every_chunk_carries_version_stamp_and_its_own_number(vla):
    vla.reset(KNOWN[1], 0)
    found = [vla.act(observe()) for _ in range(3)]
    assert {chunk.weights_version for chunk in found} == {"v7"}
    assert {chunk.observation_stamp_ns for chunk in found} == {77}
    assert np.diff([chunk.chunk_id for chunk in found]).tolist() == [1, 1]


def test_a_policy_at_temperature_zero_is_its_golden_self():
    network = TinyPolicy()
    vla = TinyVla(network, KNOWN, version="v1", temperature=0.0)
    vla.reset(KNOWN[1], 5)
    chunk = vla.act(observe())
    golden = vla.act_greedy(observe().image_hwc[None], [1])
    assert np.array_equal(chunk.actions, golden[0])
