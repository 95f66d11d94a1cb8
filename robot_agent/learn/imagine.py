"""Roll the policy out in the world model, in groups, and judge as it goes.

Axis letters: B rollouts, N chunks, K action of a chunk, A dimension, H W C picture.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robot_agent.core.bridge_action import Normalization
from robot_agent.core.config import require_range
from robot_agent.core.types import FloatArray, ImageArray, Observation
from robot_agent.models.classifier_judge import ClassifierJudge
from robot_agent.models.scaling import to_unit
from robot_agent.models.tiny_policy import CHUNK, TinyPolicy, sample_tokens, token_log_probs

_HELD_FRAMES = 2
"""Frames in a row that the judge must call success; they end the rollout."""


@dataclass(frozen=True, kw_only=True)
class ImagineConfig:
    """How rollouts are made and rewarded."""

    chunks: int = 6
    """Longest rollout in chunks of 5 actions."""
    safe_horizon: int | None = None
    """Steps for which the world model of this scene can be trusted; rollouts end before it, and
    are one chunk at least. None knows no limit."""
    temperature: float = 1.0
    """Of sampling, and of the log-probabilities in the update."""
    progress_weight: float = 0.5
    """Reward of the best progress, beside 1 for success."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("chunks", self.chunks, 1, 40)
        if self.safe_horizon is not None:
            require_range("safe_horizon", self.safe_horizon, 1, 1000, "steps")
        require_range("temperature", self.temperature, 0.05, 5.0)
        require_range("progress_weight", self.progress_weight, 0.0, 1.0)

    @property
    def num_chunks(self) -> int:
        """Chunks of a rollout inside the safe horizon."""
        if self.safe_horizon is None:
            return self.chunks
        return max(1, min(self.chunks, self.safe_horizon // CHUNK))


@dataclass(frozen=True)
class Start:
    """A real observation to imagine from, and what to do."""

    observation: Observation
    instruction_id: int


class Imagination(Protocol):
    """A `WorldModel` whose ended rollouts leave the batch."""

    def reset(self, observations: Sequence[Observation]) -> ImageArray:
        """Begin a batch of rollouts; return their frames (B, 64, 64, 3)."""

    def step(self, actions_BA: FloatArray) -> ImageArray:
        """Advance every rollout by one Bridge action (B, 7); return frames."""

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rollouts only."""


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
    """1 or 0; NaN where the judge could not say, and such a rollout is not kept: unknown is no
    failure."""
    reward_B: FloatArray
    progress_B: FloatArray
    """Best progress."""
    steps_B: NDArray[np.int64]
    """Imagined steps until success or the horizon."""
    group: int
    """Rollouts of one start frame stand together in groups of this size."""
    version: int
    """Update count of the weights that drew them; of a batch, the oldest."""
    clip: ImageArray
    """Frames of the first rollout (T + 1, 64, 64, 3), for reports."""
    kept_B: NDArray[np.bool_] | None = None
    """Rollouts on which the members agree; None keeps all."""

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], group: int, version: int) -> "Rollouts":
        """Return the rollouts of `tensors_of`."""
        values: dict[str, Any] = {name: tensors[name] for name in _TENSORS}
        values |= {name: tensors[name].numpy() for name in (*_ARRAYS, "clip")}
        if "kept_B" in tensors:
            values["kept_B"] = tensors["kept_B"].numpy()
        return cls(**values, group=group, version=version)


def imagine(
    world: Imagination,
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
    book = _Book(ids, config.num_chunks, frames)
    alive = np.arange(len(ids))
    centers = policy.bin_centers().double().numpy()
    for n in range(config.num_chunks):
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


_TENSORS = ("images_BNHWC", "tokens_BNKA", "log_probs_BNKA", "mask_BN", "instructions_B")
_ARRAYS = ("success_B", "reward_B", "progress_B", "steps_B")


def tensors_of(rollouts: Rollouts) -> dict[str, Tensor]:
    """Return everything of the rollouts but group and version."""
    found = {name: getattr(rollouts, name) for name in _TENSORS}
    found |= {name: torch.from_numpy(getattr(rollouts, name)) for name in (*_ARRAYS, "clip")}
    if rollouts.kept_B is not None:
        found["kept_B"] = torch.from_numpy(rollouts.kept_B)
    return found


def merge(parts: Sequence[Rollouts]) -> Rollouts:
    """Return rollouts of several worlds as one batch; groups stay whole."""
    joined: dict[str, Any] = {
        name: torch.cat([getattr(part, name) for part in parts]) for name in _TENSORS
    } | {name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS}
    if any(part.kept_B is not None for part in parts):
        joined["kept_B"] = np.concatenate([_kept(part) for part in parts])
    oldest = min(part.version for part in parts)
    return Rollouts(**joined, group=parts[0].group, version=oldest, clip=parts[0].clip)


def take_groups(rollouts: Rollouts, groups: Sequence[int]) -> Rollouts:
    """Return some groups of a batch, in the order given."""
    rows = (np.array(groups, int)[:, None] * rollouts.group + np.arange(rollouts.group)).ravel()
    picked: dict[str, Any] = {
        name: getattr(rollouts, name)[torch.from_numpy(rows)] for name in _TENSORS
    } | {name: getattr(rollouts, name)[rows] for name in _ARRAYS}
    if rollouts.kept_B is not None:
        picked["kept_B"] = rollouts.kept_B[rows]
    return dataclasses.replace(rollouts, **picked)


def _kept(rollouts: Rollouts) -> NDArray[np.bool_]:
    return np.ones(len(rollouts.reward_B), bool) if rollouts.kept_B is None else rollouts.kept_B


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
        progress = np.where(np.isnan(success), 0.0, progress)  # unknown; else NaN is a fault
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
            success_B=np.where(known, success, np.nan),
            reward_B=success + config.progress_weight * self.best,
            progress_B=self.best,
            steps_B=np.where(self.ended > 0, self.ended, config.num_chunks * CHUNK),
            group=group,
            version=version,
            clip=np.stack(self.clip),
            kept_B=None if known.all() else known,
        )
