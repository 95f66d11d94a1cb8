"""Judges of imagined episodes, picture by picture or whole clips, asked beside the rollouts.

Axis letters: B rollouts, T time, H W C picture.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from robot_agent.core.config import require_range
from robot_agent.core.daemon_pool import DaemonPool
from robot_agent.core.protocols import Judge
from robot_agent.core.types import FloatArray, ImageArray
from robot_agent.learn.budget import OutOfBudgetError
from robot_agent.learn.rollouts import Rollouts

Result = TypeVar("Result")
_LOOK_S = 0.2
"""How often who waits for a verdict looks whether the time is over."""


class FrameJudge(Protocol):
    """Judges imagined pictures as they come; its success ends a rollout."""

    def assess(
        self, first: ImageArray, images: ImageArray, instruction_ids: NDArray[np.int64]
    ) -> tuple[FloatArray, FloatArray]:
        """Return success probability and progress, both (B,) in [0, 1]; NaN is unknown.

        Args:
            first: First pictures of the rollouts (B, H, W, 3) uint8.
            images: Their present pictures, same shape.
            instruction_ids: Index of each one's instruction (B,).
        """


class Ask(Protocol):
    """Puts a question and returns where its answer will be."""

    def __call__(
        self, question: Callable[..., Result], /, *arguments: Any
    ) -> Callable[[], Result]:
        """Return a function that returns the answer or raises what the judge raised."""


def at_once(question: Callable[..., Result], /, *arguments: Any) -> Callable[[], Result]:
    """Ask before anything else is done: the serial order."""
    answer = question(*arguments)
    return lambda: answer


class Beside:
    """An `Ask` whose questions are answered in a thread, in their order, while the asker goes on.

    The answers are those of the serial order. Who waits for one is released within a fraction of
    a second when the time is over; a judge that does not answer is left behind.
    """

    def __init__(self, pool: DaemonPool, is_over: Callable[[], bool]) -> None:
        """Ask in `pool`, which should have one thread."""
        self._pool, self._is_over = pool, is_over

    def __call__(
        self, question: Callable[..., Result], /, *arguments: Any
    ) -> Callable[[], Result]:
        """Put the question; see `Ask`."""
        future = self._pool.submit(question, *arguments)

        def answer() -> Result:
            while True:
                try:
                    return future.result(timeout=_LOOK_S)
                except TimeoutError:
                    if future.done():
                        raise  # the judge's own
                    if self._is_over():
                        raise OutOfBudgetError(
                            "judging was broken off: its time is used up"
                        ) from None

        return answer


@dataclass(frozen=True)
class Attended:
    """A judge of frames, and how it is asked."""

    judge: FrameJudge
    ask: Ask = at_once

    def assess(
        self, first: ImageArray, images: ImageArray, instruction_ids: NDArray[np.int64]
    ) -> Callable[[], tuple[FloatArray, FloatArray]]:
        """Ask for success and progress; return where the answer will be."""
        return self.ask(self.judge.assess, first, images, instruction_ids)


class ClipReward:
    """A judge of whole clips as a reward, such as a vision-language model.

    It sees a group of rollouts when they have ended, at the horizon: nothing ends them before.
    What it cannot say is unknown and teaches nothing; it is never a failure.
    """

    def __init__(self, judge: Judge, instructions: Sequence[str], threshold: float = 0.5) -> None:
        """Take a judge, the instructions behind the ids, and the score above which it is done."""
        require_range("threshold", threshold, 0.0, 1.0)
        self._judge, self._threshold = judge, threshold
        self.instructions = tuple(instructions)

    @property
    def spent(self) -> str:
        """Why it answers nothing any more, in words; empty while it does."""
        return str(getattr(self._judge, "spent", ""))

    def judged(self, rollouts: Rollouts, progress_weight: float) -> Rollouts:
        """Return rollouts with success, progress (the score) and reward; their clips are dropped.

        Raises:
            ValueError: They hold no clips.
        """
        clips = rollouts.clips_BTHWC
        if clips is None:
            raise ValueError("rollouts hold no clips to judge; imagine them without a judge.")
        names = [self.instructions[i] for i in rollouts.instructions_B.tolist()]
        score = np.asarray(self._judge.score(clips, names), np.float64)
        known = ~np.isnan(score)
        success = np.where(known, score > self._threshold, np.nan)
        reward = np.where(known, success + progress_weight * score, 0.0)
        return dataclasses.replace(
            rollouts,
            success_B=success,
            reward_B=reward,
            progress_B=np.where(known, score, 0.0),
            kept_B=None if known.all() else known,
            clips_BTHWC=None,
        )
