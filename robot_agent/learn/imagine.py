"""Roll the policy out in the world model, in groups, and judge as it goes.

Axis letters: B rollouts, N chunks, K action of a chunk, A dimension, H W C picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robot_agent.core.bridge_action import Normalization
from robot_agent.core.config import require_range
from robot_agent.core.types import FloatArray, ImageArray, Observation
from robot_agent.models.classifier_judge import ClassifierJudge
from robot_agent.models.scaling import to_unit
from robot_agent.models.tiny_imagination import TinyImagination
from robot_agent.models.tiny_policy import CHUNK, TinyPolicy, sample_tokens, token_log_probs

_HELD_FRAMES = 2
"""Frames in a row that the judge must call success; they end the rollout."""


@dataclass(frozen=True, kw_only=True)
class ImagineConfig:
    """How rollouts are made and rewarded."""

    chunks: int = 6
    """Longest rollout in chunks of 5 actions; the safe horizon may shorten it."""
    temperature: float = 1.0
    """Of sampling, and of the log-probabilities in the update."""
    progress_weight: float = 0.5
    """Reward of the best progress, beside 1 for success."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("chunks", self.chunks, 1, 40)
        require_range("temperature", self.temperature, 0.05, 5.0)
        require_range("progress_weight", self.progress_weight, 0.0, 1.0)


@dataclass(frozen=True)
class Start:
    """A real observation to imagine from, and what to do."""

    observation: Observation
    instruction_id: int


@dataclass(eq=False)
class Rollouts:
    """A batch of imagined episodes with everything that an update needs."""

    images_BNHWC: Tensor
    """Pictures at the start of each chunk (B, N, 64, 64, 3) uint8."""
    tokens_BNKA: Tensor
    log_probs_BNKA: Tensor
    """Of the tokens under the weights that drew them."""
    mask_BN: Tensor
    """1 for chunks that began before the rollout ended."""
    instructions_B: Tensor
    success_B: FloatArray
    reward_B: FloatArray
    """Of those that the judge knows; 0 and of no group where it does not."""
    known_B: NDArray[np.bool_]
    """False where the judge could not say: unknown is no failure."""
    steps_B: NDArray[np.int64]
    """Imagined steps until success or the horizon."""
    group: int
    """Rollouts of one start frame stand together in groups of this size."""
    version: int
    """Update count of the weights that drew them."""
    clip: ImageArray
    """Frames of the first rollout (T + 1, 64, 64, 3), for reports."""


def imagine(
    world: TinyImagination,
    policy: TinyPolicy,
    judge: ClassifierJudge,
    starts: Sequence[Start],
    config: ImagineConfig,
    *,
    group: int,
    version: int,
    generator: torch.Generator,
) -> Rollouts:
    """Return `group` rollouts of each start; a judged success ends a rollout and frees its row."""
    repeated = [start for start in starts for _ in range(group)]
    ids = np.array([start.instruction_id for start in repeated])
    frames = world.reset([start.observation for start in repeated])
    book = _Book(ids, config.chunks, frames)
    alive = np.arange(len(ids))
    centers = policy.bin_centers().double().numpy()
    for n in range(config.chunks):
        tokens = book.decide(
            n, alive, frames, policy=policy, temperature=config.temperature, generator=generator
        )
        actions = Normalization().unnormalize(centers[tokens.numpy()])
        for k in range(CHUNK):
            frames = world.step(actions[:, k])
            success, progress = judge.assess(book.first[alive], frames, ids[alive])
            book.note(alive, n * CHUNK + k + 1, success, progress, frames)
        staying = np.flatnonzero(book.ended[alive] == 0)
        alive, frames = alive[staying], frames[staying]
        world.keep(staying.tolist())
        if len(alive) == 0:
            break
    return book.close(group, version, config)


def merge(parts: Sequence[Rollouts]) -> Rollouts:
    """Return rollouts of several worlds as one batch; groups stay whole."""
    first = parts[0]
    joined: dict[str, Any] = {
        name: torch.cat([getattr(part, name) for part in parts])
        for name in (
            "images_BNHWC",
            "tokens_BNKA",
            "log_probs_BNKA",
            "mask_BN",
            "instructions_B",
        )
    } | {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("success_B", "reward_B", "known_B", "steps_B")
    }
    return Rollouts(**joined, group=first.group, version=first.version, clip=first.clip)


class _Book:
    """Keeps what happened to each rollout while the batch shrinks."""

    def __init__(self, ids: NDArray[np.int64], chunks: int, frames: ImageArray) -> None:
        batch = len(ids)
        self.ids, self.first = ids, frames
        self.images = torch.zeros(batch, chunks, *frames.shape[1:], dtype=torch.uint8)
        self.tokens = torch.zeros(batch, chunks, CHUNK, 7, dtype=torch.long)
        self.log_probs = torch.zeros(batch, chunks, CHUNK, 7)
        self.mask = torch.zeros(batch, chunks)
        self.ended = np.zeros(batch, dtype=np.int64)
        self.held = np.zeros(batch, dtype=np.int64)
        self.best = np.zeros(batch)
        self.last_progress = np.zeros(batch)
        self.unknown = np.zeros(batch, dtype=bool)
        self.clip = [frames[0]]

    def decide(
        self,
        n: int,
        alive: NDArray[np.int64],
        frames: ImageArray,
        *,
        policy: TinyPolicy,
        temperature: float,
        generator: torch.Generator,
    ) -> Tensor:
        rows = torch.from_numpy(alive)
        with torch.no_grad():
            logits = policy(to_unit(frames), torch.from_numpy(self.ids[alive]))
        tokens = sample_tokens(logits, temperature, generator)
        self.images[rows, n] = torch.from_numpy(frames)
        self.tokens[rows, n] = tokens
        self.log_probs[rows, n] = token_log_probs(logits, tokens, temperature)
        self.mask[rows, n] = 1.0
        return tokens

    def note(
        self,
        alive: NDArray[np.int64],
        step: int,
        success: FloatArray,
        progress: FloatArray,
        frames: ImageArray,
    ) -> None:
        self.unknown[alive] |= np.isnan(success)
        progress = np.nan_to_num(progress, nan=0.0)
        said = success > 0.5
        self.held[alive] = np.where(said, self.held[alive] + 1, 0)
        newly = alive[(self.held[alive] >= _HELD_FRAMES) & (self.ended[alive] == 0)]
        self.ended[newly] = step
        smooth = 0.5 * (progress + self.last_progress[alive]) if step > 1 else progress
        self.best[alive] = np.maximum(self.best[alive], smooth)
        self.last_progress[alive] = progress
        if len(alive) and alive[0] == 0:
            self.clip.append(frames[0])

    def close(self, group: int, version: int, config: ImagineConfig) -> Rollouts:
        success = (self.ended > 0).astype(np.float64)
        known = (self.ended > 0) | ~self.unknown
        return Rollouts(
            images_BNHWC=self.images,
            tokens_BNKA=self.tokens,
            log_probs_BNKA=self.log_probs,
            mask_BN=self.mask,
            instructions_B=torch.from_numpy(self.ids),
            success_B=success,
            reward_B=np.where(known, success + config.progress_weight * self.best, 0.0),
            known_B=known,
            steps_B=np.where(self.ended > 0, self.ended, config.chunks * CHUNK),
            group=group,
            version=version,
            clip=np.stack(self.clip),
        )
