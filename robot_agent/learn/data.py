"""Training data in memory: episodes of equal length as tensors, and windows drawn from them.

Axis letters: N episodes, B batch, T time, U unrolled steps, C H W picture, A action, P state.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import load_file
from torch import Tensor

from robot_agent.core.bridge_action import bridge_state
from robot_agent.core.errors import InputError
from robot_agent.core.types import Episode
from robot_agent.models.scaling import resize_squashed, scale_actions, scale_states, to_unit
from robot_agent.models.tiny_world import SIZE_PX


@dataclass(eq=False)
class Episodes:
    """N episodes of T steps; action t leads from image t to image t + 1."""

    images_NTHWC: Tensor
    """(N, T + 1, 64, 64, 3) uint8."""
    states_NTP: Tensor
    """Scaled states (N, T + 1, 7)."""
    actions_NTA: Tensor
    """Scaled executed actions (N, T, 7)."""
    lengths_N: Tensor
    """Steps of each episode that are real; the rest is padding."""
    openings_NT: Tensor | None = None
    """True opening of the drawer (N, T + 1); simulation only, for judges."""
    labels_NTA: Tensor | None = None
    """Scaled clean actions (N, T, 7); demonstrations only."""
    tasks_N: Tensor | None = None
    successes_NTK: Tensor | None = None
    """Whether each moment (N, T + 1) solves each of K instructions, 1 or 0; NaN for those of
    another place. Simulation only, for judges."""

    def __len__(self) -> int:
        """Return the number of episodes."""
        return len(self.images_NTHWC)


def load_recording(path: Path, *, use_valid: bool) -> Episodes:
    """Read a recording of `sim.collect` from safetensors."""
    arrays = load_file(path)
    steps = arrays["actions"].shape[1]
    valid = arrays["valid"] if use_valid else np.full(len(arrays["valid"]), steps)
    return Episodes(
        images_NTHWC=torch.from_numpy(arrays["images"]),
        states_NTP=scale_states(arrays["states"]),
        actions_NTA=scale_actions(arrays["actions"]),
        lengths_N=torch.from_numpy(valid),
        openings_NT=torch.from_numpy(arrays["openings"].astype(np.float32)),
        labels_NTA=scale_actions(arrays["labels"]),
        tasks_N=torch.from_numpy(arrays["tasks"]),
    )


def load_demonstrations(paths: Sequence[Path]) -> tuple[Episodes, tuple[str, ...]]:
    """Read demonstrations of one or more cells; also return the instructions behind `tasks_N`.

    Shorter episodes are padded with their last step, which `lengths_N` leaves out.
    """
    parts, cells = [], []
    for path in paths:
        parts.append(load_recording(path, use_valid=True))
        with safe_open(path, framework="numpy") as file:
            cells.append(json.loads((file.metadata() or {})["instructions"]))
    instructions = tuple(dict.fromkeys(word for words in cells for word in words))
    longest = max(part.actions_NTA.shape[1] for part in parts)
    joined: dict[str, Any] = {}
    for name in ("images_NTHWC", "states_NTP", "openings_NT", "actions_NTA", "labels_NTA"):
        steps = longest + (name not in ("actions_NTA", "labels_NTA"))
        joined[name] = torch.cat([_padded(getattr(part, name), steps) for part in parts])
    ids = [torch.tensor([instructions.index(word) for word in words]) for words in cells]
    tasks = [own[part.tasks_N] for own, part in zip(ids, parts, strict=True)]
    lengths = torch.cat([part.lengths_N for part in parts])
    return Episodes(**joined, lengths_N=lengths, tasks_N=torch.cat(tasks)), instructions


def _padded(values_NT: Tensor, steps: int) -> Tensor:
    missing = steps - values_NT.shape[1]
    last = values_NT[:, -1:].expand(-1, missing, *values_NT.shape[2:])
    return torch.cat([values_NT, last], dim=1)


@dataclass(eq=False)
class Window:
    """A batch of U steps in a row, with an earlier picture of the same episode."""

    images_BTCHW: Tensor
    """(B, U + 1, 3, 64, 64) in [0, 1]."""
    first_BCHW: Tensor
    states_BTP: Tensor
    actions_BTA: Tensor
    """(B, U + 1, 7): the action before the window, then the U actions."""


def draw_windows(episodes: Episodes, batch: int, unroll: int, rng: np.random.Generator) -> Window:
    """Draw `batch` windows of `unroll` steps; episodes shorter than that are never drawn.

    The first picture is the window's own start half of the time, as when a rollout begins, and an
    earlier picture otherwise, as when it has gone on.
    """
    lengths = episodes.lengths_N.numpy()
    chosen = rng.choice(np.flatnonzero(lengths >= unroll), batch)
    starts = np.array([rng.integers(0, lengths[i] - unroll + 1) for i in chosen])
    firsts = np.where(rng.random(batch) < 0.5, starts, (starts * rng.random(batch)).astype(int))
    rows = torch.from_numpy(chosen)[:, None]
    steps = torch.from_numpy(starts)[:, None] + torch.arange(unroll + 1)
    padded = torch.cat([torch.zeros_like(episodes.actions_NTA[:, :1]), episodes.actions_NTA], 1)
    return Window(
        images_BTCHW=to_unit(episodes.images_NTHWC[rows, steps]),
        first_BCHW=to_unit(episodes.images_NTHWC[rows[:, 0], torch.from_numpy(firsts)]),
        states_BTP=episodes.states_NTP[rows, steps],
        actions_BTA=padded[rows, steps],
    )


def concatenate(first: Window, second: Window) -> Window:
    """Join two batches of windows of the same unroll."""
    pairs = ((getattr(first, name), getattr(second, name)) for name in first.__dict__)
    return Window(*(torch.cat(pair) for pair in pairs))


def episodes_from_store(episodes: Sequence[Episode]) -> Episodes:
    """Return recorded episodes, of any length and picture size, padded to the longest.

    Raises:
        InputError: There is no episode.
    """
    if not episodes:
        raise InputError("no episodes: at least 1 is needed. Record some: robot-agent capture")
    longest = max(episode.num_steps for episode in episodes)
    count = len(episodes)
    images = np.zeros((count, longest + 1, SIZE_PX, SIZE_PX, 3), np.uint8)
    states, actions = np.zeros((count, longest + 1, 7)), np.zeros((count, longest, 7))
    for row, episode in enumerate(episodes):
        steps = episode.num_steps
        for t in range(steps + 1):
            images[row, t] = resize_squashed(episode.images[t], SIZE_PX)
            states[row, t] = bridge_state(episode.joints_rad[t], float(episode.gripper[t]))
        actions[row, :steps] = episode.actions
    return Episodes(
        images_NTHWC=torch.from_numpy(images),
        states_NTP=scale_states(states),
        actions_NTA=scale_actions(actions),
        lengths_N=torch.tensor([episode.num_steps for episode in episodes]),
    )


def subset(episodes: Episodes, rows: Sequence[int]) -> Episodes:
    """Return some of the episodes."""
    index = torch.tensor(list(rows), dtype=torch.long)
    picked: dict[str, Any] = {
        name: None if value is None else value[index] for name, value in vars(episodes).items()
    }
    return Episodes(**picked)
