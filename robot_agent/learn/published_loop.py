"""The published training loop on our networks, as its released code runs it: to compare with.

Source: World-Gymnast, arXiv 2602.02454, sections 3.1 and 4.1; released code (world-gymnast,
Feb 2026): `rob_rollout.py` and `ray_trainer.py`.

Axis letters: B rollouts, N chunks, K action of a chunk, A dimension, T time, H W C picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from robot_agent.core.clock import ProcessStopwatch, Stopwatch
from robot_agent.core.config import require_range
from robot_agent.core.types import FloatArray, ImageArray
from robot_agent.learn.grpo import GrpoConfig, clipped_loss, group_advantages
from robot_agent.learn.imagine import Imagination, Start
from robot_agent.learn.stage_times import StageTimes
from robot_agent.models.classifier_judge import ClassifierJudge
from robot_agent.models.scaling import to_unit
from robot_agent.models.tiny_policy import CHUNK, TinyPolicy, sample_tokens, token_log_probs


@dataclass(frozen=True, kw_only=True)
class PublishedLoopConfig:
    """Its published settings, but for the temperature, which is ours in both loops."""

    prompts: int = 20
    """Groups of one update, and start frames that are drawn at a time, all of one instruction."""
    group: int = 8
    chunks: int = 8
    """40 steps; every rollout runs all of them."""
    temperature: float = 1.0
    grpo: GrpoConfig = field(default_factory=GrpoConfig)

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("prompts", self.prompts, 1, 1000)
        require_range("group", self.group, 2, 64)
        require_range("chunks", self.chunks, 1, 100)


@dataclass(eq=False)
class _Group:
    """Rollouts of one start frame."""

    images_BNHWC: Tensor
    tokens_BNKA: Tensor
    log_probs_BNKA: Tensor
    frames_BTHWC: ImageArray
    instruction_id: int
    reward_B: FloatArray


class PublishedLoop:
    """Group after group, 40 steps each; the judge at the end while all wait; the surplus is lost.

    A useful sample is a chunk of a rollout with an advantage that began before the judge first
    calls the task done: what comes after cannot teach it.
    """

    def __init__(
        self,
        policy: TinyPolicy,
        world: Imagination,
        judge: ClassifierJudge,
        starts: Sequence[Start],
        config: PublishedLoopConfig,
        *,
        seed: int,
    ) -> None:
        """Take what is trained, in place, and what it is trained in."""
        self._policy, self._world, self._judge = policy, world, judge
        self._starts, self._config = starts, config
        self._rng = np.random.default_rng(seed)
        self._generator = torch.Generator().manual_seed(seed)
        self._optimizer = torch.optim.AdamW(policy.parameters(), lr=config.grpo.learning_rate)
        self.times, self.seconds, self.processor_seconds = StageTimes(), 0.0, 0.0
        self.rollouts = self.updates = self.samples = self.useful = 0

    def run(self, seconds: float) -> None:
        """Make updates until the time is over; a batch that is not full by then is lost, too."""
        kept: list[_Group] = []
        while self.seconds < seconds:
            watch, processor = Stopwatch(), ProcessStopwatch()
            kept += self._generate()
            batch = kept[: self._config.prompts]
            if is_full := len(batch) == self._config.prompts:
                self._update(batch)
            self.seconds += watch.seconds()
            self.processor_seconds += processor.seconds()
            if is_full:
                self._count(batch)
                kept = []

    def _generate(self) -> list[_Group]:
        """Return the groups of mixed outcome among one drawing of prompts."""
        ids = sorted({start.instruction_id for start in self._starts})
        task = ids[self._rng.integers(len(ids))]
        own = [start for start in self._starts if start.instruction_id == task]
        chosen = [own[self._rng.integers(len(own))] for _ in range(self._config.prompts)]
        groups = [self._roll_out(start) for start in chosen]
        names = [self._judge.instructions[task]] * self._config.group
        for group in groups:
            with self.times.of("judge", self._config.group):
                group.reward_B = (self._judge.score(group.frames_BTHWC, names) > 0.5).astype(float)
        return [group for group in groups if 0.1 <= group.reward_B.mean() <= 0.9]

    @torch.no_grad()
    def _roll_out(self, start: Start) -> _Group:
        config, size = self._config, self._config.group
        with self.times.of("world"):
            frames = self._world.reset([start.observation] * size)
        ids, seen = torch.full((size,), start.instruction_id), [frames]
        images, tokens, log_probs = [], [], []
        for _ in range(config.chunks):
            with self.times.of("policy"):
                logits = self._policy(to_unit(frames), ids)
                drawn = sample_tokens(logits, config.temperature, self._generator)
            images.append(torch.from_numpy(frames))
            tokens.append(drawn)
            log_probs.append(token_log_probs(logits, drawn, config.temperature))
            actions = self._policy.bridge_actions(drawn)
            for k in range(CHUNK):
                with self.times.of("world"):
                    frames = self._world.step(actions[:, k])
                seen.append(frames)
        self.rollouts += size
        return _Group(
            torch.stack(images, dim=1),
            torch.stack(tokens, dim=1),
            torch.stack(log_probs, dim=1),
            np.stack(seen, axis=1),
            start.instruction_id,
            np.zeros(size),
        )

    def _update(self, batch: Sequence[_Group]) -> None:
        """Take one optimiser step over the whole batch, a trajectory at a time."""
        with self.times.of("update"):
            self._optimizer.zero_grad(set_to_none=True)
            total = len(batch) * self._config.group
            for group in batch:
                advantage = group_advantages(group.reward_B, self._config.group)
                for row in range(self._config.group):
                    self._trajectory_loss(group, row, advantage[row], total).backward()
            clip = self._config.grpo.clip_norm
            torch.nn.utils.clip_grad_norm_(self._policy.parameters(), clip)
            self._optimizer.step()
        self.updates += 1

    def _trajectory_loss(self, group: _Group, row: int, advantage: float, total: int) -> Tensor:
        ids = torch.full((self._config.chunks,), group.instruction_id)
        logits = self._policy(to_unit(group.images_BNHWC[row]), ids)
        new = token_log_probs(logits, group.tokens_BNKA[row], self._config.temperature)
        weight = torch.full((self._config.chunks, 1, 1), float(advantage))
        return clipped_loss(new, group.log_probs_BNKA[row], weight, self._config.grpo) / total

    def _count(self, batch: Sequence[_Group]) -> None:
        """Add the samples of an update, and those of them that began before the task was done."""
        for group in batch:
            ids = np.full(self._config.group, group.instruction_id)
            done = np.zeros(self._config.group, dtype=bool)
            before = np.zeros(self._config.group, dtype=bool)
            for t in range(self._config.chunks * CHUNK):
                if t % CHUNK == 0:
                    self.samples += self._config.group
                    self.useful += int((~done).sum())
                frames = group.frames_BTHWC
                said = self._judge.assess(frames[:, 0], frames[:, t + 1], ids)[0] > 0.5
                done |= said & before
                before = said
