"""Roll the policy out in the world model, in groups, and judge as it goes.

Axis letters: B rollouts, N chunks, K action of a chunk, A dimension, H W C picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robot_agent.core.config import require_range
from robot_agent.core.types import FloatArray, ImageArray, Observation
from robot_agent.learn.judging import Attended, FrameJudge
from robot_agent.learn.rollouts import Rollouts
from robot_agent.models.chunk_policy import ChunkPolicy
from robot_agent.models.scaling import to_unit
from robot_agent.models.tiny_policy import CHUNK, sample_tokens, token_log_probs

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
    judged_frames: int = CHUNK
    """Last frames of each chunk that a judge of frames sees; a rollout ends at a chunk's end."""
    progress_weight: float = 0.5
    """Reward of the best progress, beside 1 for success."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("chunks", self.chunks, 1, 40)
        if self.safe_horizon is not None:
            require_range("safe_horizon", self.safe_horizon, 1, 1000, "steps")
        require_range("temperature", self.temperature, 0.05, 5.0)
        require_range("judged_frames", self.judged_frames, _HELD_FRAMES, CHUNK)
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


def imagine(
    world: Imagination,
    policy: ChunkPolicy,
    judge: FrameJudge | Attended | None,
    starts: Sequence[Start],
    config: ImagineConfig,
    *,
    group: int,
    version: int,
    generator: torch.Generator,
) -> Rollouts:
    """Return `group` rollouts of each start; a judged success ends a rollout and frees its row.

    The judge is heard at the end of each chunk, where a rollout may end.
    Without a judge all last to the horizon, their outcome is unknown and their clips are kept.
    """
    repeated = [start for start in starts for _ in range(group)]
    ids = np.array([start.instruction_id for start in repeated])
    frames = world.reset([start.observation for start in repeated])
    book = _Book(ids, config.num_chunks, frames)
    attended = judge if isinstance(judge, Attended) or judge is None else Attended(judge)
    alive = np.arange(len(ids))
    for n in range(config.num_chunks):
        tokens = book.decide(
            n, alive, frames, policy=policy, temperature=config.temperature, generator=generator
        )
        actions = policy.bridge_actions(tokens)
        asked = []
        for k in range(CHUNK):
            frames = world.step(actions[:, k])
            book.see(alive, frames, is_judged=judge is not None)
            if attended is not None and k >= CHUNK - config.judged_frames:
                answer = attended.assess(book.first[alive], frames, ids[alive])
                asked.append((n * CHUNK + k + 1, answer))
        for step, verdict in asked:
            book.note(alive, step, *verdict())
        staying = np.flatnonzero(book.ended[alive] == 0)
        alive, frames = alive[staying], frames[staying]
        world.keep(staying.tolist())
        if len(alive) == 0:
            break
    return book.close(group, version, config, is_judged=judge is not None)


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
        self.frames = [frames]
        """All frames while no judge ends a rollout."""

    def decide(
        self,
        n: int,
        alive: NDArray[np.int64],
        frames: ImageArray,
        *,
        policy: ChunkPolicy,
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

    def see(self, alive: NDArray[np.int64], frames: ImageArray, *, is_judged: bool) -> None:
        if alive[0] == 0:
            self.clip.append(frames[0])
        if not is_judged:
            self.frames.append(frames)

    def note(
        self, alive: NDArray[np.int64], step: int, success: FloatArray, progress: FloatArray
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

    def close(
        self, group: int, version: int, config: ImagineConfig, *, is_judged: bool
    ) -> Rollouts:
        success = (self.ended > 0).astype(np.float64)
        known = ((self.ended > 0) | ~self.unknown) & is_judged
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
            clips_BTHWC=None if is_judged else np.stack(self.frames, axis=1),
        )
