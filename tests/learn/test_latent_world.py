"""The compositional network on latents: it goes on from the shipped one and imagines pictures."""

import json

import numpy as np
import pytest
import torch

from robot_agent.core.errors import ConfigError
from robot_agent.learn import real_clips
from robot_agent.learn.dit_pretraining import DitJob
from robot_agent.learn.fit import FitConfig
from robot_agent.learn.latent_world import (
    LatentWorldConfig,
    from_shipped,
    latent_clips,
    train_latent_world,
)
from robot_agent.learn.pretraining import read_world
from robot_agent.learn.real_clips import RealClipsConfig, learn_real_clips
from robot_agent.learn.sources import Source
from robot_agent.learn.split import SplitConfig
from robot_agent.learn.trust import TrustConfig
from robot_agent.learn.world_training import WorldTrainingConfig
from robot_agent.models.tiny_imagination import TinyImagination
from robot_agent.models.tiny_world import TinyWorld, TinyWorldConfig, size_of
from robot_agent.store.clips import save_clip
from robot_agent.store.video import read_video
from tests.contracts.worlds import Folded, observations
from tests.learn.test_clips import moving

FEW = WorldTrainingConfig(
    fit=FitConfig(steps=2, warmup_steps=1), frames=2, unroll=(1,), stages=(1.0,)
)


@pytest.fixture
def clips(tmp_path):
    folder = tmp_path / "clips"
    folder.mkdir()
    for index in range(2):
        save_clip(folder, moving(f"00000000{index}", frames=16, seed=index))
    return folder


@pytest.mark.parametrize("size", [
    TinyWorldConfig(), TinyWorldConfig(channels=(8, 16, 24), condition=16),
    TinyWorldConfig(seen=32, patch=2), TinyWorldConfig(seen=12, patch=1),
])  # fmt: skip
def test_the_size_of_a_network_is_read_off_its_weights(size):
    assert size_of(TinyWorld(size).state_dict()) == size


def test_weights_of_another_network_have_no_size():
    with pytest.raises(ValueError, match="no weights of a tiny world model"):
        size_of({"a": torch.zeros(1)})


def test_all_but_the_first_and_the_last_layer_are_taken_over():
    base = TinyWorld()
    world, share = from_shipped(base, seen=32, patch=2)
    assert 0.8 < share < 1.0
    own, theirs = world.state_dict(), base.state_dict()
    taken = [name for name in own if own[name].shape == theirs[name].shape]
    assert {name for name in own if name not in taken} == {
        "stem.weight",
        "head.weight",
        "head.bias",
    }
    assert all(torch.equal(own[name], theirs[name]) for name in taken)


def test_an_untrained_network_on_latents_shows_the_picture_it_was_given():
    torch.manual_seed(0)
    world, _ = from_shipped(TinyWorld(), seen=12, patch=2)
    imagination = TinyImagination(world, Folded(), 64)
    first = imagination.reset(observations(2))
    still = imagination.step(np.zeros((2, 7)))
    assert still.shape == (2, 64, 64, 3)
    difference = np.abs(still.astype(int) - first.astype(int)).mean()
    assert difference < np.abs(first[1].astype(int) - first[0].astype(int)).mean() / 3


def test_the_rest_of_each_clip_is_held_out(clips):
    mixture = latent_clips(clips, Folded(), 32, SplitConfig(time=0.3))
    assert mixture.parts[0].images_NTHWC.shape == (2, 16, 16, 16, 12)
    assert mixture.parts[0].lengths_N.tolist() == [10, 10]
    assert mixture.held_out[0].lengths_N.tolist() == [5, 5]
    shown = Folded().decode(mixture.held_out[0].images_NTHWC[:, 0].movedim(-1, 1).float())
    assert float(shown.min()) >= 0.0
    assert float(shown.max()) <= 1.0


def test_training_writes_weights_that_say_their_size(clips, tmp_path):
    mixture = latent_clips(clips, Folded(), 32, SplitConfig(time=0.3))
    config = LatentWorldConfig(training=FEW, picture_px=32)
    found = train_latent_world(mixture, config, tmp_path / "world.safetensors", 0, None)
    world = read_world(tmp_path / "world.safetensors")
    assert (world.config.seen, world.config.patch) == (12, 1)
    assert found["parameters"] == sum(p.numel() for p in world.parameters())
    assert not (tmp_path / "world.training").exists()


def test_real_clips_give_weights_clips_and_a_trust_report(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(real_clips, "load_autoencoder", lambda *_: Folded())
    config = RealClipsConfig(
        compositional=LatentWorldConfig(training=FEW, picture_px=32),
        trust=TrustConfig(windows=4, sweep_starts=1, horizon=5, edit_steps=5),
        shown_steps=3,
    )
    job = DitJob(
        sources=(Source("clips", clips),), out=tmp_path / "out",
        autoencoder="taef2", autoencoder_folder=tmp_path,
    )  # fmt: skip
    found = learn_real_clips(job, config)
    assert read_world(tmp_path / "out" / "world.safetensors").config.seen == 12
    assert sorted(path.name for path in (tmp_path / "out" / "clips").iterdir()) == [
        "000000000.mp4", "000000001.mp4",
    ]  # fmt: skip
    assert read_video(tmp_path / "out" / "clips" / "000000000.mp4").shape == (4, 128, 256, 3)
    report = json.loads((tmp_path / "out" / "trust" / "trust.json").read_text())
    assert report["verdict"] == "refuse"
    whole = json.loads((tmp_path / "out" / "real.json").read_text())
    assert whole["trust"]["reasons"] == found["trust"]["reasons"] == report["reasons"]
    with pytest.raises(ConfigError, match="exists, must be new"):
        learn_real_clips(job, config)
