"""Episodes with teeth: every picture, state and action says which episode and step it is of."""

from __future__ import annotations

import numpy as np
import torch

from robot_agent.core.types import Episode
from robot_agent.learn.data import Episodes


def counting_episodes(
    count: int = 3, steps: int = 8, lengths: list[int] | None = None
) -> Episodes:
    """Picture t shows (episode, t); action t holds (episode, t); state t holds (episode, t)."""
    images = np.zeros((count, steps + 1, 64, 64, 3), np.uint8)
    states = np.zeros((count, steps + 1, 7), np.float32)
    actions = np.zeros((count, steps, 7), np.float32)
    for n in range(count):
        for t in range(steps + 1):
            images[n, t, ..., 0], images[n, t, ..., 1] = n + 1, t
            states[n, t, :2] = n + 1, t
            if t < steps:
                actions[n, t, :2] = n + 1, t
    return Episodes(
        images_NTHWC=torch.from_numpy(images),
        states_NTP=torch.from_numpy(states),
        actions_NTA=torch.from_numpy(actions),
        lengths_N=torch.tensor(lengths or [steps] * count),
    )


def moving_dot(count: int = 24, steps: int = 8, seed: int = 0) -> Episodes:
    """A bright dot that moves by the action: the smallest world there is to learn."""
    rng = np.random.default_rng(seed)
    images = np.full((count, steps + 1, 64, 64, 3), 40, np.uint8)
    states = np.zeros((count, steps + 1, 7), np.float32)
    actions = np.zeros((count, steps, 7), np.float32)
    for n in range(count):
        place = rng.uniform(20, 44, 2)
        for t in range(steps + 1):
            row, column = np.rint(np.clip(place, 6, 57)).astype(int)
            images[n, t, row - 5 : row + 6, column - 5 : column + 6] = (230, 200, 60)
            states[n, t, :2] = (place - 32) / 16
            if t < steps:
                actions[n, t, :2] = rng.uniform(-1, 1, 2)
                place = np.clip(place + 6 * actions[n, t, :2], 8, 55)
    return Episodes(
        images_NTHWC=torch.from_numpy(images),
        states_NTP=torch.from_numpy(states),
        actions_NTA=torch.from_numpy(actions),
        lengths_N=torch.full((count,), steps),
    )


def real_episode(
    episode_id: str = "e0",
    steps: int = 4,
    size: tuple[int, int] = (64, 64),
    instruction: str = "open the drawer",
    seed: int = 0,
) -> Episode:
    rng = np.random.default_rng(seed)
    return Episode(
        episode_id=episode_id,
        instruction=instruction,
        images=rng.integers(0, 256, (steps + 1, *size, 3), dtype=np.uint8),
        actions=rng.uniform(-0.02, 0.02, (steps, 7)),
        proposed=np.zeros((steps, 7)),
        joints_rad=np.tile([0.0, -0.6, 0.4, 0.0, 1.7, 0.0], (steps + 1, 1)),
        gripper=np.ones(steps + 1),
        weights_versions=("v1",) * steps,
        controllers=("policy",) * steps,
    )
