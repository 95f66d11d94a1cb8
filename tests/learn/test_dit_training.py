"""The published architecture trains at small size, and its samplers are compared."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from robot_agent.cli import main
from robot_agent.core.errors import ConfigError, InputError
from robot_agent.learn.dit_pretraining import HORIZONS
from robot_agent.learn.dit_training import DitTrainingConfig, diffusion_loss, train_dit
from robot_agent.learn.fit import FitConfig
from robot_agent.learn.latents import encode_episodes
from robot_agent.learn.picture_scores import ssim
from robot_agent.models.small_autoencoder import PixelAutoencoder
from robot_agent.models.worldgym.loading import load_imagination
from robot_agent.models.worldgym.network import Dit, DitConfig
from robot_agent.models.worldgym.schedule import LEVELS, add_noise, share_at, velocity
from tests.contracts.worlds import observations

SIZE = {"channels": 3, "latent_px": 8, "patch": 4, "embedding": 16, "depth": 1, "heads": 2}


def moving_bars(count=6, steps=22, size=8, seed=0):
    """A bright column that each action moves right or leaves: actions matter and can be learnt."""
    rng = np.random.default_rng(seed)
    moves = rng.integers(0, 2, (count, steps))
    places = (rng.integers(0, size, (count, 1)) + np.cumsum(moves, axis=1)) % size
    places = np.concatenate([places[:, :1] - moves[:, :1], places], axis=1) % size
    images = np.zeros((count, steps + 1, size, size, 3), np.uint8)
    for n, t in np.ndindex(count, steps + 1):
        images[n, t, :, places[n, t]] = 255
    actions = np.zeros((count, steps, 7))
    actions[..., 0] = np.where(moves, 0.05, -0.05)
    return images, actions


def episodes():
    images, actions = moving_bars()
    return encode_episodes(PixelAutoencoder(), torch.from_numpy(images), actions)


def config(steps=4, **changes):
    fit = FitConfig(steps=steps, learning_rate=3e-3, warmup_steps=2)
    return DitTrainingConfig(fit=fit, batch=4, frames=5, **changes)


def trained(seed=0, **changes):
    torch.manual_seed(seed)
    network = Dit(DitConfig(**SIZE))
    return network, *train_dit(network, episodes(), config(**changes), seed)


def test_training_lowers_the_loss_and_the_average_follows():
    network, averaged, metrics = trained(steps=80, ema_decay=0.9)
    generator = torch.Generator().manual_seed(9)
    found, slots = episodes().latents_NTCHW[:, :5].float(), episodes().slots_NTA[:, :5]
    with torch.no_grad():
        losses = [float(diffusion_loss(n, found, slots, generator.manual_seed(9)))
                  for n in (Dit(DitConfig(**SIZE)), network, averaged)]  # fmt: skip
    assert losses[1] < 0.7 * losses[0]
    assert losses[2] < 0.8 * losses[0]
    assert metrics["loss"] < losses[0]
    assert not torch.equal(network.x_proj.weight, averaged.x_proj.weight)


def test_the_same_seed_trains_the_same_network():
    first, second, other = (trained(seed)[1].state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_every_frame_has_its_own_noise_and_the_target_undoes_it():
    latents = torch.randn(2, 3, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(2, 3, 1, 2, 2, generator=torch.Generator().manual_seed(1))
    levels = torch.tensor([[0, 500, LEVELS - 1], [14, 900, 3]])
    noised, v = add_noise(latents, levels, noise), velocity(latents, levels, noise)
    share = (noised - latents).square().mean(dim=(2, 3, 4))
    assert share[0, 0] < share[0, 1] < share[0, 2]
    clean = share_at(levels).sqrt() * noised - (1 - share_at(levels)).sqrt() * v
    assert torch.allclose(clean, latents, atol=1e-5)


def test_clips_longer_than_the_episodes_are_refused():
    with pytest.raises(InputError, match="clips of 40 frames, must be at most the 23"):
        train_dit(
            Dit(DitConfig(**SIZE, window=50)),
            episodes(),
            DitTrainingConfig(fit=FitConfig(steps=1), frames=40),
            0,
        )


def test_structural_similarity_is_that_of_the_paper():
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 9, 9)), rng.random((2, 9, 9))
    found = []
    for c, i, j in np.ndindex(2, 3, 3):
        x, y = a[c, i : i + 7, j : j + 7].ravel(), b[c, i : i + 7, j : j + 7].ravel()
        (xx, xy), (_, yy) = np.cov(x, y)
        top = (2 * x.mean() * y.mean() + 1e-4) * (2 * xy + 9e-4)
        found.append(top / ((x.mean() ** 2 + y.mean() ** 2 + 1e-4) * (xx + yy + 9e-4)))
    tensors = (torch.from_numpy(p)[None] for p in (a, b))
    assert ssim(*tensors) == pytest.approx(np.mean(found), abs=1e-9)
    assert ssim(torch.ones(1, 3, 9, 9), torch.ones(1, 3, 9, 9)) == pytest.approx(1.0)


@pytest.mark.slow
def test_a_user_trains_it_and_compares_its_samplers(tmp_path, capsys):
    images, actions = moving_bars()
    data, out = tmp_path / "play.safetensors", tmp_path / "dit"
    save_file({"images": images, "actions": actions}, data)
    settings = [f"network.{key}={value}" for key, value in SIZE.items()]
    settings += ["training.fit.steps=3", "training.batch=2", "training.frames=4"]
    words = ["world", "train", "--family", "dit", "--data", str(data), "--out", str(out), "--json"]
    assert main([*words, *(word for s in settings for word in ("--set", s))]) == 0
    made = json.loads(capsys.readouterr().out)["results"]
    assert made["episodes"] == 6
    assert made["training"]["loss"] > 0.0
    world = load_imagination(out, "pixels")
    assert world.reset(observations(2)).shape == (2, 8, 8, 3)
    assert world.step(np.zeros((2, 7))).shape == (2, 8, 8, 3)
    with pytest.raises(ConfigError, match="autoencoder taesd3: needs the folder"):
        load_imagination(out, "taesd3")
    words = ["world", "samplers", "--weights", str(out), "--data", str(data), "--json"]
    assert main([*words, "--episodes", "2"]) == 0
    samplers = json.loads(capsys.readouterr().out)["results"]["samplers"]
    assert {"published", "published, causal", "ours, 1 steps, guidance 1, chunk 5"} <= set(
        samplers
    )
    for entry in samplers.values():
        assert set(entry["psnr"]) == set(entry["ssim"]) == {str(h) for h in HORIZONS}
        assert entry["fps"] > 0.0
