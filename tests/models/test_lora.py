"""Low-rank updates: nothing at first, the same output once merged, the keys of before."""

import pytest
import torch

from robot_agent.models.lora import LoraConfig, add_lora, merge_lora, trainable
from robot_agent.models.tiny_world import TinyWorld, TinyWorldConfig
from robot_agent.models.worldgym.network import Dit, DitConfig


def world():
    torch.manual_seed(0)
    network = TinyWorld(TinyWorldConfig(channels=(8, 16, 16), condition=16)).eval()
    generator = torch.Generator().manual_seed(1)
    pictures = torch.rand(2, 2, 3, 64, 64, generator=generator)
    numbers = torch.rand(3, 2, 7, generator=generator)
    return network, (*pictures, *numbers)


def dit():
    torch.manual_seed(0)
    size = DitConfig(channels=3, latent_px=8, patch=4, embedding=16, depth=1, heads=2)
    network = Dit(size).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.2)
    generator = torch.Generator().manual_seed(1)
    latents = torch.rand(2, 3, 3, 8, 8, generator=generator)
    return network, (latents, torch.full((2, 3), 100), torch.rand(2, 3, 10, generator=generator))


def answer(network, inputs):
    with torch.no_grad():
        found = network(*inputs)
    return torch.cat(
        [part.flatten() for part in (found if isinstance(found, tuple) else (found,))]
    )


def stir(network):
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in trainable(network):
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))


@pytest.mark.parametrize("make", [world, dit])
def test_an_update_is_nothing_at_first_and_merging_it_keeps_the_output(make):
    network, inputs = make()
    keys, before = list(network.state_dict()), answer(network, inputs)
    add_lora(network, LoraConfig(rank=2))
    assert torch.equal(answer(network, inputs), before)
    stir(network)
    stirred = answer(network, inputs)
    assert not torch.allclose(stirred, before, atol=1e-3)
    merge_lora(network)
    assert torch.allclose(answer(network, inputs), stirred, atol=1e-5)
    assert list(network.state_dict()) == keys


@pytest.mark.parametrize("make", [world, dit])
def test_only_the_update_is_trained_and_it_is_small(make):
    network, _ = make()
    whole = sum(parameter.numel() for parameter in network.parameters())
    fixed = {name: value.clone() for name, value in network.state_dict().items()}
    add_lora(network, LoraConfig(rank=1))
    assert 0 < sum(parameter.numel() for parameter in trainable(network)) < whole / 2
    stir(network)
    held = network.state_dict()
    left = [name.replace(".base_layer", "") for name in held if ".lora_" not in name]
    assert sorted(left) == sorted(fixed)
    assert all(
        torch.equal(value, fixed[name.replace(".base_layer", "")])
        for name, value in held.items()
        if ".lora_" not in name
    )


def test_rank_zero_trains_every_weight():
    network, _ = world()
    add_lora(network, LoraConfig())
    assert len(trainable(network)) == len(list(network.parameters()))
    merge_lora(network)


def test_a_scale_doubles_what_an_update_does():
    found = []
    for scale in (1.0, 2.0):
        network, _ = world()
        before = network.stem.weight.detach().clone()
        torch.manual_seed(5)
        add_lora(network, LoraConfig(rank=2, scale=scale))
        with torch.no_grad():
            for parameter in trainable(network):
                parameter.fill_(0.1)
        merge_lora(network)
        found.append(network.stem.weight - before)
    assert torch.allclose(2.0 * found[0], found[1], atol=1e-6)
