"""Probation: real episodes decide, one after the other, whether new weights stay."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robot_agent.core.config import require_range
from robot_agent.core.errors import SwapRefusedError
from robot_agent.release.registry import Registry
from robot_agent.release.states import State


class Verdict(StrEnum):
    """What probation says."""

    GO_ON = "go on"
    STAY = "stay"
    ROLL_BACK = "roll back"


@dataclass(frozen=True, kw_only=True)
class ProbationConfig:
    """The sequential test and what ends probation at once."""

    worse_odds: float = 0.25
    """Odds ratio of success, new over previous, that must not be missed: 0.8 against 0.5."""
    false_roll_back: float = 0.04
    """Chance that weights as good as the previous ones are rolled back."""
    miss: float = 0.06
    """Chance that weights worse by `worse_odds` stay. Both below what is promised, 5 and 10 %."""
    max_pairs: int = 120
    """Then what has not been shown to be worse stays."""
    max_latency_ratio: float = 2.0
    """Largest 99th percentile of the inference time over that of the previous weights."""
    min_latencies: int = 50
    """Inferences of each before their times are compared."""
    speed: float = 0.5
    """Share of the ordinary speed limit during probation."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require_range("worse_odds", self.worse_odds, 0.01, 0.9)
        require_range("false_roll_back", self.false_roll_back, 1e-6, 0.2)
        require_range("miss", self.miss, 1e-6, 0.2)
        require_range("max_pairs", self.max_pairs, 1, 10_000)
        require_range("max_latency_ratio", self.max_latency_ratio, 1.0, 100.0)
        require_range("min_latencies", self.min_latencies, 1, 100_000)
        require_range("speed", self.speed, 0.1, 1.0)


def evidence(new: ArrayLike, previous: ArrayLike, worse_odds: float) -> NDArray[np.float64]:
    """Return the summed log likelihood ratio (..., N) of "worse" over "as good" after each pair.

    Only pairs of which one succeeded count. Given such a pair, the new weights are the ones that
    succeeded with probability u / (1 + u), where u is the odds ratio; as good means u = 1, worse
    u = `worse_odds`. So neither success rate needs to be known, nor stay what it was.

    Args:
        new: Whether each episode (..., N) of the new weights succeeded.
        previous: The same for the previous weights, on like starts.
        worse_odds: Odds ratio of the hypothesis "worse".

    Source: A. Wald, Sequential Analysis (1947), chapter 6: testing the difference between the
    means of two binomial distributions.
    """
    won, lost = np.asarray(new, bool), np.asarray(previous, bool)
    share = worse_odds / (1.0 + worse_odds)
    steps = np.where(won == lost, 0.0, np.where(won, math.log(2 * share), math.log(2 - 2 * share)))
    summed: NDArray[np.float64] = np.cumsum(steps, axis=-1)
    return summed


def decide(
    new: ArrayLike, previous: ArrayLike, config: ProbationConfig
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (...) 1 for roll back, -1 for stay, 0 for go on, and the pairs it took.

    Roll back at log((1 - miss) / false_roll_back), stay at log(miss / (1 - false_roll_back)):
    Wald's bounds. After `max_pairs` what has not been shown to be worse stays, which never adds a
    false roll-back.
    """
    summed = evidence(new, previous, config.worse_odds)[..., : config.max_pairs]
    upper = math.log((1 - config.miss) / config.false_roll_back)
    lower = math.log(config.miss / (1 - config.false_roll_back))
    length = summed.shape[-1]
    if not length:
        return np.zeros(summed.shape[:-1], np.int64), np.zeros(summed.shape[:-1], np.int64)
    over = (summed >= upper) | (summed <= lower)
    first = np.where(over.any(axis=-1), over.argmax(axis=-1), length - 1)
    last = np.take_along_axis(summed, first[..., None], axis=-1)[..., 0]
    is_decided = over.any(axis=-1) | (length >= config.max_pairs)
    return np.where(is_decided, np.where(last >= upper, 1, -1), 0), first + 1


class Probation:
    """One release on probation beside the previous one; one thread.

    Episodes come in pairs on like starts, one with each of the two, at reduced speed. A safety
    event or slow inference ends it at once.
    """

    def __init__(self, config: ProbationConfig) -> None:
        """Begin without an episode."""
        self._config = config
        self._outcomes: tuple[list[bool], list[bool]] = ([], [])
        self._latencies: tuple[list[float], list[float]] = ([], [])
        self._reason = ""

    def add_episode(self, *, is_new: bool, succeeded: bool) -> None:
        """Take the outcome of an episode with the new or the previous weights."""
        self._outcomes[not is_new].append(succeeded)

    def add_latency(self, *, is_new: bool, milliseconds: float) -> None:
        """Take the time of an inference with the new or the previous weights."""
        self._latencies[not is_new].append(milliseconds)

    def add_safety_event(self, cause: str) -> None:
        """Take a stop, a fault or a takeover while the new weights acted: they go."""
        self._reason = self._reason or f"safety event: {cause}"

    @property
    def next_is_new(self) -> bool:
        """Whether the next episode is one with the new weights: each pair begins with them."""
        return len(self._outcomes[0]) <= len(self._outcomes[1])

    def verdict(self) -> tuple[Verdict, str]:
        """Return what to do and why, with value and limit."""
        if self._reason:
            return Verdict.ROLL_BACK, self._reason
        slow = self._slow()
        if slow:
            return Verdict.ROLL_BACK, slow
        new, previous = self._outcomes
        pairs = min(len(new), len(previous))
        decision, taken = decide(new[:pairs], previous[:pairs], self._config)
        rates = f"{_rate(new[:pairs])} against {_rate(previous[:pairs])}"
        if decision > 0:
            limit = f"odds ratio above {self._config.worse_odds}"
            return Verdict.ROLL_BACK, f"worse than the previous: {rates}, must be {limit}"
        if decision < 0:
            return Verdict.STAY, f"not worse than the previous: {rates} after {int(taken)} pairs"
        return Verdict.GO_ON, f"undecided: {rates}, at most {self._config.max_pairs} pairs"

    def _slow(self) -> str:
        if min(map(len, self._latencies)) < self._config.min_latencies:
            return ""
        new, previous = (float(np.percentile(times, 99)) for times in self._latencies)
        limit = self._config.max_latency_ratio * previous
        if new <= limit:
            return ""
        return f"latency: 99th percentile {new:.1f} ms, must be at most {limit:.1f} ms"


def conclude(
    registry: Registry, label: str, verdict: Verdict, reason: str, *, approved_by: str = ""
) -> str:
    """Carry out a verdict on the release in probation; return the label that acts.

    A roll-back needs nobody. To stay, a person must have approved: unattended, the release
    remains in probation. Either way the reason goes into the journal.

    Raises:
        SwapRefusedError: `label` is not the release in probation.
    """
    releases = registry.releases()
    if releases.current != label or releases.states.get(label) is not State.PROBATION:
        raise SwapRefusedError(
            f"{label}: is {releases.states.get(label, 'unknown')}, must be current and in "
            f"PROBATION. List the releases with: robot-agent weights list"
        )
    if verdict is Verdict.ROLL_BACK:
        return registry.roll_back(reason)
    if verdict is Verdict.STAY and approved_by:
        registry.advance(label, State.GOOD, reason=f"{reason}; approved by {approved_by}")
    return label


def veto(registry: Registry, label: str, person: str, reason: str) -> str:
    """Let a person stop a release before it is GOOD, at whatever edge; return what acts.

    Raises:
        SwapRefusedError: It is GOOD or REJECTED already.
    """
    words = f"vetoed by {person}: {reason}"
    releases = registry.releases()
    if releases.current == label and releases.states.get(label) is State.PROBATION:
        return registry.roll_back(words)
    registry.reject(label, words)
    return registry.current()


def _rate(outcomes: Sequence[Any]) -> str:
    return f"{sum(outcomes)}/{len(outcomes)}"
