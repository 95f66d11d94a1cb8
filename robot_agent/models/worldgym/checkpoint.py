"""Checkpoints of the published model: taken in once, kept as safetensors with their size.

Source of the layout: world-gymnast/world-model-eval, train.py: `{"model", "ema", "optimizer", ..}`
with the keys of the network.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from robot_agent.core.config import build
from robot_agent.core.errors import ConfigError, InputError
from robot_agent.models.worldgym.network import Dit, DitConfig
from robot_agent.models.worldgym.torch_archive import TorchArchive, tensors_below

Shapes = Mapping[str, tuple[int, ...]]
_PREFIXES = ("module.", "_orig_mod.")
"""What distributed training and compilation put before a key."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A published checkpoint, opened: what it holds, and how to fetch one tensor."""

    kind: str
    """ema or model: which weights were chosen."""
    shapes: Shapes
    read: Callable[[str], Tensor]


def misfits(found: Shapes, wanted: Shapes) -> list[str]:
    """Return a sentence for every key that is missing, left over or of another shape."""
    lines = [f"{k}: missing, must be {list(wanted[k])}" for k in wanted if k not in found]
    lines += [
        f"{k}: {list(found[k])} is not part of the network" for k in found if k not in wanted
    ]
    lines += [
        f"{k}: is {list(found[k])}, must be {list(wanted[k])}"
        for k in wanted
        if k in found and tuple(found[k]) != tuple(wanted[k])
    ]
    return sorted(lines)


def shapes_of(config: DitConfig) -> dict[str, tuple[int, ...]]:
    """Return the keys and shapes of a network of this size, without making its weights."""
    with torch.device("meta"):
        network = Dit(config)
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def load_network(tensors: Mapping[str, Tensor], config: DitConfig) -> Dit:
    """Return a network with these weights, in their type.

    Raises:
        InputError: A key does not fit, or a weight is not finite.
    """
    wrong = misfits({k: tuple(v.shape) for k, v in tensors.items()}, shapes_of(config))
    if wrong:
        raise InputError(
            f"weights: {len(wrong)} keys do not fit, must be none: {'; '.join(wrong[:5])}. "
            f"Is this the size of the checkpoint?"
        )
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise InputError(
            f"weights: {broken[0]} and {len(broken) - 1} more hold numbers that are not finite, "
            f"must be none. Copy the file again."
        )
    with torch.device("meta"):
        network = Dit(config)
    network.load_state_dict(dict(tensors), assign=True)
    return network.eval()


def open_checkpoint(path: Path) -> Checkpoint:
    """Open a published checkpoint, .safetensors or .pt; the averaged weights (EMA) are preferred.

    Raises:
        ConfigError: The file cannot be read, or holds no weights.
    """
    if path.suffix == ".safetensors":
        return _of_safetensors(path)
    archive = TorchArchive(path)
    candidates = {
        "ema": tensors_below(archive.content, "ema"),
        "model": tensors_below(archive.content, "model") or tensors_below(archive.content),
    }
    kind = next((name for name, tensors in candidates.items() if tensors), None)
    if kind is None:
        archive.close()
        raise ConfigError(f"{path}: holds no weights, must hold `ema` or `model`. Check the file.")
    stored = {_plain(name): tensor for name, tensor in candidates[kind].items()}
    shapes = {name: tensor.shape for name, tensor in stored.items()}
    return Checkpoint(kind, shapes, lambda name: archive.read(stored[name]))


def size_of(shapes: Shapes, base: DitConfig, heads: int) -> DitConfig:
    """Return the size that these keys tell; what they cannot tell is as in `base`.

    Raises:
        InputError: The keys are of another network.
    """
    try:
        embedding, channels, patch, _ = shapes["x_proj.weight"]
        action_dim = shapes["action_embedder.weight"][1]
    except (KeyError, ValueError) as error:
        raise InputError(
            f"checkpoint: has no x_proj.weight or action_embedder.weight of a published world "
            f"model ({error}); it has {', '.join(list(shapes)[:3])}. Choose the right file."
        ) from error
    depth = 1 + max((int(k.split(".")[1]) for k in shapes if k.startswith("blocks.")), default=0)
    plain = {**asdict(base), "embedding": embedding, "channels": channels, "patch": patch}
    return DitConfig(**{**plain, "depth": depth, "action_dim": action_dim, "heads": heads})


def read_weights(folder: Path) -> tuple[DitConfig, dict[str, Tensor], dict[str, Any]]:
    """Return size, weights and notes of a folder that `weights import` made.

    Raises:
        ConfigError: A file is missing, cut, or the weights are not those that the notes tell.
    """
    try:
        notes = json.loads((folder / "world.json").read_text("utf-8"))
        path = folder / "world.safetensors"
        if file_sha256(path) != notes["sha256"]:
            raise ConfigError(f"{path}: is not the file that world.json tells. Import it again.")
        config = build(DitConfig, notes["network"], "world.json")
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, KeyError, ValueError, SafetensorError) as error:
        raise ConfigError(
            f"{folder}: no world model ({error}). Make one with: robot-agent weights import "
            f"--from worldgym FILE --out {folder}"
        ) from error
    return config, tensors, notes


def file_sha256(path: Path) -> str:
    """Return the hash of a file of any size."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _of_safetensors(path: Path) -> Checkpoint:
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            slices = {name: tuple(file.get_slice(name).get_shape()) for name in names}
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{path}: no readable safetensors ({error}). Copy it again.") from error
    kind = "ema" if any(name.startswith("ema.") for name in names) else "model"
    chosen = {_plain(n.removeprefix(f"{kind}.")): n for n in names if _is_of(n, kind, names)}

    def read(name: str) -> Tensor:
        with safe_open(path, framework="pt") as file:
            return file.get_tensor(chosen[name])

    return Checkpoint(kind, {name: slices[full] for name, full in chosen.items()}, read)


def _is_of(name: str, kind: str, names: list[str]) -> bool:
    """Say whether a key belongs to the chosen weights; plain keys do when nothing is grouped."""
    is_grouped = any(other.startswith(f"{kind}.") for other in names)
    return name.startswith(f"{kind}.") if is_grouped else True


def _plain(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name
