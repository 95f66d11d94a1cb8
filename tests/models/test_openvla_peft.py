"""Adapters saved by peft itself on a network that is named as the published OpenVLA is."""

import copy
import json

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn

from robot_agent.core.errors import BundleRejectedError, ConfigError
from robot_agent.models.openvla_lora import (
    adapted_layers,
    apply_adapter,
    merge_adapter,
    weights_hash,
)
from robot_agent.models.openvla_peft import WEIGHTS_NAME, is_peft_folder, take_in_peft
from robot_agent.models.openvla_tensors import load_openvla, tensor_map
from tests.models.tiny_openvla import TINY, drawn_tensors, write_folder

PLACES = tensor_map(TINY)
LINEAR = [
    key.removesuffix(".weight")
    for key, place in PLACES.items()
    if key.endswith(".weight") and len(place.shape) == 2 and "embed" not in key
]
"""Names of the published linear layers, the token head and SigLIP's pooling among them."""
HEAD, POOLING = "language_model.lm_head", "vision_backbone.fused_featurizer.attn_pool"


class Published(nn.Module):
    """The published module tree; it is never run, only adapted and saved."""

    def __init__(self):
        super().__init__()
        tensors = drawn_tensors(PLACES)
        for name in LINEAR:
            out, width = PLACES[f"{name}.weight"].shape
            layer = nn.Linear(width, out, bias=f"{name}.bias" in PLACES)
            layer.weight.data = tensors[f"{name}.weight"]
            self._put(name, layer)

    def _put(self, name, layer):
        *path, last = name.split(".")
        at = self
        for part in path:
            if part not in dict(at.named_children()):
                at.add_module(part, nn.Module())
            at = getattr(at, part)
        at.add_module(last, layer)


def saved_by_peft(folder, targets=None, **settings):
    """Return the folder and what each adapted layer's weight is when it is merged."""
    targets = targets or [name for name in LINEAR if name != HEAD]
    config = LoraConfig(r=4, lora_alpha=8, target_modules=targets, **settings)
    model = get_peft_model(Published(), config)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name:
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
    model.save_pretrained(folder)
    merged = model.merge_and_unload()
    return folder, {name: merged.get_submodule(name).weight.detach() for name in targets}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = write_folder(tmp_path_factory.mktemp("openvla"))
    return load_openvla(folder, TINY, dtype=torch.float32)


@pytest.fixture
def network(base):
    """A copy of its own: merging changes weights in place."""
    return copy.deepcopy(base)


def put_on(network, taken):
    apply_adapter(taken.content, network, weights_hash(network), "peft")


def published_weight(network, name):
    """Return the weight of a published layer as our network has it, put together again."""
    parts = PLACES[f"{name}.weight"].names
    layers = [network.get_submodule(part.removesuffix(".weight")) for part in parts]
    return torch.cat([getattr(layer, "base_layer", layer).weight for layer in layers])


def test_every_layer_is_the_one_that_peft_merges(tmp_path, network):
    folder, merged = saved_by_peft(tmp_path / "lora")
    assert is_peft_folder(folder)
    taken = take_in_peft(folder, network, weights_hash(network))
    put_on(network, taken)
    merge_adapter(network)
    checked = [name for name in merged if not name.startswith(POOLING)]
    assert len(checked) > 20
    for name in checked:
        torch.testing.assert_close(
            published_weight(network, name), merged[name], atol=1e-6, rtol=1e-6
        )
    assert taken.untouched == ()


def test_every_key_is_accounted_for(tmp_path, network):
    folder, _ = saved_by_peft(tmp_path / "lora")
    taken = take_in_peft(folder, network, weights_hash(network))
    keys = set(load_file(folder / WEIGHTS_NAME))
    assert set(taken.used) | set(taken.without_effect) == keys
    assert not set(taken.used) & set(taken.without_effect)
    assert taken.without_effect
    assert all(POOLING in key for key in taken.without_effect)


def test_merged_and_unmerged_answers_are_equal(tmp_path, network):
    folder, _ = saved_by_peft(tmp_path / "lora")
    put_on(network, take_in_peft(folder, network, weights_hash(network)))
    pixels = torch.randn(1, 6, 28, 28, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        plain = network.projector(network.vision(pixels))
        merge_adapter(network)
        folded = network.projector(network.vision(pixels))
    torch.testing.assert_close(folded, plain, atol=2e-4, rtol=1e-4)


def test_layers_that_the_folder_leaves_out_stay_as_they_are(tmp_path, network, base):
    targets = [name for name in LINEAR if name.endswith((".q_proj", ".v_proj"))]
    folder, merged = saved_by_peft(tmp_path / "lora", targets)
    taken = take_in_peft(folder, network, weights_hash(network))
    assert len(taken.untouched) == len(adapted_layers(network)) - len(targets)
    put_on(network, taken)
    merge_adapter(network)
    for name in LINEAR:
        if name == HEAD or name.startswith(POOLING):
            continue
        wanted = merged.get(name, published_weight(base, name))
        torch.testing.assert_close(published_weight(network, name), wanted)


def test_the_adapter_is_bound_to_this_base_from_now_on(tmp_path, network, base):
    folder, _ = saved_by_peft(tmp_path / "lora")
    taken = take_in_peft(folder, network, weights_hash(network))
    with pytest.raises(BundleRejectedError, match="base of the adapter"):
        apply_adapter(taken.content, network, "0" * 64, "peft")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"use_dora": True}, "use_dora=True, must be False"),
        ({"use_rslora": True}, "use_rslora=True, must be False"),
        ({"bias": "all"}, "bias='all', must be 'none'"),
        ({"modules_to_save": ["projector"]}, "modules_to_save=.* must be empty"),
        ({"rank_pattern": {"q_proj": 8}}, "rank_pattern=.* must be empty"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights='pissa' changes the base"),
        ({"peft_type": "IA3"}, "peft_type='IA3', must be 'LORA'"),
        ({"r": True}, "r=True and lora_alpha=8 must be whole"),
        ({"lora_alpha": 8.5}, "lora_alpha=8.5 must be whole"),
    ],
)
def test_settings_that_are_no_plain_lora_are_refused_by_name(tmp_path, network, changes, told):
    folder, _ = saved_by_peft(tmp_path / "lora", LINEAR[:2])
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ConfigError, match=told):
        take_in_peft(folder, network, "")


def test_tensors_that_do_not_fit_are_all_listed(tmp_path, network):
    folder, _ = saved_by_peft(tmp_path / "lora")
    tensors = load_file(folder / WEIGHTS_NAME)
    lost = min(key for key in tensors if "lora_B" in key and "q_proj" in key)
    shaped = "base_model.model.projector.fc1.lora_A.weight"
    broken = "base_model.model.projector.fc2.lora_B.weight"
    del tensors[lost]
    tensors[shaped] = tensors[shaped][:, 1:].contiguous()
    tensors[broken][0, 0] = float("nan")
    extra = "base_model.model.language_model.lm_head.lora_A.weight"
    tensors[extra] = torch.zeros(4, TINY.width)
    save_file(tensors, folder / WEIGHTS_NAME)
    with pytest.raises(BundleRejectedError) as refused:
        take_in_peft(folder, network, "")
    text = str(refused.value)
    for part in (
        f"of no layer that an adapter may have: {extra}",
        f"without its other half: {lost.replace('lora_B', 'lora_A')}",
        f"of another shape: {shaped} [4, 79] instead of [4, 80]",
        f"not finite: {broken}",
    ):
        assert part in text


def test_a_pickled_adapter_is_never_opened(tmp_path, network):
    folder, _ = saved_by_peft(tmp_path / "lora", LINEAR[:2])
    (folder / WEIGHTS_NAME).rename(folder / "adapter_model.bin")
    with pytest.raises(ConfigError, match=r"A pickled adapter .* is never opened"):
        take_in_peft(folder, network, "")
