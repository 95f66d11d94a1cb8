"""A learned judge against the truth: confusion matrix, accuracy and calibration."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from robot_agent.core.errors import InputError
from robot_agent.core.types import FloatArray, ImageArray
from robot_agent.evaluate.statistics import wilson_interval

NUM_BINS = 10
"""Equally wide bins of the score, for reliability and calibration error."""


@dataclass(frozen=True)
class ClipJudge:
    """A judge as trials ask it."""

    name: str
    """Fingerprint of its weights: trials that another judge scored are other trials."""
    threshold: float
    """Success is a score above it."""
    score: Callable[[ImageArray, str], float]
    """Success probability in [0, 1] of the first and last two pictures (3, H, W, 3) uint8; NaN
    when it cannot say."""


@dataclass(frozen=True)
class ReliabilityBin:
    """Episodes whose scores are alike: what was said of them, and what was true."""

    low: float
    high: float
    trials: int
    mean_score: float
    success_rate: float


@dataclass(frozen=True)
class JudgeReport:
    """How a judge did on episodes whose truth is known."""

    threshold: float
    true_positives: int
    false_positives: int
    true_negatives: int
    false_negatives: int
    brier: float
    """Mean squared distance of score and truth; 0.25 is a judge that always says 0.5."""
    calibration_error: float
    """Mean distance of score and success rate over the bins, weighted by episodes."""
    bins: tuple[ReliabilityBin, ...]
    """Bins that hold an episode."""

    @property
    def trials(self) -> int:
        """Number of episodes."""
        positives = self.true_positives + self.false_positives
        return positives + self.true_negatives + self.false_negatives

    def to_json(self) -> dict[str, Any]:
        """Return plain values; a rate is {hits, of, interval}."""
        tp, fp = self.true_positives, self.false_positives
        tn, fn = self.true_negatives, self.false_negatives
        return {
            "trials": self.trials,
            "threshold": self.threshold,
            "confusion": {
                "true_positives": tp,
                "false_positives": fp,
                "true_negatives": tn,
                "false_negatives": fn,
            },
            "accuracy": _share(tp + tn, self.trials),
            "true_positive_rate": _share(tp, tp + fn),
            "false_positive_rate": _share(fp, fp + tn),
            "brier": self.brier,
            "calibration_error": self.calibration_error,
            "bins": [vars(found) for found in self.bins],
        }


def seen_by_judge(images: ImageArray) -> ImageArray:
    """Return the first and the last two pictures (3, H, W, 3) of an episode (T + 1, H, W, 3)."""
    return images[[0, max(len(images) - 2, 0), len(images) - 1]]


def judge_report(scores: Sequence[float], truths: Sequence[bool], threshold: float) -> JudgeReport:
    """Compare success probabilities in [0, 1] with what was true of the same episodes.

    Source: G. W. Brier, Verification of forecasts expressed in terms of probability, Monthly
    Weather Review 78 (1950) 1-3; calibration error over bins: M. P. Naeini et al., Obtaining well
    calibrated probabilities using Bayesian binning, AAAI 2015.

    Raises:
        InputError: There is no episode, the lengths differ, or a score is outside [0, 1].
    """
    p, y = np.asarray(scores, np.float64), np.asarray(truths, bool)
    if p.shape != y.shape or not p.size or not ((p >= 0) & (p <= 1)).all():
        raise InputError(
            f"judge: {p.size} scores for {y.size} truths, must be as many, at least one, each in "
            f"[0, 1]. Leave out episodes that the judge could not score."
        )
    said, bins = p > threshold, _bins(p, y)
    return JudgeReport(
        threshold=threshold,
        true_positives=int((said & y).sum()),
        false_positives=int((said & ~y).sum()),
        true_negatives=int((~said & ~y).sum()),
        false_negatives=int((~said & y).sum()),
        brier=float(((p - y) ** 2).mean()),
        calibration_error=sum(b.trials * abs(b.mean_score - b.success_rate) for b in bins)
        / p.size,
        bins=bins,
    )


def _bins(p: FloatArray, y: np.ndarray[Any, np.dtype[np.bool_]]) -> tuple[ReliabilityBin, ...]:
    place = np.minimum((p * NUM_BINS).astype(int), NUM_BINS - 1)
    return tuple(
        ReliabilityBin(
            low=k / NUM_BINS,
            high=(k + 1) / NUM_BINS,
            trials=int((place == k).sum()),
            mean_score=float(p[place == k].mean()),
            success_rate=float(y[place == k].mean()),
        )
        for k in range(NUM_BINS)
        if (place == k).any()
    )


def _share(hits: int, of: int) -> dict[str, Any]:
    return {"hits": hits, "of": of, "interval": list(wilson_interval(hits, of))}
