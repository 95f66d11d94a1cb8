"""Weights are taken only whole, finite and of the stated bytes."""

import hashlib
import json

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import nn

from robot_agent.core.errors import BundleRejectedError, ConfigError
from robot_agent.models.tiny_team import load_checked, load_team, read_manifest
from tests.models.teams import write_team


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)


@pytest.fixture
def tensors():
    return {"layer.weight": torch.ones(2, 3), "layer.bias": torch.zeros(2)}


def attempt(tmp_path, tensors, *, sha256=None, network=None):
    path = tmp_path / "small.safetensors"
    path.write_bytes(save(tensors))
    sha256 = sha256 or hashlib.sha256(path.read_bytes()).hexdigest()
    load_checked(path, sha256, network or Small())
    return path


def test_sound_weights_are_loaded(tmp_path, tensors):
    network = Small()
    attempt(tmp_path, tensors, network=network)
    assert torch.equal(network.layer.weight, torch.ones(2, 3))


def test_a_flipped_byte_is_refused(tmp_path, tensors):
    path = attempt(tmp_path, tensors)
    content = bytearray(path.read_bytes())
    stated = hashlib.sha256(content).hexdigest()
    content[-1] ^= 1
    path.write_bytes(content)
    network = Small()
    before = network.layer.weight.clone()
    with pytest.raises(BundleRejectedError, match=f"sha256 is .*, must be {stated[:12]}"):
        load_checked(path, stated, network)
    assert torch.equal(network.layer.weight, before)


def test_a_missing_tensor_is_refused_by_name(tmp_path, tensors):
    del tensors["layer.bias"]
    with pytest.raises(BundleRejectedError, match=r"tensors is layer\.bias"):
        attempt(tmp_path, tensors)


def test_a_foreign_tensor_is_refused_by_name(tmp_path, tensors):
    with pytest.raises(BundleRejectedError, match="tensors is spy"):
        attempt(tmp_path, {**tensors, "spy": torch.zeros(1)})


def test_a_tensor_of_another_shape_is_refused_by_name(tmp_path, tensors):
    with pytest.raises(BundleRejectedError, match=r"tensors is layer\.weight"):
        attempt(tmp_path, {**tensors, "layer.weight": torch.ones(3, 2)})


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_number_that_is_not_finite_is_refused(tmp_path, tensors, value):
    tensors["layer.bias"][1] = value
    network = Small()
    with pytest.raises(BundleRejectedError, match=r"tensor layer\.bias is not finite"):
        attempt(tmp_path, tensors, network=network)
    assert network.layer.bias.isfinite().all()


def test_a_missing_manifest_says_so(tmp_path):
    with pytest.raises(ConfigError, match=r"manifest\.json: cannot be read"):
        read_manifest(tmp_path)


def test_a_whole_team_is_read_and_one_flipped_byte_refuses_it(tmp_path):
    write_team(tmp_path)
    team = load_team(tmp_path)
    assert len(team.worlds) == len(team.judges) == 1
    assert set(team.hashes) == set(json.loads((tmp_path / "manifest.json").read_text())["files"])
    path = tmp_path / "judge_a.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(content)
    with pytest.raises(BundleRejectedError, match=r"judge_a\.safetensors: sha256"):
        load_team(tmp_path)
