"""LPIPS reads weights of the reference's names, and nothing else."""

import pytest
import torch
from safetensors.torch import save_file

from robot_agent.core.errors import InputError
from robot_agent.models.lpips import load_lpips

SHAPES = {
    "net.slice1.0": (64, 3, 11, 11),
    "net.slice2.3": (192, 64, 5, 5),
    "net.slice3.6": (384, 192, 3, 3),
    "net.slice4.8": (256, 384, 3, 3),
    "net.slice5.10": (256, 256, 3, 3),
}


def weights():
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for index, (name, shape) in enumerate(SHAPES.items()):
        tensors[f"{name}.weight"] = 0.1 * torch.randn(shape, generator=generator)
        tensors[f"{name}.bias"] = torch.zeros(shape[0])
        tensors[f"lin{index}.model.1.weight"] = torch.rand(1, shape[0], 1, 1, generator=generator)
    return tensors


def test_equal_pictures_are_at_no_distance_and_nearer_ones_nearer(tmp_path):
    save_file(weights(), tmp_path / "lpips.safetensors")
    distance = load_lpips(tmp_path / "lpips.safetensors")
    picture, grain = torch.rand(2, 3, 64, 64), torch.randn(2, 3, 64, 64)
    assert distance(picture, picture) == 0.0
    near, far = (distance(picture, (picture + s * grain).clamp(0, 1)) for s in (0.02, 0.3))
    assert 0.0 < near < far


@pytest.mark.parametrize("name", ["lin3.model.1.weight", "net.slice2.3.bias"])
def test_a_missing_tensor_is_named(name, tmp_path):
    tensors = weights()
    del tensors[name]
    save_file(tensors, tmp_path / "lpips.safetensors")
    with pytest.raises(InputError, match=f"{name} is missing"):
        load_lpips(tmp_path / "lpips.safetensors")


def test_a_file_that_is_none_is_refused(tmp_path):
    (tmp_path / "lpips.safetensors").write_bytes(b"not weights")
    with pytest.raises(InputError, match="is no safetensors file"):
        load_lpips(tmp_path / "lpips.safetensors")
