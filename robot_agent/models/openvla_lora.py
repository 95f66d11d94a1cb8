"""Low-rank adapters on OpenVLA through peft: small to train, to keep and to send, or merged."""

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import set_peft_model_state_dict
from safetensors.torch import load, save
from torch import Tensor, nn

from robot_agent.core.config import build, require_range
from robot_agent.core.errors import BundleRejectedError, ConfigError
from robot_agent.models.openvla import OpenVla

BASE_HASH = "base_sha256"
Network = TypeVar("Network", bound=nn.Module)
_SETTINGS = "lora"


@dataclass(frozen=True, kw_only=True)
class AdapterConfig:
    """Size of the adapter; defaults are those of OpenVLA's finetuning."""

    rank: int = 32
    alpha: int = 16
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        require_range("rank", self.rank, 1, 512)
        require_range("alpha", self.alpha, 1, 1024)
        require_range("dropout", self.dropout, 0.0, 0.9)


def weights_hash(network: nn.Module) -> str:
    """Return SHA-256 over the names, types and bytes of every weight, in the order of names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def add_adapter(network: OpenVla, config: AdapterConfig) -> str:
    """Freeze the network, add an untrained adapter to every linear layer; return the base's hash.

    The token head keeps its place outside, as in the published recipe; SigLIP's pooling, which no
    action uses, as well.
    """
    base = weights_hash(network)
    _inject(network, config)
    return base


def save_adapter(path: Path, network: OpenVla, config: AdapterConfig, base_hash: str) -> None:
    """Write the adapter's weights with its settings and the hash of the base it belongs to."""
    tensors = {k: v.contiguous() for k, v in get_peft_model_state_dict(network).items()}
    path.write_bytes(pack_adapter(tensors, config, base_hash))


def pack_adapter(tensors: Mapping[str, Tensor], config: AdapterConfig, base_hash: str) -> bytes:
    """Return the file of an adapter: `NAME.lora_A.weight` and `.lora_B.weight` of every layer."""
    settings = json.dumps({"rank": config.rank, "alpha": config.alpha, "dropout": config.dropout})
    return save(dict(tensors), metadata={BASE_HASH: base_hash, _SETTINGS: settings})


def load_adapter(path: Path, network: OpenVla) -> None:
    """Put an adapter onto the base that it was trained on; errors as `apply_adapter`."""
    apply_adapter(path.read_bytes(), network, weights_hash(network), path.name)


def apply_adapter(content: bytes, network: nn.Module, base_hash: str, name: str) -> None:
    """Put an adapter's file onto the base that it was trained on.

    Args:
        content: A file of `save_adapter`.
        network: The base, or a copy that shares its weights; changed in place.
        base_hash: `weights_hash` of the base, which takes seconds for one of 14 GB.
        name: For errors.

    Raises:
        BundleRejectedError: It belongs to another base, or its tensors do not fit.
    """
    about = read_about(content, name)
    if about.get(BASE_HASH) != base_hash:
        stated = about.get(BASE_HASH, "none")[:12]
        raise BundleRejectedError(name, "base of the adapter", base_hash[:12], stated)
    try:
        config = build(AdapterConfig, json.loads(about[_SETTINGS]), _SETTINGS)
    except (KeyError, ValueError, ConfigError) as error:
        raise BundleRejectedError(name, "settings of the adapter", error, "rank and alpha") from (
            error
        )
    _inject(network, config)
    tensors = load(content)
    own = get_peft_model_state_dict(network)
    wrong = sorted(set(own) ^ set(tensors))
    wrong += sorted(k for k in own if k in tensors and own[k].shape != tensors[k].shape)
    wrong += sorted(k for k, tensor in tensors.items() if not tensor.isfinite().all())
    if wrong:
        raise BundleRejectedError(name, "tensors", ", ".join(wrong), "the adapter's, finite")
    set_peft_model_state_dict(network, tensors)
    held = get_peft_model_state_dict(network)  # what the library says it took may differ
    lost = [k for k in tensors if not torch.equal(held[k].cpu(), tensors[k].to(held[k].dtype))]
    if lost:
        raise BundleRejectedError(name, "loaded tensors", ", ".join(lost), "the adapter's own")


def read_about(content: bytes, name: str) -> dict[str, str]:
    """Return what the header of a safetensors file says about it besides its tensors."""
    try:
        length = int.from_bytes(content[:8], "little")
        about: dict[str, str] = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
    except (ValueError, AttributeError) as error:
        raise BundleRejectedError(name, "header", error, "that of safetensors") from error
    return about


def share(network: Network) -> Network:
    """Return a copy that holds the very weights of `network`: structure is new, memory is not.

    Adapters on one copy do not change another: each policy has its own, on one base.
    """
    kept = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    return copy.deepcopy(network, kept)


def merge_adapter(network: OpenVla) -> None:
    """Fold the adapter into the weights: the same output, and no cost at inference."""
    for layer in network.modules():
        if isinstance(layer, BaseTunerLayer):
            layer.merge(safe_merge=True)


def num_trainable(network: nn.Module) -> int:
    """Return the number of weights that training changes."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad)


def adapted_layers(network: nn.Module) -> list[str]:
    """Return the linear layers that an adapter is added to, by name."""
    return [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear)
        and not name.endswith("lm_head")
        and not name.startswith("vision.siglip.head")
    ]


def _inject(network: nn.Module, config: AdapterConfig) -> None:
    settings: Any = LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=adapted_layers(network),
        init_lora_weights="gaussian",
    )
    network.requires_grad_(False)
    inject_adapter_in_model(settings, network)
