"""Shards: thousands of small simulated episodes in one safetensors file, for the tiny tier."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from robot_agent.core.errors import EpisodeFormatError, InputError
from robot_agent.core.types import ACTION_DIM, FloatArray, ImageArray
from robot_agent.store.durable import replace_file, storage_errors
from robot_agent.store.strict_json import canonical_json, parse_json_object
from robot_agent.store.windows import Trajectory

SCHEMA = 1
_KEYS = ("frames", "actions", "proprio", "labels", "lengths")


@dataclass(frozen=True, eq=False)
class Shard:
    """N episodes of up to T steps; what lies past an episode's length is padding."""

    frames: ImageArray
    """(N, T + 1, h, w, 3) uint8."""
    actions: FloatArray
    """Bridge actions (N, T, 7)."""
    proprio: FloatArray
    """Joints and opening (N, T + 1, P)."""
    labels: NDArray[np.float64]
    """Success per frame (N, T + 1), 0 or 1."""
    lengths: NDArray[np.int64]
    """Steps of each episode (N,)."""
    instructions: tuple[str, ...]
    """Of each episode (N,)."""
    header: Mapping[str, Any] = field(default_factory=dict)
    """What made the shard: seed, world, code; plain JSON values."""

    def __post_init__(self) -> None:
        """Check that all parts speak of the same N episodes and T steps."""
        count, steps = self.actions.shape[:2]
        fits = (
            self.frames.dtype == np.uint8
            and self.frames.shape[:2] == (count, steps + 1)
            and self.frames.shape[-1] == 3
            and self.actions.shape == (count, steps, ACTION_DIM)
            and self.proprio.shape[:2] == (count, steps + 1)
            and self.labels.shape == (count, steps + 1)
            and self.lengths.shape == (count,)
            and len(self.instructions) == count
        )
        if not fits:
            raise InputError(
                f"shard: frames {self.frames.shape}, actions {self.actions.shape}, proprio "
                f"{self.proprio.shape}, labels {self.labels.shape}, lengths "
                f"{self.lengths.shape}, {len(self.instructions)} instructions; must be "
                f"(N, T + 1, h, w, 3), (N, T, 7), (N, T + 1, P), (N, T + 1), (N,), N."
            )
        if count and not (self.lengths.min() > 0 and self.lengths.max() <= steps):
            raise InputError(
                f"shard: lengths {self.lengths.min()} to {self.lengths.max()}, must be 1 to "
                f"{steps}. Make the shard again."
            )

    def trajectories(self) -> Sequence[Trajectory]:
        """Return every episode without its padding; nothing is copied."""
        return [
            Trajectory(
                frames=self.frames[i, : n + 1],
                actions=self.actions[i, :n],
                proprio=self.proprio[i, : n + 1],
                instruction=self.instructions[i],
                name=f"shard {i}",
            )
            for i, n in enumerate(self.lengths.tolist())
        ]


def save_shard(path: Path, shard: Shard) -> None:
    """Write a shard, by one atomic rename; StorageError when the disk refuses."""
    tensors = {name: np.ascontiguousarray(getattr(shard, name)) for name in _KEYS}
    header = {
        "schema": SCHEMA,
        "instructions": list(shard.instructions),
        "header": dict(shard.header),
    }
    content = save(tensors, metadata={"robot_agent_shard": canonical_json(header).decode()})
    with storage_errors("writing a shard", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)


def load_shard(path: Path) -> Shard:
    """Read a shard.

    Raises:
        EpisodeFormatError: The file is cut, foreign or of a newer schema.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get("robot_agent_shard", "{}")
            header = parse_json_object(text.encode())
            _require_schema(header.get("schema"), path)
            arrays = {name: file.get_tensor(name) for name in _KEYS}
        return Shard(**arrays, instructions=tuple(header["instructions"]), header=header["header"])
    except (OSError, SafetensorError, ValueError, KeyError, InputError) as error:
        raise EpisodeFormatError(
            f"{path}: no readable shard ({error}). Make it again with the command in its README."
        ) from error


def _require_schema(schema: object, path: Path) -> None:
    if schema != SCHEMA:
        raise EpisodeFormatError(
            f"{path}: shard schema {schema!r}, this program reads {SCHEMA}. "
            f"Update robot_agent or make the shard again."
        )
