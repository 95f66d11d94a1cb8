"""Taking in a published checkpoint: every key compared, written whole or not at all."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from robot_agent.core.errors import ConfigError, InputError
from robot_agent.models.memory import require_memory
from robot_agent.models.worldgym.checkpoint import (
    Checkpoint,
    file_sha256,
    misfits,
    open_checkpoint,
    shapes_of,
    size_of,
)
from robot_agent.models.worldgym.network import DitConfig
from robot_agent.models.worldgym.rotary import RotaryKind


@dataclass(frozen=True)
class Import:
    """What was taken in."""

    kind: str
    """ema or model."""
    network: DitConfig
    parameters: int
    misfits: tuple[str, ...]
    """Keys that do not fit, in words; empty when the weights were written."""


def import_checkpoint(path: Path, out: Path, *, rotary: RotaryKind, heads: int) -> Import:
    """Write `world.safetensors` and `world.json` into the new folder `out`.

    Args:
        path: A published checkpoint, .pt or .safetensors.
        out: A folder that does not exist yet.
        rotary: Kind of positions in space, which the weights do not tell.
        heads: Heads of an attention, which the weights do not tell.

    Returns:
        The report. With misfits nothing was written.

    Raises:
        ConfigError: The file cannot be read safely, `out` exists, or memory is short.
        InputError: The weights are of another network, or not finite.
    """
    if out.exists():
        raise ConfigError(f"{out}: exists, must be new. Choose another --out or move it away.")
    checkpoint = open_checkpoint(path)
    config = _config(checkpoint, rotary, heads)
    wrong = tuple(misfits(checkpoint.shapes, shapes_of(config)))
    parameters = sum(torch.Size(shape).numel() for shape in checkpoint.shapes.values())
    found = Import(checkpoint.kind, config, parameters, wrong)
    if not wrong:
        require_memory(4 * parameters, f"importing {parameters / 1e6:.1f} M parameters")
        _write(out, _tensors(checkpoint), found, path)
    return found


def _config(checkpoint: Checkpoint, rotary: RotaryKind, heads: int) -> DitConfig:
    try:
        return size_of(checkpoint.shapes, DitConfig(rotary=rotary), heads)
    except ValueError as error:
        raise InputError(f"checkpoint: {error}. Give the number of its heads: --heads") from error


def _tensors(checkpoint: Checkpoint) -> Mapping[str, Tensor]:
    tensors = {name: checkpoint.read(name).float() for name in checkpoint.shapes}
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    if broken:
        raise InputError(
            f"checkpoint: {len(broken)} tensors hold numbers that are not finite, must be none; "
            f"the first is {broken[0]}. Copy the file again."
        )
    return tensors


def _write(out: Path, tensors: Mapping[str, Tensor], found: Import, source: Path) -> None:
    """Fill a folder beside `out`, then rename it."""
    staging = out.with_name(f".tmp-{out.name}")
    staging.mkdir(parents=True, exist_ok=True)
    weights = staging / "world.safetensors"
    save_file(dict(tensors), weights)
    notes: dict[str, Any] = {
        "schema": 1,
        "family": "worldgym",
        "weights": found.kind,
        "source": source.name,
        "source_sha256": file_sha256(source),
        "sha256": file_sha256(weights),
        "network": asdict(found.network),
    }
    (staging / "world.json").write_text(json.dumps(notes, indent=1), "utf-8")
    staging.rename(out)
