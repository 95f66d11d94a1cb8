"""A training run on disk: one file with weights, optimiser and random numbers, replaced whole.

Killed at any moment, a run finds the last whole checkpoint, and goes on to the very numbers that
it would have reached.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from robot_agent.core.config import require_range
from robot_agent.core.errors import InputError
from robot_agent.learn.processes import is_writer, wait_for_all
from robot_agent.models.tiny_team import load_into
from robot_agent.store.durable import replace_file, storage_errors

_SCHEMA = "1"


@dataclass(frozen=True)
class Keep:
    """Where a run is kept, and how often."""

    path: Path
    order: str
    """What the run is of: configuration, data, seed. Another order does not resume it."""
    every: int = 200
    """Updates between two checkpoints."""
    log: Path | None = None
    """Metrics as they come, one JSON line each."""
    clips: Path | None = None
    """Folder for clips of what the model imagines, beside what happened, at every checkpoint."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("every", self.every, 1, 10_000_000)


def log_of(keep: Keep | None) -> Path | None:
    """Return where this process writes metrics: the first one does."""
    return keep.log if keep is not None and is_writer() else None


def modules_kept(**modules: nn.Module | None) -> dict[str, nn.Module]:
    """Return those of the modules that there are, by name."""
    return {name: module for name, module in modules.items() if module is not None}


class Checkpoint:
    """Saves and restores everything that the next update depends on."""

    def __init__(
        self,
        keep: Keep,
        modules: Mapping[str, nn.Module],
        rng: np.random.Generator,
        generator: torch.Generator | None = None,
    ) -> None:
        """Watch these modules and the generators that batches are drawn with."""
        self._keep, self._modules = keep, modules
        self._rng, self._generator = rng, generator

    def restore(self, optimizer: torch.optim.Optimizer) -> int:
        """Load the checkpoint when there is one; return the updates that are done.

        Raises:
            InputError: The file cannot be read or is of another run; nothing was loaded.
            BundleRejectedError: Its tensors do not fit the network.
        """
        path = self._keep.path
        if not path.exists():
            return 0
        step = self._load(path, optimizer)
        wait_for_all()
        return step

    def _load(self, path: Path, optimizer: torch.optim.Optimizer) -> int:
        try:
            with safe_open(path, framework="pt") as file:
                words = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise InputError(
                f"{path}: is no checkpoint ({error}). Move it away to start again."
            ) from error
        if (words.get("schema"), words.get("order")) != (_SCHEMA, self._keep.order):
            raise InputError(
                f"{path}: is of another run ({words.get('order')}), must be {self._keep.order}. "
                f"Ask for the same again, or move it away to start again."
            )
        for name, module in self._modules.items():
            load_into(module, _below(f"{name}/", tensors), path.name)
        _load_optimizer(optimizer, _below("optimizer/", tensors))
        self._rng.bit_generator.state = json.loads(words["rng"])
        if self._generator is not None:
            self._generator.set_state(tensors["generator"])
        return int(words["step"])

    def save(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Replace the checkpoint when one is due after `step` updates; the first process does.

        The random numbers of all processes are the same, so one file serves them all.
        """
        if step % self._keep.every or not is_writer():
            return
        tensors: dict[str, Tensor] = {}
        for name, module in self._modules.items():
            tensors |= {f"{name}/{key}": value for key, value in module.state_dict().items()}
        for index, kept in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{key}": value for key, value in kept.items()}
        if self._generator is not None:
            tensors["generator"] = self._generator.get_state()
        words = {
            "schema": _SCHEMA,
            "order": self._keep.order,
            "step": str(step),
            "rng": json.dumps(self._rng.bit_generator.state),
        }
        content = save({key: value.contiguous() for key, value in tensors.items()}, words)
        with storage_errors("writing a checkpoint", self._keep.path):
            self._keep.path.parent.mkdir(parents=True, exist_ok=True)
            replace_file(self._keep.path, content)


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)
    }


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    state: dict[int, dict[str, Any]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition("/")
        state.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
