"""A tiny OpenVLA with weights that its tensors' published names draw: nothing is downloaded."""

import zlib

import numpy as np
import torch
from safetensors.torch import save_file

from robot_agent.models.openvla import OpenVlaConfig
from robot_agent.models.openvla_tensors import TensorMap, proprio_map, tensor_map

TINY = OpenVlaConfig(
    image_px=28,
    dino_width=32,
    dino_depth=3,
    dino_heads=4,
    siglip_width=48,
    siglip_depth=3,
    siglip_heads=4,
    siglip_mlp=179,
    width=32,
    depth=2,
    heads=4,
    mlp=48,
)
OPENING = (1, 512, 29901, 1724, 3158, 881)
PROMPTS = {
    "short": [*OPENING, 29871],
    "long": [
        *OPENING,
        278,
        19964,
        2125,
        304,
        1722,
        278,
        4216,
        4003,
        29973,
        13,
        3744,
        29901,
        29871,
    ],
}
MEANS = (0.484375, 0.455078125, 0.40625)
STDS = (0.228515625, 0.2236328125, 0.224609375)


def drawn_tensors(places: TensorMap, prefix: str = "") -> dict[str, torch.Tensor]:
    tensors = {}
    for name, place in places.items():
        generator = np.random.default_rng(zlib.crc32((prefix + name).encode()))
        values = generator.standard_normal(place.shape, dtype=np.float32) * np.float32(0.2)
        if name.endswith(("norm.weight", "norm1.weight", "norm2.weight", "layernorm.weight")):
            values += 1
        if name == "language_model.lm_head.weight":  # greedy decoding then draws actions only
            values[:31744] = 0
            values[32000:] = 0
        tensors[name] = torch.from_numpy(values)
    return tensors


def write_folder(folder, *, has_proprio=False, shards=2, config=TINY):
    """Write a folder as openvla-7b is published: shards, and nothing that needs code."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = drawn_tensors(tensor_map(config))
    names = sorted(tensors)
    for i in range(shards):
        part = {name: tensors[name] for name in names[i::shards]}
        save_file(part, folder / f"model-{i + 1:05d}-of-{shards:05d}.safetensors")
    if has_proprio:
        drawn = drawn_tensors(proprio_map(config), "proprio_projector.")
        save_file(drawn, folder / "proprio_projector.safetensors")
    return folder


def picture(seed):
    y, x = np.mgrid[0:40, 0:52]
    noise = np.random.default_rng(seed).integers(0, 64, (40, 52, 3))
    return ((np.stack([4 * y, 3 * x, 2 * (x + y)], -1) + noise) % 256).astype(np.uint8)
