"""What every `WorldModel` promises: action t leads from frame t to frame t+1."""

import numpy as np
import pytest
import torch

from robot_agent.core.errors import InputError
from robot_agent.models.cosmos import CosmosConfig, CosmosImagination
from robot_agent.models.small_autoencoder import PixelAutoencoder
from robot_agent.models.tiny_imagination import TinyImagination
from robot_agent.models.tiny_world import TinyWorld, TinyWorldConfig
from robot_agent.models.worldgym.imagination import DitImagination, ImaginationConfig
from robot_agent.models.worldgym.network import Dit, DitConfig
from robot_agent.models.worldgym.sampler import Sampler, SamplerConfig
from tests.contracts.worlds import CountingWorld, Folded, counting_action, observations
from tests.models.tiny_cosmos import tiny_cosmos


def untrained_imagination():
    torch.manual_seed(5)
    network = TinyWorld()
    with torch.no_grad():  # louder than at birth, so that actions show in the first frames
        network.head.weight.mul_(20.0)
    return TinyImagination(network)


def untrained_dit_imagination():
    torch.manual_seed(5)
    network = Dit(DitConfig(channels=3, latent_px=64, patch=16, embedding=32, depth=2, heads=2))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.1)
    sampler = Sampler(network, SamplerConfig(steps=1, chunk=2))
    return DitImagination(sampler, PixelAutoencoder(), ImaginationConfig(picture_px=64))


def untrained_cosmos_imagination():
    return CosmosImagination(tiny_cosmos(), CosmosConfig(picture_px=64, chunk=4, steps=1))


def untrained_latent_imagination():
    torch.manual_seed(5)
    network = TinyWorld(TinyWorldConfig(seen=12, patch=2))
    with torch.no_grad():
        network.head.weight.mul_(20.0)
    return TinyImagination(network, Folded(), 64)


IMAGINATIONS = [
    untrained_imagination,
    untrained_latent_imagination,
    untrained_dit_imagination,
    untrained_cosmos_imagination,
]


@pytest.fixture(
    params=[
        *IMAGINATIONS,
        lambda: CountingWorld(strict=False),
    ],
    ids=["TinyImagination", "latents", "DitImagination", "CosmosImagination", "CountingWorld"],
)
def make_world(request):
    return request.param


def roll(world, seen, actions_TBA):
    frames = [world.reset(seen)]
    frames += [world.step(actions) for actions in actions_TBA]
    return np.stack(frames)


def some_actions(steps, batch, seed=1):
    return np.random.default_rng(seed).uniform(-0.05, 0.05, (steps, batch, 7))


def test_frames_are_pictures_of_the_batch(make_world):
    frames = roll(make_world(), observations(3), some_actions(2, 3))
    assert frames.shape == (3, 3, 64, 64, 3)
    assert frames.dtype == np.uint8


def test_the_same_actions_give_the_same_frames(make_world):
    actions = some_actions(3, 2)
    frames = [roll(make_world(), observations(2), actions) for _ in range(2)]
    assert np.array_equal(*frames)


def test_the_past_does_not_depend_on_later_actions(make_world):
    actions = some_actions(4, 2)
    changed = actions.copy()
    changed[3] += 0.05
    early, late = (roll(make_world(), observations(2), a) for a in (actions, changed))
    assert np.array_equal(early[:4], late[:4])


def test_reset_forgets_the_rollout_before(make_world):
    world, actions = make_world(), some_actions(2, 2)
    first = roll(world, observations(2), actions)
    roll(world, observations(5, seed=9), some_actions(3, 5))
    assert np.array_equal(first, roll(world, observations(2), actions))


def test_keeping_some_rows_equals_a_smaller_batch(make_world):
    seen, actions = observations(4), some_actions(3, 4)
    world = make_world()
    world.reset(seen)
    world.step(actions[0])
    world.keep([1, 3])
    kept = [world.step(a[[1, 3]]) for a in actions[1:]]
    whole = roll(make_world(), seen, actions)[2:]
    same = np.abs(np.stack(kept)[..., 1:].astype(int) - whole[:, [1, 3], ..., 1:].astype(int))
    assert same.max() <= 2


def test_keeping_no_row_leaves_an_empty_batch(make_world):
    world = make_world()
    world.reset(observations(2))
    world.keep([])
    with pytest.raises(InputError):
        world.step(some_actions(1, 2)[0])


@pytest.mark.parametrize(
    "actions",
    [np.zeros((2, 6)), np.zeros((3, 7)), np.zeros(7), np.full((2, 7), np.nan),
     np.full((2, 7), np.inf), np.full((2, 7), 12.0)],
    ids=["six numbers", "another batch", "no batch", "NaN", "infinite", "centimetres"],
)  # fmt: skip
def test_actions_of_another_kind_are_refused(make_world, actions):
    world = make_world()
    first = world.reset(observations(2))
    with pytest.raises(InputError):
        world.step(actions)
    assert np.isfinite(first).all()


@pytest.mark.parametrize("make", IMAGINATIONS)
def test_the_message_of_a_wrong_scale_names_value_limit_and_remedy(make):
    world = make()
    world.reset(observations(1))
    with pytest.raises(InputError) as refused:
        world.step(np.full((1, 7), 12.0))
    assert str(refused.value) == (
        "actions: largest component 12.00 is over 0.5 m or rad: these are not Bridge actions. "
        "Un-normalise them first."
    )


@pytest.mark.parametrize("make", IMAGINATIONS)
def test_the_order_of_the_batch_does_not_matter_to_the_imagination(make):
    seen, actions = observations(3), some_actions(3, 3)
    order = [2, 0, 1]
    whole = roll(make(), seen, actions)
    turned = roll(make(), [seen[i] for i in order], actions[:, order])
    assert np.abs(whole[:, order].astype(int) - turned.astype(int)).max() <= 2


@pytest.mark.parametrize("make", IMAGINATIONS)
def test_an_action_changes_the_very_next_frame_of_its_own_rollout(make):
    seen, actions = observations(2), some_actions(2, 2)
    changed = actions.copy()
    changed[1, 0] = -0.05
    changed[1, 0, :3] = 0.05
    before, after = (roll(make(), seen, a) for a in (actions, changed))
    assert np.array_equal(before[1], after[1])
    assert not np.array_equal(before[2, 0], after[2, 0])
    assert np.array_equal(before[2, 1], after[2, 1])


def test_the_counting_world_takes_action_t_at_frame_t():
    world = CountingWorld()
    frames = world.reset(observations(1))
    for step in range(4):
        assert frames[0, 0, 0, 1] == step
        frames = world.step(counting_action(step)[None])


@pytest.mark.parametrize("shift", [-1, 1])
def test_the_counting_world_refuses_a_shifted_action(shift):
    world = CountingWorld()
    world.reset(observations(1))
    world.step(counting_action(0)[None])
    with pytest.raises(AssertionError, match="action was chosen for frame"):
        world.step(counting_action(1 + shift)[None])
