"""Tiny random folders as other programs publish them: OpenVLA(-OFT) and pi0."""

import dataclasses
import json

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from robot_agent.models.openvla_lora import AdapterConfig, add_adapter, save_adapter
from robot_agent.models.openvla_tensors import load_openvla
from tests.models.test_other_policies import tiny_pi0, write_pi0
from tests.models.tiny_openvla import TINY, write_folder

UP = {
    "q01": [-0.03, -0.03, 0.005, -0.05, -0.05, -0.05, 0.0],
    "q99": [0.03, 0.03, 0.012, 0.05, 0.05, 0.05, 1.0],
    "mask": [True] * 6 + [False],
}
"""Statistics by which every action goes up: random weights then move the arm a way that shows."""
VISION = ("image_px", "dino_width", "dino_depth", "dino_heads")
VISION += ("siglip_width", "siglip_depth", "siglip_heads", "siglip_mlp")


def write_tokenizer(folder, start="<s>", number=1):
    vocabulary = {"<unk>": 0, start: number, "open": 5, "close": 6, "drawer": 7, "the": 8}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A", special_tokens=[(start, number)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))


def write_oft(folder, name="bridge_orig", **changes):
    """Write an OpenVLA-OFT folder that states its own sizes, with code that must never run."""
    write_folder(folder)
    write_tokenizer(folder)
    sizes = dataclasses.asdict(TINY)
    settings = {
        "text_config": {
            "hidden_size": TINY.width,
            "num_hidden_layers": TINY.depth,
            "num_attention_heads": TINY.heads,
            "intermediate_size": TINY.mlp,
            "vocab_size": TINY.vocabulary,
        },
        "vision_sizes": {key: sizes[key] for key in VISION},
        "norm_stats": {name: {"action": UP}},
        "auto_map": {"AutoModelForVision2Seq": "modeling_prismatic.OpenVLAForActionPrediction"},
        **changes,
    }
    (folder / "config.json").write_text(json.dumps(settings))
    (folder / "modeling_prismatic.py").write_text("raise SystemExit('remote code ran')\n")
    return folder


def write_pi0_folder(folder):
    """Write a pi0 folder whose actions go up."""
    write_pi0(folder, tiny_pi0())
    write_tokenizer(folder, "<bos>", 2)
    (folder / "processor_config.json").write_text(
        json.dumps(
            {
                "state_mean": [0.3, 0, 0.1, 0, 0, 0, 0.5],
                "state_std": [0.1] * 7,
                "actions_mean": [0, 0, 0.01, 0, 0, 0, 0.5],
                "actions_std": [0.002] * 3 + [0.005] * 3 + [0.3],
            }
        )
    )
    return folder


def write_adapter(path, folder, seed, *, dtype=torch.bfloat16, scale=0.3):
    """Write a LoRA adapter that was trained, as it were, on the weights of a folder."""
    network, config = load_openvla(folder, TINY, dtype=dtype), AdapterConfig(rank=2, alpha=4)
    base = add_adapter(network, config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if "lora_" in name:
                drawn = torch.randn(weight.shape, generator=generator)
                weight.copy_(drawn * np.float32(scale))
    save_adapter(path, network, config, base)
    return path
