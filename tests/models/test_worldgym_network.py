"""The network is the published one: its size, its formulas, its causality."""

import numpy as np
import pytest
import torch

from robot_agent.models.worldgym.cache import FrameCache
from robot_agent.models.worldgym.network import Dit, DitConfig, null_action
from robot_agent.models.worldgym.schedule import signal_shares, step_levels
from tests.models import worldgym_reference as reference

SMALL = {"channels": 3, "latent_px": 8, "embedding": 32, "depth": 2, "heads": 2, "window": 4}


def small_network(seed=0, **changes):
    """Weights large enough that every part matters; at birth all blocks are nothing."""
    torch.manual_seed(seed)
    network = Dit(DitConfig(**{**SMALL, **changes}))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    return network.eval().requires_grad_(False)


def weights_of(network):
    return {name: tensor.double().numpy() for name, tensor in network.state_dict().items()}


def some_inputs(frames, seed=1, batch=2, config=None):
    config = config or DitConfig(**SMALL)
    g = torch.Generator().manual_seed(seed)
    size = config.latent_px
    return (
        torch.randn(batch, frames, config.channels, size, size, generator=g),
        torch.randint(0, 1000, (batch, frames), generator=g),
        torch.randn(batch, frames, config.action_dim, generator=g),
    )


def test_the_published_size_counts_608_million_parameters():
    with torch.device("meta"):
        network = Dit()
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == 607_928_384
    assert round(count / 1e6, 1) == 607.9


@pytest.mark.parametrize("rotary", ["standard", "pixel"])
@pytest.mark.parametrize("frames", [1, 3, 6])
def test_the_network_is_the_published_formula(rotary, frames):
    network = small_network(rotary=rotary)
    inputs = some_inputs(frames)
    ours = network(*inputs).numpy()
    for row in range(2):
        parts = (part[row].double().numpy() for part in inputs)
        theirs = reference.predict(weights_of(network), network.config, *parts)
        assert np.abs(theirs).max() > 0.1
        assert np.abs(ours[row] - theirs).max() < 1e-4


def test_both_kinds_of_position_differ():
    inputs = some_inputs(2)
    standard, pixel = (small_network(rotary=kind)(*inputs) for kind in ("standard", "pixel"))
    assert (standard - pixel).abs().max() > 1e-2


def test_the_noise_follows_the_published_schedule():
    assert np.abs(signal_shares().numpy() - reference.signal_shares()).max() < 1e-6
    assert float(signal_shares()[14].sqrt()) == pytest.approx(0.9977, abs=1e-4)
    assert step_levels(10) == [999, 899, 799, 699, 599, 499, 399, 299, 199, 99, -1]


def test_a_frame_does_not_see_later_ones_nor_those_before_its_window():
    network = small_network(depth=1)
    latents, levels, actions = some_inputs(6)
    before = network(latents, levels, actions)
    late = latents.clone()
    late[:, 4] += 1.0
    changed = (network(late, levels, actions) - before).abs().amax(dim=(0, 2, 3, 4))
    assert changed[:4].max() < 1e-6
    assert changed[4:].min() > 1e-3
    early = latents.clone()
    early[:, 0] += 1.0
    changed = (network(early, levels, actions) - before).abs().amax(dim=(0, 2, 3, 4))
    assert changed[:4].min() > 1e-4
    assert changed[4:].max() < 1e-6


@pytest.mark.parametrize("sizes", [(1,) * 9, (2, 3, 1, 3), (3, 3, 3)])
@pytest.mark.parametrize("batch", [1, 3])
def test_frames_through_the_cache_equal_all_frames_at_once(sizes, batch):
    network = small_network()
    latents, levels, actions = some_inputs(9, batch=batch)
    whole = network(latents, levels, actions)
    cache, start = FrameCache(4, 3 + 3), 0
    for size in sizes:
        part = slice(start, start + size)
        found = network(latents[:, part], levels[:, part], actions[:, part], cache, start)
        assert (found - whole[:, part]).abs().max() < 1e-4
        start += size


def test_a_frame_that_is_written_again_replaces_itself():
    network = small_network()
    latents, levels, actions = some_inputs(2)
    whole = network(latents, levels, actions)
    cache = FrameCache(4, 5)
    first = slice(0, 1)
    network(latents[:, first] + 3.0, levels[:, first], actions[:, first], cache, 0)
    network(latents[:, first], levels[:, first], actions[:, first], cache, 0)
    found = network(latents[:, 1:], levels[:, 1:], actions[:, 1:], cache, 1)
    assert (found - whole[:, 1:]).abs().max() < 1e-4


def test_an_untrained_network_answers_zero_and_its_blocks_change_nothing():
    torch.manual_seed(0)
    network = Dit(DitConfig(**SMALL))
    assert network(*some_inputs(2)).abs().max() == 0.0


def test_standing_still_is_not_the_unknown_action():
    null = null_action(torch.ones(1, 1, 10))
    assert null.tolist() == [[[0.0] * 9 + [1.0]]]
    network = small_network()
    latents, levels, actions = some_inputs(1)
    still, unknown = (network(latents, levels, a) for a in (actions * 0, null_action(actions)))
    assert (still - unknown).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"embedding": 36}, "multiple of 4 heads"), ({"latent_px": 9}, "latent_px=9 must be"),
     ({"depth": 0}, "depth=0 is outside")],
)  # fmt: skip
def test_a_size_that_does_not_divide_is_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        DitConfig(**{**SMALL, **changes})
