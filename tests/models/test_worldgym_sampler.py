"""Our sampler gives what the formula gives, whatever is kept, joined or left out."""

import numpy as np
import pytest
import torch

from robot_agent.models.worldgym.published import PublishedConfig, PublishedSampler
from robot_agent.models.worldgym.sampler import Sampler, SamplerConfig
from tests.models import worldgym_reference as reference
from tests.models.test_worldgym_network import small_network, weights_of

FRAMES = 9
"""More than twice the window of four."""


def some_rollouts(batch, seed=2):
    g = torch.Generator().manual_seed(seed)
    starts = torch.randn(batch, 1, 3, 8, 8, generator=g)
    return starts, torch.randn(batch, FRAMES, 10, generator=g)


def roll(sampler, starts, actions, chunk=1):
    sampler.reset(starts)
    return torch.cat([sampler.step(part) for part in actions.split(chunk, dim=1)], dim=1)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize(("batch", "chunk", "steps"), [(1, 1, 3), (3, 1, 1), (2, 5, 2), (4, 3, 1)])
def test_kept_keys_and_values_change_no_frame(batch, chunk, steps, guidance):
    network, (starts, actions) = small_network(), some_rollouts(batch)
    kept, afresh = (
        roll(
            Sampler(network, SamplerConfig(steps=steps, guidance=guidance, chunk=chunk, cached=c)),
            starts, actions, chunk,
        )
        for c in (True, False)
    )  # fmt: skip
    by_frame = (kept - afresh).abs().amax(dim=(0, 2, 3, 4))
    assert len(by_frame) == FRAMES
    assert by_frame.max() < 1e-4
    assert kept.std() > 0.1


@pytest.mark.parametrize("sampler", ["ours", "published"])
def test_ten_guided_steps_are_the_published_formula(sampler):
    network, (starts, actions) = small_network(), some_rollouts(1)
    actions = actions[:, :3]  # all inside the window, where both agree on what is seen
    made = {
        "ours": Sampler(network, SamplerConfig(steps=10, guidance=3.0, chunk=1), seed=7),
        "published": PublishedSampler(network, PublishedConfig(is_leaking=False), seed=7),
    }[sampler]
    ours = roll(made, starts, actions)[0].numpy()
    noise = [
        torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(7 * 1_000_003 + f)).numpy()
        for f in (1, 2, 3)
    ]
    slots = torch.cat([torch.zeros(1, 10), actions[0]]).double().numpy()
    theirs = reference.sample(
        weights_of(network), network.config, starts[0, 0].double().numpy(), slots, noise
    )
    assert np.abs(ours - theirs).max() < 1e-4


def test_the_published_sampler_cuts_the_window_off():
    network, (starts, actions) = small_network(depth=1), some_rollouts(1)
    made = PublishedSampler(network, PublishedConfig(is_leaking=False, steps=2), seed=0)
    ours = roll(made, starts, actions[:, :6])[0].numpy()
    noise = [
        torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(f)).numpy()
        for f in range(1, 7)
    ]
    slots = torch.cat([torch.zeros(1, 10), actions[0]]).double().numpy()
    theirs = reference.sample(
        weights_of(network), network.config, starts[0, 0].double().numpy(), slots, noise,
        steps=2, window=4,
    )  # fmt: skip
    assert np.abs(ours - theirs).max() < 1e-4


def test_the_published_mistake_is_there_and_can_be_taken_away():
    network, (starts, actions) = small_network(), some_rollouts(1)
    leaking, causal = (
        roll(PublishedSampler(network, PublishedConfig(is_leaking=leaks)), starts, actions)
        for leaks in (True, False)
    )
    assert (leaking - causal).abs().max() > 1e-2


def test_frames_before_an_action_do_not_depend_on_it():
    network, (starts, actions) = small_network(), some_rollouts(2)
    changed = actions.clone()
    changed[:, 5] += 1.0
    config = SamplerConfig(steps=2, chunk=3)
    before, after = (roll(Sampler(network, config), starts, a, 3) for a in (actions, changed))
    assert (before[:, :5] - after[:, :5]).abs().max() < 1e-6
    assert (before[:, 5] - after[:, 5]).abs().max() > 1e-3


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_finished_rollouts_leave_the_batch_and_the_others_do_not_notice(guidance):
    network, (starts, actions) = small_network(), some_rollouts(4)
    config = SamplerConfig(steps=2, guidance=guidance, chunk=2)
    whole = roll(Sampler(network, config), starts, actions, 2)
    sampler = Sampler(network, config)
    sampler.reset(starts)
    sampler.step(actions[:, :4])
    sampler.keep([3, 1])
    rest = sampler.step(actions[[3, 1], 4:6])
    assert (rest - whole[[3, 1], 4:6]).abs().max() < 1e-4
    for _ in range(2):
        sampler.keep([])


def test_the_same_seed_draws_the_same_and_another_seed_does_not():
    network, (starts, actions) = small_network(), some_rollouts(1)
    drawn = [roll(Sampler(network, SamplerConfig(), seed), starts, actions) for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert (drawn[0] - drawn[2]).abs().max() > 1e-2


def test_bfloat16_stays_close_to_float32():
    network, (starts, actions) = small_network(), some_rollouts(2)
    full = roll(Sampler(network, SamplerConfig(steps=2)), starts, actions)
    half = roll(Sampler(small_network().bfloat16(), SamplerConfig(steps=2)), starts, actions)
    assert half.dtype == torch.float32
    assert 0.0 < (full - half).square().mean().sqrt() < 0.1 * full.std()
