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
from numpy.typing import NDArray
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
    """(N, T + 1, 64, 64, 3) uint8, or latents (N, T + 1, H, W, C) float16."""
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

    def to(self, device: torch.device) -> "Window":
        """Return the batch on a device."""
        return Window(*(tensor.to(device) for tensor in vars(self).values()))


def draw_windows(episodes: Episodes, batch: int, unroll: int, rng: np.random.Generator) -> Window:
    """Draw `batch` windows of `unroll` steps; episodes shorter than that are never drawn."""
    return cut_windows(episodes, choose_windows(episodes, batch, unroll, rng), unroll)


def choose_windows(
    episodes: Episodes, batch: int, unroll: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return episode, first step and step of the first picture of `batch` windows (B, 3).

    The first picture is the window's own start half of the time, as when a rollout begins, and an
    earlier picture otherwise, as when it has gone on.

    Raises:
        InputError: No episode has `unroll` steps.
    """
    lengths = episodes.lengths_N.numpy()
    able = np.flatnonzero(lengths >= unroll)
    if batch and not len(able):
        raise InputError(
            f"windows of {unroll} steps: the longest of {len(episodes)} episodes has "
            f"{max(lengths.tolist(), default=0)}, must have at least {unroll}. Record longer "
            f"episodes or unroll less."
        )
    if not batch:
        return np.zeros((0, 3), np.int64)
    chosen = rng.choice(able, batch)
    starts = np.array([rng.integers(0, lengths[i] - unroll + 1) for i in chosen])
    firsts = np.where(rng.random(batch) < 0.5, starts, (starts * rng.random(batch)).astype(int))
    return np.stack([chosen, starts, firsts], axis=1)


def cut_windows(episodes: Episodes, choice_B3: NDArray[np.int64], unroll: int) -> Window:
    """Return the windows that `choose_windows` chose."""
    rows = torch.from_numpy(choice_B3[:, 0])[:, None]
    steps = torch.from_numpy(choice_B3[:, 1])[:, None] + torch.arange(unroll + 1)
    firsts = torch.from_numpy(choice_B3[:, 2])
    padded = torch.cat([torch.zeros_like(episodes.actions_NTA[:, :1]), episodes.actions_NTA], 1)
    return Window(
        images_BTCHW=_as_seen(episodes.images_NTHWC[rows, steps]),
        first_BCHW=_as_seen(episodes.images_NTHWC[rows[:, 0], firsts]),
        states_BTP=episodes.states_NTP[rows, steps],
        actions_BTA=padded[rows, steps],
    )


def _as_seen(images: Tensor) -> Tensor:
    """Return pictures (..., C, H, W) in [0, 1], latents as they are."""
    if images.dtype == torch.uint8:
        return to_unit(images)
    return images.movedim(-1, -3).contiguous().float()


def join(windows: Sequence[Window]) -> Window:
    """Join batches of windows of the same unroll."""
    names = ("images_BTCHW", "first_BCHW", "states_BTP", "actions_BTA")
    return Window(*(torch.cat([getattr(window, name) for window in windows]) for name in names))


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


def chain(parts: Sequence[Episodes]) -> Episodes:
    """Return the episodes of all parts, padded to the longest; only what every part has."""
    steps = max(part.actions_NTA.shape[1] for part in parts)
    joined: dict[str, Any] = {"lengths_N": torch.cat([part.lengths_N for part in parts])}
    for name in ("images_NTHWC", "states_NTP", "actions_NTA"):
        longest = steps + (name != "actions_NTA")
        joined[name] = torch.cat([_padded(getattr(part, name), longest) for part in parts])
    return Episodes(**joined)


def subset(episodes: Episodes, rows: Sequence[int]) -> Episodes:
    """Return some of the episodes."""
    index = torch.tensor(list(rows), dtype=torch.long)
    picked: dict[str, Any] = {
        name: None if value is None else value[index] for name, value in vars(episodes).items()
    }
    return Episodes(**picked)
