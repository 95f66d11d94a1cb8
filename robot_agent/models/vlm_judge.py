"""A vision-language model as judge: votes, retries, budgets and a memory of what was answered.

Axis letters: B clips, T time, H height, W width, C channels.
"""

import math
import threading
from collections import Counter
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np

from robot_agent.core.clock import SystemClock
from robot_agent.core.config import require_range
from robot_agent.core.daemon_pool import DaemonPool
from robot_agent.core.errors import InputError, JudgeUnavailableError
from robot_agent.core.protocols import Clock
from robot_agent.core.types import FloatArray, ImageArray
from robot_agent.models.vlm_question import (
    Question,
    VisionLanguageModel,
    choose_frames,
    question_text,
    score_of_text,
    score_of_words,
    verdict_of,
)


@dataclass(frozen=True, kw_only=True)
class PartialCredit:
    """What counts as half done."""

    instruction: str
    reached: str
    """In words, for example `the gripper holds the handle`."""


@dataclass(frozen=True, kw_only=True)
class VlmJudgeConfig:
    """How a vision-language model is asked."""

    frames: int = 8
    """Pictures of a clip that are shown, the first and the last among them."""
    image_px: int = 256
    """Longer side of a picture as it is shown."""
    votes: int = 3
    scoring: Literal["answer", "probability"] = "answer"
    """By the verdict that the model writes, or by how likely each verdict is as its first word."""
    agreement: float = 0.6
    """Share of all votes that must be on one side; else the verdict is unknown."""
    temperature: float = 0.7
    """Of written answers."""
    max_answer_tokens: int = 160
    partial: tuple[PartialCredit, ...] = ()
    attempts: int = 4
    """How often a question is put before its vote is unknown."""
    backoff_s: float = 0.5
    """Wait before the second attempt; doubles with each. A server's own wish goes before."""
    max_wait_s: float = 30.0
    parallel: int = 4
    """Questions that are open at once."""
    max_calls: int = 20_000
    max_tokens: int = 50_000_000
    max_minutes: float = 240.0
    """From the first question on; a question in flight is let end."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("frames", self.frames, 2, 64)
        require_range("image_px", self.image_px, 32, 2048)
        require_range("votes", self.votes, 1, 25)
        require_range("agreement", self.agreement, 0.5, 1.0)
        require_range("temperature", self.temperature, 0.0, 2.0)
        require_range("attempts", self.attempts, 1, 20)
        require_range("backoff_s", self.backoff_s, 0.0, 60.0)
        require_range("max_wait_s", self.max_wait_s, 0.0, 600.0)
        require_range("parallel", self.parallel, 1, 64)
        require_range("max_minutes", self.max_minutes, 0.0, 10_000.0)


@dataclass(eq=False)
class Usage:
    """What was asked, answered, and not."""

    calls: int = 0
    """Attempts that reached for the model."""
    tokens: int = 0
    cached: int = 0
    """Votes that were known already."""
    unknown: Counter[str] = field(default_factory=Counter)
    """Votes without an answer, by cause."""
    models: set[str] = field(default_factory=set)
    """Names that the answering models gave themselves; more than one is refused."""


class VlmJudge:
    """A `Judge` that asks a vision-language model; the threads of a call share its budget.

    What it cannot say is NaN, unknown: after an outage, without budget, after a tie or too much
    disagreement. It never turns into a failure.
    """

    def __init__(
        self,
        model: VisionLanguageModel,
        config: VlmJudgeConfig,
        *,
        clock: Clock | None = None,
        memory: MutableMapping[str, float] | None = None,
    ) -> None:
        """Ask `model`; votes by fingerprint of their question are kept in `memory`."""
        self._model, self._config = model, config
        self._clock = clock or SystemClock()
        self._memory = {} if memory is None else memory
        self._partial = {p.instruction.lower(): p.reached for p in config.partial}
        self._lock, self._began_ns = threading.Lock(), -1
        self.usage = Usage()
        self.spent = ""
        """Which budget is used up, in words; all verdicts are unknown from then on."""

    @property
    def name(self) -> str:
        """Return the pinned name of the model."""
        return self._model.name

    def score(self, frames_BTHWC: ImageArray, instructions: Sequence[str]) -> FloatArray:
        """Return success probabilities (B,) in [0, 1] of clips (B, T, H, W, 3) uint8; NaN unknown.

        Raises:
            InputError: A clip without two frames, or an empty instruction.
        """
        if len(frames_BTHWC) != len(instructions) or not all(map(str.strip, instructions)):
            raise InputError(
                f"judge: {len(frames_BTHWC)} clips for instructions {list(instructions)}, must be "
                f"as many, none empty. Give each clip its instruction."
            )
        asked = [
            [self._question(clip, words, vote) for vote in range(self._config.votes)]
            for clip, words in zip(frames_BTHWC, instructions, strict=True)
        ]
        flat = [question for questions in asked for question in questions]
        with DaemonPool(min(self._config.parallel, max(1, len(flat))), "vlm") as pool:
            open_votes = [pool.submit(self._vote, question) for question in flat]
            votes = iter([vote.result() for vote in open_votes])
        agreed = self._config.agreement
        return np.array([verdict_of([next(votes) for _ in qs], agreed) for qs in asked])

    def _question(self, clip: ImageArray, instruction: str, vote: int) -> Question:
        config = self._config
        is_one_word = config.scoring == "probability"
        shown = choose_frames(len(clip), config.frames, vote)
        partial = self._partial.get(instruction.lower(), "")
        return Question(
            text=question_text(instruction, len(shown), partial, is_one_word=is_one_word),
            images=tuple(resized(clip[i], config.image_px) for i in shown),
            is_one_word=is_one_word,
            seed=config.seed + vote,
            temperature=0.0 if is_one_word else config.temperature,
            max_tokens=1 if is_one_word else config.max_answer_tokens,
        )

    def _vote(self, question: Question) -> float:
        key = question.fingerprint(self._model.name)
        with self._lock:
            if key in self._memory:
                self.usage.cached += 1
                return self._memory[key]
        for attempt in range(self._config.attempts):
            try:
                vote = self._ask(question)
            except JudgeUnavailableError as error:
                if not error.is_passing or attempt + 1 == self._config.attempts:
                    return self._unknown(str(error))
                self._wait(attempt, error.wait_s)
                continue
            with self._lock:
                self._memory[key] = vote
            return vote
        return math.nan

    def _ask(self, question: Question) -> float:
        """Ask once within the budget; a model other than before is none that may answer."""
        self._spend()
        answer = self._model.ask(question)
        with self._lock:
            self.usage.tokens += answer.tokens
            self.usage.models.add(answer.model)
            is_other = len(self.usage.models) > 1
        if is_other:
            raise JudgeUnavailableError(
                f"judge: answers come from {', '.join(sorted(self.usage.models))}, must be one "
                f"model: scores of two cannot be compared. Pin the model by its exact name.",
                is_passing=False,
            )
        if question.is_one_word:
            return score_of_words(answer.probabilities or {})
        return score_of_text(answer.text)

    def _spend(self) -> None:
        with self._lock:
            if self._began_ns < 0:
                self._began_ns = self._clock.now_ns()
            minutes = (self._clock.now_ns() - self._began_ns) / 60e9
            config, usage = self._config, self.usage
            for what, used, limit in (
                ("calls", usage.calls, config.max_calls),
                ("tokens", usage.tokens, config.max_tokens),
                ("minutes", minutes, config.max_minutes),
            ):
                if used >= limit:
                    self.spent = (
                        f"judge: {used:g} {what} are used, limit {limit:g}. Raise max_{what}, or "
                        f"judge fewer clips."
                    )
                    raise JudgeUnavailableError(self.spent, is_passing=False)
            usage.calls += 1

    def _wait(self, attempt: int, wished_s: float | None) -> None:
        pause_s = self._config.backoff_s * 2**attempt if wished_s is None else wished_s
        pause_s = min(pause_s, self._config.max_wait_s)
        self._clock.sleep_until(self._clock.now_ns() + round(pause_s * 1e9))

    def _unknown(self, cause: str) -> float:
        with self._lock:
            self.usage.unknown[cause] += 1
        return math.nan


def resized(image_hwc: ImageArray, longer_px: int) -> ImageArray:
    """Return a picture scaled until its longer side is `longer_px`, proportions kept."""
    height, width = image_hwc.shape[:2]
    scale = longer_px / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image_hwc, size, interpolation=how), dtype=np.uint8)
