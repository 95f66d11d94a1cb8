"""OpenVLA's language model in 8 or 4 bits through bitsandbytes, which is optional."""

import importlib
from typing import Any, Literal

import torch
from torch import nn

from robot_agent.core.errors import ConfigError
from robot_agent.models.openvla import OpenVla


def quantize(network: OpenVla, bits: Literal[4, 8]) -> None:
    """Replace the language model's linear layers; the encoders and the token head stay.

    8 bits is LLM.int8, 4 bits is NF4 with sums in the network's own type. They are for inference:
    an adapter is merged before.

    Raises:
        ConfigError: bitsandbytes is not installed.
    """
    try:
        library = importlib.import_module("bitsandbytes").nn
    except ImportError as error:
        raise ConfigError(
            f"{bits} bits need bitsandbytes, which is not installed ({error}). Install it with: "
            f"pip install bitsandbytes, or run in bfloat16."
        ) from error
    for parent in list(network.language.model.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is nn.Linear:
                setattr(parent, name, _quantised(library, layer, bits, network.dtype))


def _quantised(library: Any, layer: nn.Linear, bits: int, dtype: torch.dtype) -> nn.Module:
    sizes = {"input_features": layer.in_features, "output_features": layer.out_features}
    made: nn.Module
    if bits == 8:
        made = library.Linear8bitLt(**sizes, bias=layer.bias is not None, has_fp16_weights=False)
    else:
        made = library.Linear4bit(
            **sizes, bias=layer.bias is not None, quant_type="nf4", compute_dtype=dtype
        )
    made.load_state_dict(layer.state_dict())
    return made.to(layer.weight.device)  # the library quantises when a layer is placed
