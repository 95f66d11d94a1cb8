"""Training data in memory: episodes of equal length as tensors, and windows drawn from them.

Axis letters: N episodes, B batch, T time, U unrolled steps, C H W picture, A action, P state.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file
from torch import Tensor

from robot_agent.models.scaling import scale_actions, scale_states, to_unit


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


@dataclass(eq=False)
class Window:
    """A batch of U steps in a row, with an earlier picture of the same episode."""

    images_BTCHW: Tensor
    """(B, U + 1, 3, 64, 64) in [0, 1]."""
    first_BCHW: Tensor
    states_BTP: Tensor
    actions_BTA: Tensor
    """(B, U + 1, 7): the action before the window, then the U actions."""


def draw_windows(
    episodes: Episodes, batch: int, unroll: int, rng: np.random.Generator
) -> Window:
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
