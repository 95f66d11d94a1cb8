"""What a judge may be used for: measured on clips of known truth, and on clips made to fool it."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robot_agent.core.config import require_range
from robot_agent.core.errors import ConfigError, InputError
from robot_agent.core.types import FloatArray
from robot_agent.evaluate.judge_clips import Clip
from robot_agent.evaluate.judging import ClipJudge, judge_report
from robot_agent.evaluate.statistics import wilson_interval

SCHEMA_VERSION = 1
USES = ("none", "compare", "train")
"""What a verdict allows, least first: nothing; to compare policies; to be a reward, too."""
Asked = Callable[[int, int], None]
"""Called with clips asked so far and all of them; may raise to stop."""


@dataclass(frozen=True, kw_only=True)
class AuditConfig:
    """What a judge must do to be used."""

    least_clips: int = 20
    """Clips of each truth, per instruction; with fewer there is no audit."""
    max_unknown: float = 0.3
    """Share of recorded clips that it may have no answer to."""
    train_tpr: float = 0.7
    """Successes that a reward must find."""
    train_fpr: float = 0.1
    """Failures that a reward may call success."""
    train_fooled: float = 0.25
    """Planted clips of any one kind that a reward may call success."""
    compare_accuracy: float = 0.7
    """Mean of the rates of both truths that comparing needs."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("least_clips", self.least_clips, 2, 100_000)
        for name in ("max_unknown", "train_tpr", "train_fpr", "train_fooled", "compare_accuracy"):
            require_range(name, getattr(self, name), 0.0, 1.0)


@dataclass(frozen=True)
class InstructionAudit:
    """How a judge did on one instruction."""

    use: str
    """One of `USES`."""
    reasons: tuple[str, ...]
    """Why it may not be used for more; empty for the best verdict."""
    threshold: float
    """In use, at which the rates are; they are of one half of the clips, planted ones too."""
    calibrated: float
    """What the other half of the clips says that the threshold ought to be."""
    report: Mapping[str, Any]
    """Confusion matrix, rates with intervals, calibration; see `JudgeReport.to_json`."""
    auc: float
    """Area under the curve; 0.5 is a judge that guesses."""
    roc: tuple[tuple[float, float, float], ...]
    """Threshold, false and true positive rate."""
    unknown: int
    clips: int
    plants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Kind to {fooled, unknown, of, interval}."""


@dataclass(frozen=True)
class Audit:
    """How a judge did, by instruction."""

    judge: str
    """Fingerprint of the judge that was asked."""
    instructions: Mapping[str, InstructionAudit]

    def require(self, judge: str, instruction: str, use: str) -> InstructionAudit:
        """Return the audit of an instruction when it allows a use.

        Raises:
            InputError: It is of another judge, of none such instruction, or allows less.
        """
        again = "Measure it with: robot-agent judge audit"
        if judge != self.judge:
            raise InputError(f"judge {judge}: the audit is of judge {self.judge}. {again}")
        found = self.instructions.get(instruction)
        if found is None:
            known = ", ".join(self.instructions) or "none"
            raise InputError(
                f"judge {judge}: has no audit for '{instruction}', only for: {known}. {again}"
            )
        if USES.index(found.use) < USES.index(use):
            raise InputError(
                f"judge {judge}: its audit allows '{found.use}' for '{instruction}', must be "
                f"'{use}': {'; '.join(found.reasons)}. Train a better judge, then audit it."
            )
        return found

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        uses = [found.use for found in self.instructions.values()]
        return {
            "schema_version": SCHEMA_VERSION,
            "judge": self.judge,
            "use": min(uses, key=USES.index, default="none"),
            "instructions": {name: asdict(found) for name, found in self.instructions.items()},
        }


def read_audit(path: Path) -> Audit:
    """Return an audit from the JSON of `judge audit`; ConfigError when it is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        content = content.get("results", content)
        if content["schema_version"] != SCHEMA_VERSION:
            raise ValueError(f"schema_version is {content['schema_version']}")
        found = {k: InstructionAudit(**v) for k, v in content["instructions"].items()}
        if not all(audit.use in USES for audit in found.values()):
            raise ValueError("a use is unknown")
        return Audit(str(content["judge"]), found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path}: is no audit of a judge of version {SCHEMA_VERSION} ({error}). Make one "
            f"with: robot-agent judge audit"
        ) from error


def audit_judge(
    judge: ClipJudge, clips: Sequence[Clip], config: AuditConfig, on_clip: Asked | None = None
) -> Audit:
    """Return how a judge does on recorded and planted clips, per instruction.

    An instruction with fewer than `least_clips` recorded clips of either truth gets no audit.
    """
    scores = []
    for number, clip in enumerate(clips, 1):
        scores.append(float(judge.score(clip.frames, clip.instruction)))
        if on_clip is not None:
            on_clip(number, len(clips))
    found = {}
    for instruction in dict.fromkeys(clip.instruction for clip in clips):
        pairs = [
            (c, s) for c, s in zip(clips, scores, strict=True) if c.instruction == instruction
        ]
        truths = [clip.truth for clip, _ in pairs if not clip.plant]
        if min(truths.count(True), truths.count(False)) >= config.least_clips:
            found[instruction] = _of_instruction(pairs, judge.threshold, config)
    return Audit(judge.name, found)


def _of_instruction(
    pairs: Sequence[tuple[Clip, float]], threshold: float, config: AuditConfig
) -> InstructionAudit:
    recorded = [(clip.truth, score) for clip, score in pairs if not clip.plant]
    known = [(truth, score) for truth, score in recorded if not math.isnan(score)]
    unknown = len(recorded) - len(known)
    halves = _halves(known)
    if not all({truth for truth, _ in half} == {True, False} for half in halves):
        reason = f"it has no answer to {unknown} of {len(recorded)} clips"
        return InstructionAudit(
            "none", (reason,), threshold, threshold, {}, 0.5, (), unknown, len(recorded)
        )
    traps = [(clip, score) for clip, score in pairs if clip.plant]
    lures = [(False, score) for _, score in traps[0::2] if not math.isnan(score)]
    calibrated = calibrated_threshold(*_columns([*halves[0], *lures]))
    truths, scores = _columns(halves[1])
    report = judge_report(scores, truths, threshold).to_json()
    plants = _plants(traps[1::2], threshold)
    use, reasons = _verdict(report, unknown / len(recorded), plants, config)
    curve = roc_curve(*_columns(known))
    return InstructionAudit(
        use,
        reasons,
        threshold,
        calibrated,
        report,
        area(curve),
        curve,
        unknown,
        len(recorded),
        plants,
    )


def _halves(known: Sequence[tuple[bool, float]]) -> tuple[list[tuple[bool, float]], ...]:
    """Return two halves with both truths in each: every other clip of either."""
    by_truth = [[pair for pair in known if pair[0] is truth] for truth in (True, False)]
    return tuple([p for pairs in by_truth for p in pairs[first::2]] for first in (0, 1))


def _columns(pairs: Sequence[tuple[bool, float]]) -> tuple[list[bool], list[float]]:
    return [truth for truth, _ in pairs], [score for _, score in pairs]


def _plants(pairs: Sequence[tuple[Clip, float]], threshold: float) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for kind in dict.fromkeys(clip.plant for clip, _ in pairs):
        scores = [score for clip, score in pairs if clip.plant == kind]
        fooled = sum(score > threshold for score in scores)
        found[kind] = {
            "fooled": fooled,
            "unknown": sum(math.isnan(score) for score in scores),
            "of": len(scores),
            "interval": list(wilson_interval(fooled, len(scores))),
        }
    return found


def _verdict(
    report: Mapping[str, Any],
    unknown: float,
    plants: Mapping[str, Mapping[str, Any]],
    config: AuditConfig,
) -> tuple[str, tuple[str, ...]]:
    """Return the use that is allowed, and what keeps it from more."""
    tpr, fpr = (_rate(report[f"{kind}_positive_rate"]) for kind in ("true", "false"))
    low = report["true_positive_rate"]["interval"][0] + 1.0
    low -= report["false_positive_rate"]["interval"][1]
    checks = (
        ("unknown share", unknown, unknown <= config.max_unknown, f"at most {config.max_unknown}"),
        ("successes found", tpr, tpr >= config.train_tpr, f"at least {config.train_tpr}"),
        ("false alarms", fpr, fpr <= config.train_fpr, f"at most {config.train_fpr}"),
        *_fooled(plants, config.train_fooled),
    )
    reasons = [
        f"{words} is {value:.2f}, must be {limit}"
        for words, value, is_met, limit in checks
        if not is_met
    ]
    is_guessing = low / 2.0 <= 0.5 or unknown > config.max_unknown
    balanced = (tpr + 1.0 - fpr) / 2.0
    if not reasons and not is_guessing:
        return "train", ()
    if is_guessing or balanced < config.compare_accuracy:
        words = f"mean rate of both truths is {balanced:.2f}, at least {low / 2.0:.2f} for sure"
        return "none", (*reasons, words)
    return "compare", tuple(reasons)


def _fooled(
    plants: Mapping[str, Mapping[str, Any]], limit: float
) -> list[tuple[str, float, bool, str]]:
    shares = {kind: counts["fooled"] / max(1, counts["of"]) for kind, counts in plants.items()}
    return [
        (f"fooled by '{kind}'", share, share <= limit, f"at most {limit}")
        for kind, share in shares.items()
    ]


def _rate(share: Mapping[str, Any]) -> float:
    return float(share["hits"]) / max(1, int(share["of"]))


def roc_curve(
    truths: Sequence[bool], scores: Sequence[float]
) -> tuple[tuple[float, float, float], ...]:
    """Return (threshold, false, true positive rate), from calling nothing a success to all.

    Success is a score above the threshold. Both truths must be there.
    """
    y, p = np.asarray(truths, bool), np.asarray(scores, np.float64)
    levels = np.unique(np.concatenate([[-1e-9], p]))[::-1]
    return tuple(
        (float(level), float((p[~y] > level).mean()), float((p[y] > level).mean()))
        for level in levels
    )


def area(curve: Sequence[tuple[float, float, float]]) -> float:
    """Return the area under a curve of `roc_curve`, by trapezoids."""
    points: FloatArray = np.array([(fpr, tpr) for _, fpr, tpr in curve])
    return float(np.trapezoid(points[:, 1], points[:, 0]))


def calibrated_threshold(truths: Sequence[bool], scores: Sequence[float]) -> float:
    """Return the threshold in [0, 1] with the largest true less false positive rate.

    Of equal ones the middle of the widest gap between scores, so that it does not hang on one.

    Source: W. J. Youden, Index for rating diagnostic tests, Cancer 3 (1950) 32-35.
    """
    edges = np.unique(np.concatenate([[0.0, 1.0], np.asarray(scores, np.float64)]))
    middles, gaps = (edges[1:] + edges[:-1]) / 2.0, np.diff(edges)
    y, p = np.asarray(truths, bool), np.asarray(scores, np.float64)
    youden = [(p[y] > level).mean() - (p[~y] > level).mean() for level in middles]
    best = np.flatnonzero(np.isclose(youden, max(youden)))
    return float(middles[best[np.argmax(gaps[best])]])
