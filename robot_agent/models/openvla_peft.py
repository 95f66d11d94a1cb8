"""LoRA adapters of the published OpenVLA as peft saves them, taken apart and made into ours.

Ours names layers as our network does, where the published attention of the pictures is one layer
and ours are three: the three share the published A and have a third of its B each.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load
from torch import Tensor

from robot_agent.core.config import build
from robot_agent.core.errors import BundleRejectedError, ConfigError
from robot_agent.models.openvla import OpenVla, OpenVlaConfig
from robot_agent.models.openvla_folder import read_json
from robot_agent.models.openvla_lora import AdapterConfig, adapted_layers, pack_adapter
from robot_agent.models.openvla_tensors import tensor_map

SETTINGS_NAME, WEIGHTS_NAME = "adapter_config.json", "adapter_model.safetensors"
_PREFIX = "base_model.model."
_POOLING = "vision_backbone.fused_featurizer.attn_pool."
"""SigLIP's pooling: no action depends on it, so neither does one on its adapter."""
_WANTED: Mapping[str, Any] = {
    "peft_type": "LORA",
    "bias": "none",
    "fan_in_fan_out": False,
    "use_rslora": False,
    "use_dora": False,
    "lora_bias": False,
    "use_qalora": False,
}
"""What the formula W + (alpha / r) B A asks of a file; a setting that is not there is these."""
_INITIALISED = (True, False, "gaussian", None)
"""Beginnings that leave the base as it is; PiSSA and its like change it."""
_EMPTY = (
    "modules_to_save",
    "rank_pattern",
    "alpha_pattern",
    "layer_replication",
    "trainable_token_indices",
    "target_parameters",
    "alora_invocation_tokens",
)


@dataclass(frozen=True)
class TakenIn:
    """An adapter in our format, and what became of each tensor of the folder."""

    content: bytes
    """File of `models.openvla_lora`, bound to its base by hash."""
    used: tuple[str, ...]
    without_effect: tuple[str, ...]
    """Tensors that no action depends on; left out."""
    untouched: tuple[str, ...]
    """Our layers for which the folder holds nothing: their part is zero."""
    base_name: str
    """What the folder calls its base; it states no hash, so nobody can check that."""


@dataclass(frozen=True)
class _Layer:
    """A linear layer of the published network."""

    out: int
    width: int
    names: tuple[str, ...]
    """Ours, in equal parts; none where nothing depends on it."""


def is_peft_folder(path: Path) -> bool:
    """Return whether a path is a folder that peft saved an adapter to."""
    return path.is_dir() and (path / SETTINGS_NAME).is_file()


def take_in_peft(folder: Path, network: OpenVla, base_hash: str) -> TakenIn:
    """Return the adapter of a folder for our network.

    Args:
        folder: With `adapter_config.json` and `adapter_model.safetensors`.
        network: The base; not changed.
        base_hash: Its `weights_hash`, which the adapter is bound to from now on.

    Raises:
        ConfigError: A file is missing, or the settings ask for more than plain LoRA.
        BundleRejectedError: Lists every tensor that is of no layer, of half a pair, of another
            shape, or not finite.
    """
    config, base_name = _settings(folder)
    path = folder / WEIGHTS_NAME
    if not path.is_file():
        raise ConfigError(
            f"{folder}: holds no {WEIGHTS_NAME}. A pickled adapter (.bin) is never opened: save "
            f"it with safe_serialization=True."
        )
    found = load(path.read_bytes())
    layers = _published_layers(network)
    _require_whole(found, layers, config.rank, folder.name)
    own = adapted_layers(network)
    tensors = dict(_ours(found, layers))
    filled = {name.removesuffix(".lora_A.weight") for name in tensors if "lora_A" in name}
    untouched = tuple(sorted(set(own) - filled))
    for name in untouched:
        out, width = network.get_parameter(f"{name}.weight").shape
        tensors[f"{name}.lora_A.weight"] = torch.zeros(config.rank, width)
        tensors[f"{name}.lora_B.weight"] = torch.zeros(out, config.rank)
    idle = tuple(sorted(key for key in found if key.startswith(_PREFIX + _POOLING)))
    used = tuple(sorted(set(found) - set(idle)))
    return TakenIn(pack_adapter(tensors, config, base_hash), used, idle, untouched, base_name)


def _settings(folder: Path) -> tuple[AdapterConfig, str]:
    """Return rank and alpha; ConfigError lists each setting that plain LoRA does not have."""
    stated = read_json(folder / SETTINGS_NAME)
    wrong = [
        f"{key}={stated[key]!r}, must be {wanted!r}"
        for key, wanted in _WANTED.items()
        if key in stated and stated[key] != wanted
    ]
    wrong += [f"{key}={stated[key]!r}, must be empty" for key in _EMPTY if stated.get(key)]
    if stated.get("init_lora_weights", True) not in _INITIALISED:
        wrong.append(
            f"init_lora_weights={stated['init_lora_weights']!r} changes the base, must be one of "
            f"{', '.join(map(repr, _INITIALISED))}"
        )
    rank, alpha = stated.get("r"), stated.get("lora_alpha")
    if type(rank) is not int or type(alpha) is not int:
        wrong.append(f"r={rank!r} and lora_alpha={alpha!r} must be whole numbers")
    if wrong:
        raise ConfigError(
            f"{folder}/{SETTINGS_NAME}: {'; '.join(wrong)}. Merge the adapter into its base where "
            f"it was trained, and import the whole folder."
        )
    values = {"rank": rank, "alpha": alpha}
    where = f"{folder}/{SETTINGS_NAME}"
    return build(AdapterConfig, values, where), str(stated.get("base_model_name_or_path", ""))


def _published_layers(network: OpenVla) -> dict[str, _Layer]:
    """Return the linear layers that an adapter may have, by their published names."""
    own = set(adapted_layers(network))
    return dict(_linear(network.config, own))


def _linear(config: OpenVlaConfig, own: set[str]) -> Iterator[tuple[str, _Layer]]:
    for key, place in tensor_map(config).items():
        module, kind = key.rsplit(".", 1)
        if kind != "weight" or len(place.shape) != 2:
            continue
        names = tuple(name.removesuffix(".weight") for name in place.names)
        if set(names) <= own:
            yield module, _Layer(*place.shape, names)
        elif module.startswith(_POOLING):
            yield module, _Layer(*place.shape, ())


def _require_whole(
    found: Mapping[str, Tensor], layers: Mapping[str, _Layer], rank: int, name: str
) -> None:
    shapes: dict[str, tuple[int, ...]] = {}
    for module, layer in layers.items():
        shapes[f"{_PREFIX}{module}.lora_A.weight"] = (rank, layer.width)
        shapes[f"{_PREFIX}{module}.lora_B.weight"] = (layer.out, rank)
    known = {key: tensor for key, tensor in found.items() if key in shapes}
    wrong = {
        "of no layer that an adapter may have": sorted(set(found) - set(shapes)),
        "without its other half": sorted(key for key in known if _other_half(key) not in found),
        "of another shape": [
            f"{key} {list(tensor.shape)} instead of {list(shapes[key])}"
            for key, tensor in known.items()
            if tuple(tensor.shape) != shapes[key]
        ],
        "not finite": sorted(key for key, t in known.items() if not bool(t.isfinite().all())),
    }
    told = "; ".join(f"{what}: {', '.join(keys)}" for what, keys in wrong.items() if keys)
    if told or not found:
        raise BundleRejectedError(
            name, "tensors", told or "none", "pairs of lora_A and lora_B of OpenVLA's layers"
        )


def _other_half(key: str) -> str:
    here, there = ("lora_A", "lora_B") if ".lora_A." in key else ("lora_B", "lora_A")
    return key.replace(f".{here}.", f".{there}.")


def _ours(
    found: Mapping[str, Tensor], layers: Mapping[str, _Layer]
) -> Iterator[tuple[str, Tensor]]:
    """Yield our tensors: A as it is, B in as many parts as ours are."""
    for module, layer in layers.items():
        key = f"{_PREFIX}{module}.lora_A.weight"
        if key not in found or not layer.names:
            continue
        parts = found[_other_half(key)].chunk(len(layer.names))
        for name, part in zip(layer.names, parts, strict=True):
            yield f"{name}.lora_A.weight", found[key].clone()
            yield f"{name}.lora_B.weight", part.contiguous()
