"""Low-rank updates beside the layers of any network, through peft: few numbers, merged at the end.

Source: Hu et al., LoRA (arXiv 2106.09685): W x + s B A x with A (rank, in), B (out, rank) and W
fixed; B begins at zero, so that the network begins as it was.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from robot_agent.core.config import require_range


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Which part of a network finetuning changes."""

    rank: int = 0
    """Of the update of each linear and convolutional layer; 0 trains every weight instead."""
    scale: float = 2.0
    """s; alpha over rank in other programs."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("rank", self.rank, 0, 512)
        require_range("scale", self.scale, 1e-3, 1e3)


def add_lora(network: nn.Module, config: LoraConfig) -> None:
    """Freeze a network and put an update that is still nothing beside its layers, in place.

    Rank 0 leaves the network as it is, with every weight to be trained.
    """
    if not config.rank:
        return
    import peft

    layers = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    ]
    alpha = round(config.scale * config.rank)
    settings = peft.LoraConfig(r=config.rank, lora_alpha=alpha, target_modules=layers)
    network.requires_grad_(False)
    peft.inject_adapter_in_model(settings, network)


@torch.no_grad()
def merge_lora(network: nn.Module) -> None:
    """Fold the updates into the weights, in place: the same output, and the keys of before."""
    for name, layer in list(_updated_layers(network)):
        layer.merge(safe_merge=True)
        parent, _, child = name.rpartition(".")
        setattr(network.get_submodule(parent), child, layer.get_base_layer())
    network.requires_grad_(True)


def trainable(network: nn.Module) -> list[nn.Parameter]:
    """Return what training changes."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def _updated_layers(network: nn.Module) -> Iterator[tuple[str, Any]]:
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in network.named_modules():
        if isinstance(module, BaseTunerLayer):
            yield name, module
