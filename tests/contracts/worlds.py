"""Worlds, policies and judges with teeth: every frame shows how many actions made it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from robot_agent.core.bridge_action import Normalization
from robot_agent.core.errors import InputError
from robot_agent.core.types import Observation, require_array
from robot_agent.models.chunk_policy import ChunkPolicy
from robot_agent.models.tiny_policy import CHUNK

_JOINTS = np.array([0.0, -0.6, 0.4, 0.0, 1.7, 0.0])
LIMIT = 0.5


def observations(count: int, size: tuple[int, int] = (64, 64), seed: int = 0) -> list[Observation]:
    rng = np.random.default_rng(seed)
    return [
        Observation(
            image_hwc=rng.integers(0, 256, (*size, 3), dtype=np.uint8),
            joints_rad=_JOINTS + rng.normal(0, 0.05, 6),
            gripper=float(rng.uniform()),
            stamp_ns=0,
        )
        for _ in range(count)
    ]


def counter_frames(row_B: np.ndarray, count_B: np.ndarray) -> np.ndarray:
    """Frames whose red says which rollout, and whose green says how many steps made it."""
    frames = np.zeros((len(row_B), 64, 64, 3), np.uint8)
    frames[..., 0] = row_B[:, None, None]
    frames[..., 1] = count_B[:, None, None]
    return frames


class Folded:
    """An autoencoder that loses nothing: four pixels become twelve channels."""

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pixel_unshuffle(images * 2.0 - 1.0, 2)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return (torch.nn.functional.pixel_shuffle(latents, 2) + 1.0) / 2.0


class CountingWorld:
    """Frame t shows t, and the action of frame t must carry t: a shifted action fails at once.

    The first number of an action is t in hundredths, which `counting_action` makes.
    """

    def __init__(self, *, strict: bool = True) -> None:
        self._strict = strict
        self._row_B = self._count_B = np.zeros(0, np.int64)
        self.batches: list[int] = []
        self.actions: list[np.ndarray] = []

    def reset(self, observations: Sequence[Observation]) -> np.ndarray:
        self._row_B = np.arange(len(observations))
        self._count_B = np.zeros(len(observations), np.int64)
        self.batches, self.actions = [], []
        return counter_frames(self._row_B, self._count_B)

    def step(self, actions_BA: np.ndarray) -> np.ndarray:
        actions = require_array("actions", actions_BA, (len(self._count_B), 7))
        if np.abs(actions[:, :6]).max(initial=0.0) > LIMIT:
            raise InputError(f"actions: over {LIMIT} m or rad: these are not Bridge actions.")
        if self._strict:
            chosen_for = np.rint(actions[:, 0] * 100).astype(int)
            assert (chosen_for == self._count_B).all(), (
                f"action was chosen for frame {chosen_for}, the world shows {self._count_B}"
            )
        self._count_B = self._count_B + 1
        self.batches.append(len(actions))
        self.actions.append(actions.copy())
        return counter_frames(self._row_B, self._count_B)

    def keep(self, rows: Sequence[int]) -> None:
        self._row_B, self._count_B = self._row_B[list(rows)], self._count_B[list(rows)]


def counting_action(count: int) -> np.ndarray:
    action = np.zeros(7)
    action[0] = count / 100
    return action


class CountingPolicy(ChunkPolicy):
    """Reads the step from the picture and gives each action of its chunk the step it belongs to.

    Token k of dimension 0 is the bin whose action is (count + k) / 100.
    """

    BINS = 101

    def __init__(self) -> None:
        super().__init__()
        normalization = Normalization()
        wanted = np.stack([counting_action(count) for count in range(self.BINS)])
        self._centers = torch.from_numpy(normalization.normalize(wanted)[:, 0])

    @property
    def num_instructions(self) -> int:
        return 2

    def bin_centers(self) -> torch.Tensor:
        return self._centers

    def forward(self, image_BCHW: torch.Tensor, instruction_B: torch.Tensor) -> torch.Tensor:
        count_B = (image_BCHW[:, 1, 0, 0] * 255).round().long()
        logits = torch.full((len(count_B), CHUNK, 7, self.BINS), -1e4)
        rest = int(self._centers.abs().argmin())
        logits[:, :, 1:, rest] = 0.0
        for k in range(CHUNK):
            logits[torch.arange(len(count_B)), k, 0, count_B + k] = 0.0
        return logits


class KnowingJudge:
    """Calls success from a known frame on, per rollout; progress is the step in hundredths."""

    def __init__(self, succeeds_at: dict[int, int]) -> None:
        self._at = succeeds_at
        self.seen: list[tuple[np.ndarray, np.ndarray]] = []
        """Rollouts and steps of each look."""

    def assess(
        self, first: np.ndarray, images: np.ndarray, instruction_ids: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        assert len(first) == len(images) == len(instruction_ids)
        rows, counts = images[:, 0, 0, 0], images[:, 0, 0, 1]
        self.seen.append((rows, counts))
        assert (first[:, 0, 0, 0] == rows).all(), "first frame of another rollout"
        assert (first[:, 0, 0, 1] == 0).all(), "the first frame is not the first"
        done = [
            count >= self._at.get(int(row), 10_000)
            for row, count in zip(rows, counts, strict=True)
        ]
        return np.array(done, float), counts / 100.0
