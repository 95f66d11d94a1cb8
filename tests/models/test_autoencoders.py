"""Every autoencoder keeps one contract: RGB in [0, 1] to latents and back."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from robot_agent.core.errors import BundleRejectedError, ConfigError
from robot_agent.learn.dit_training import train_autoencoder
from robot_agent.learn.fit import FitConfig
from robot_agent.models.diffusers_autoencoders import (
    KlAutoencoder,
    TinyAutoencoder,
    load_sd3,
    load_taesd,
    untrained_sd3,
    untrained_taesd3,
)
from robot_agent.models.small_autoencoder import (
    PixelAutoencoder,
    SmallAutoencoder,
    SmallAutoencoderConfig,
)
from robot_agent.models.taef2 import Taef2, taef2_decoder, taef2_encoder
from robot_agent.store.clips import list_clips, load_clip

SHARED = Path(__file__).resolve().parents[3] / "shared"
FEW = {"block_out_channels": (32, 32), "down_block_types": ("DownEncoderBlock2D",) * 2,
       "up_block_types": ("UpDecoderBlock2D",) * 2, "layers_per_block": 1}  # fmt: skip


def small_kl(**options):
    torch.manual_seed(0)
    return KlAutoencoder(untrained_sd3(**FEW), **options)


def taesd3():
    torch.manual_seed(0)
    return TinyAutoencoder(untrained_taesd3())


@pytest.mark.parametrize(
    ("make", "channels", "factor"),
    [(small_kl, 16, 2), (taesd3, 16, 8), (SmallAutoencoder, 8, 4), (PixelAutoencoder, 3, 1)],
    ids=["Stable Diffusion 3", "TAESD3", "small", "pixels"],
)
def test_the_contract(make, channels, factor):
    autoencoder = make()
    images = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        latents = autoencoder.encode(images)
        again = autoencoder.decode(latents * 50.0)
    assert latents.shape == (2, channels, 32 // factor, 48 // factor)
    assert again.shape == images.shape
    assert again.min() >= 0.0
    assert again.max() <= 1.0
    with torch.no_grad():
        assert torch.equal(latents, autoencoder.encode(images)), "the same picture, other latents"


def test_stable_diffusion_3_has_its_published_size():
    with torch.device("meta"):
        network = untrained_sd3()
    assert sum(p.numel() for p in network.parameters()) == 83_819_683


def test_scale_and_shift_are_applied_and_undone():
    network = untrained_sd3(**FEW)
    images = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        raw = network.encode(images * 2 - 1).latent_dist.mode()
        shown = (network.decode(raw).sample * 0.5 + 0.5).clamp(0, 1)
    shifted, scaled = KlAutoencoder(network), KlAutoencoder(network, is_shifted=False)
    assert torch.allclose(shifted.encode(images), (raw - 0.0609) * 1.5305, atol=1e-6)
    assert torch.allclose(scaled.encode(images), raw * 1.5305, atol=1e-6)
    for autoencoder in (shifted, scaled):
        again = autoencoder.decode(autoencoder.encode(images))
        assert torch.allclose(again, shown, atol=1e-5)


def test_the_tiny_decoder_understands_latents_without_the_shift():
    shift = 0.0609 * 1.5305
    network = untrained_taesd3()
    plain, offset = TinyAutoencoder(network), TinyAutoencoder(network, offset=shift)
    latents = torch.randn(1, 16, 4, 4)
    assert torch.allclose(plain.decode(latents), offset.decode(latents + shift), atol=1e-5)


def test_weights_of_a_local_folder_load_and_nothing_else_does(tmp_path):
    kl, tiny = untrained_sd3(**FEW), untrained_taesd3()
    kl.save_pretrained(tmp_path / "kl")
    tiny.save_pretrained(tmp_path / "tiny")
    images = torch.rand(1, 3, 16, 16)
    assert torch.allclose(
        load_sd3(tmp_path / "kl").encode(images), KlAutoencoder(kl).encode(images), atol=1e-6
    )
    assert torch.allclose(
        load_taesd(tmp_path / "tiny").encode(images), TinyAutoencoder(tiny).encode(images)
    )
    with pytest.raises(ConfigError, match="no autoencoder that can be read"):
        load_sd3(tmp_path / "nowhere")


def taef2_folder():
    folder = SHARED / "data/taef2"
    assert folder.is_dir(), f"{folder} is missing: this test needs the TAEF2 weights"
    return folder


@pytest.mark.slow
def test_taef2_shows_real_pictures_at_over_32_db():
    autoencoder, clips = Taef2(taef2_folder()), SHARED / "data/bridge"
    found = []
    for name in list_clips(clips):
        frames = load_clip(clips, name).frames[::20]
        assert frames.shape[1:] == (256, 256, 3)
        images = torch.from_numpy(frames).movedim(-1, 1) / 255.0
        error = (autoencoder.decode(autoencoder.encode(images)) - images).square()
        found.append(float(-10 * error.mean(dim=(1, 2, 3)).log10().mean()))
    assert len(found) == 7
    assert min(found) > 31.0
    assert np.mean(found) > 32.0


def test_taef2_refuses_a_file_with_a_key_too_few_or_of_another_shape(tmp_path):
    for name, network in (("encoder", taef2_encoder()), ("decoder", taef2_decoder())):
        save_file(network.state_dict(), tmp_path / f"taef2_{name}.safetensors")
    Taef2(tmp_path)
    path = tmp_path / "taef2_decoder.safetensors"
    tensors = load_file(path)
    del tensors["7.weight"]
    save_file({**tensors, "1.bias": torch.zeros(3)}, path)
    with pytest.raises(BundleRejectedError, match=r"do not fit is \['1.bias', '7.weight'\]"):
        Taef2(tmp_path)
    path.write_bytes(b"cut")
    with pytest.raises(ConfigError, match="no readable weights"):
        Taef2(tmp_path)


def test_the_small_autoencoder_learns():
    torch.manual_seed(0)
    autoencoder = SmallAutoencoder(SmallAutoencoderConfig(latent_channels=4, width=8))
    ramp = torch.linspace(0, 255, 16).expand(16, 16)
    images = torch.stack([ramp, ramp.T, 255 - ramp], dim=-1).byte()
    pictures = torch.stack([images, images.flip(0), images.flip(1)])
    config = FitConfig(steps=60, learning_rate=5e-3, warmup_steps=5)

    def error():
        shown = pictures.movedim(-1, 1) / 255.0
        with torch.no_grad():
            return float((autoencoder.decode(autoencoder.encode(shown)) - shown).square().mean())

    before = error()
    train_autoencoder(autoencoder, pictures, config, seed=0, batch=4)
    assert error() < 0.2 * before
    latents = autoencoder.encode(pictures.movedim(-1, 1) / 255.0).detach()
    assert abs(float(latents.mean())) < 0.2
    assert float(latents.std()) == pytest.approx(1.0, abs=0.2)
