"""What a comparison found: rates, paired differences, steps, safety, groups, forgetting."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from robot_agent.core.errors import ConfigError
from robot_agent.evaluate.judging import judge_report
from robot_agent.evaluate.sequential import SequentialTest, Verdict
from robot_agent.evaluate.statistics import (
    CONFIDENCE,
    Interval,
    PairedDifference,
    count_pairs,
    paired_difference,
    wilson_interval,
)
from robot_agent.evaluate.trial_journal import TrialRecord


@dataclass(frozen=True)
class Rate:
    """Success of one policy; aborts are not among the trials."""

    successes: int
    trials: int

    @property
    def interval(self) -> Interval:
        """Wilson interval of the success rate."""
        return wilson_interval(self.successes, self.trials)

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "successes": self.successes,
            "trials": self.trials,
            "interval": list(self.interval),
        }


@dataclass(frozen=True)
class EarlyStop:
    """How a comparison that might stop early ended."""

    test: SequentialTest
    verdict: Verdict
    pairs: int
    """Pairs that the verdict took."""
    max_pairs: int


@dataclass(frozen=True)
class Comparison:
    """The last attempt at every trial of every policy, in the order of the plan."""

    policies: tuple[str, ...]
    records: tuple[TrialRecord, ...]
    others: tuple[str, ...] = ()
    """Tasks that show forgetting; in no number over all tasks."""
    early_stop: EarlyStop | None = None

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names `scene: instruction`, in the order of the plan."""
        return tuple(dict.fromkeys(record.task for record in self.records))

    @property
    def scenes(self) -> tuple[str, ...]:
        """Names of the scenes, in the order of the plan."""
        return tuple(dict.fromkeys(record.scene for record in self.records))

    def chosen(
        self, policy: str, *, scene: str = "", task: str = "", of_others: bool = False
    ) -> list[TrialRecord]:
        """Return a policy's trials in a scene or task; in the suite or the others when unnamed.

        Raises:
            ConfigError: The policy was not compared.
        """
        if policy not in self.policies:
            raise ConfigError(
                f"policy '{policy}' was not compared. Choose one of: {', '.join(self.policies)}."
            )
        return [
            record
            for record in self.records
            if record.policy == policy
            and scene in ("", record.scene)
            and task in ("", record.task)
            and (scene or task or (record.task in self.others) == of_others)
        ]

    def rate(self, policy: str, *, scene: str = "", task: str = "") -> Rate:
        """Return the success of a policy, in one scene or task when named."""
        return _rate(self.chosen(policy, scene=scene, task=task))

    def difference(
        self,
        first: str,
        second: str,
        *,
        scene: str = "",
        task: str = "",
        of_others: bool = False,
    ) -> PairedDifference:
        """Return by how much `first` succeeds more often than `second` on the same starts.

        A start state on which either was aborted is left out for both.
        """
        ours, theirs = (
            {
                (record.task, record.seed): record.success
                for record in self.chosen(name, scene=scene, task=task, of_others=of_others)
                if record.outcome != "abort"
            }
            for name in (first, second)
        )
        both = [key for key in ours if key in theirs]
        return paired_difference(count_pairs((ours[key], theirs[key]) for key in both))

    def to_json(self, groups_of: int = 0, judge_threshold: float | None = None) -> dict[str, Any]:
        """Return the results of `robot-agent evaluate`.

        In `pairs`, "a vs b" is a's success rate less b's: over all tasks of the suite, under
        `tasks` in each, under `forgetting` over the others. After an early stop, intervals and p
        describe; the stated error rate is that of `early_stop`.

        Args:
            groups_of: Size of the groups of `groups`; none when 0.
            judge_threshold: Score above which a judge said success, to hold it against the
                truth; None where no truth is known.
        """
        found: dict[str, Any] = {
            "tasks": {
                task: {p: summary(self.chosen(p, task=task)) for p in self.policies}
                for task in self.tasks
            },
            "scenes": {
                scene: {p: self.rate(p, scene=scene).to_json() for p in self.policies}
                for scene in self.scenes
            },
            "pooled": {p: summary(self.chosen(p)) for p in self.policies},
            "pairs": {
                f"{a} vs {b}": self._pair(a, b)
                for a, b in itertools.combinations(self.policies, 2)
            },
            "confidence": CONFIDENCE,
            "early_stop": _plain_stop(self.early_stop, self.policies),
            "trials": [_plain_trial(record) for record in self.records],
        }
        scored = [r for r in self.records if r.judge_score is not None and r.outcome != "abort"]
        if scored and judge_threshold is not None:
            scores = [float(r.judge_score or 0.0) for r in scored]
            truths = [r.success for r in scored]
            found["judge"] = judge_report(scores, truths, judge_threshold).to_json()
            found["judge"]["unknown"] = sum(
                r.judge != "" and r.judge_score is None and r.outcome != "abort"
                for r in self.records
            )
        if groups_of:
            found["groups"] = self._groups(groups_of)
        return found

    def _pair(self, a: str, b: str) -> dict[str, Any]:
        found = _plain_difference(self.difference(a, b))
        found["tasks"] = {t: _plain_difference(self.difference(a, b, task=t)) for t in self.tasks}
        if self.others:
            found["forgetting"] = _plain_difference(self.difference(a, b, of_others=True))
        return found

    def _groups(self, size: int) -> dict[str, Any]:
        return {
            task: {p: group_rates(self.chosen(p, task=task), size) for p in self.policies}
            for task in self.tasks
        }


def summary(records: Sequence[TrialRecord]) -> dict[str, Any]:
    """Return success, aborts, steps to success and safety events of one policy's trials.

    `aborts` counts attempts; `left_out` trials that stayed aborted and are in no rate. Steps are
    median and quartiles over the successes, None without one. Safety events are None where
    nobody counted them.
    """
    steps = [record.steps for record in records if record.success]
    events = [r.safety_events for r in records if r.safety_events is not None]
    quartiles = [float(q) for q in np.percentile(steps, (25, 50, 75))] if steps else None
    return {
        **_rate(records).to_json(),
        "aborts": sum(r.attempt - 1 + (r.outcome == "abort") for r in records),
        "left_out": sum(r.outcome == "abort" for r in records),
        "steps_to_success": quartiles and {"median": quartiles[1], "quartiles": quartiles[::2]},
        "safety_events": {"total": sum(events), "trials": len(events)} if events else None,
    }


def group_rates(records: Sequence[TrialRecord], size: int) -> dict[str, Any]:
    """Return the success rate of each whole group of `size` trials, their mean and its error.

    AutoEval reports 50 trials as five groups of 10 and the standard error over the groups; trials
    that fill no group are left out.

    Source: Z. Zhou et al., AutoEval (arXiv 2503.24278); World-Gymnast (arXiv 2602.02454), table 2.
    """
    counted = [record.success for record in records if record.outcome != "abort"]
    num = len(counted) // size
    rates = np.array(counted[: num * size], np.float64).reshape(num, size).mean(axis=1)
    error = float(rates.std(ddof=1) / np.sqrt(num)) if num > 1 else None
    return {
        "size": size,
        "rates": rates.tolist(),
        "mean": float(rates.mean()) if num else None,
        "standard_error": error,
    }


def _rate(records: Sequence[TrialRecord]) -> Rate:
    counted = [record.success for record in records if record.outcome != "abort"]
    return Rate(sum(counted), len(counted))


def _plain_difference(found: PairedDifference) -> dict[str, Any]:
    return {
        "difference": found.difference,
        "interval": list(found.interval),
        "p": found.p,
        "trials": found.pairs.trials,
        "only_first": found.pairs.only_first,
        "only_second": found.pairs.only_second,
    }


def _plain_stop(found: EarlyStop | None, policies: Sequence[str]) -> dict[str, Any] | None:
    if found is None:
        return None
    better = {"first": policies[0], "second": policies[1]}.get(found.verdict)
    return {
        "verdict": f"{better} is better" if better else found.verdict,
        "pairs": found.pairs,
        "max_pairs": found.max_pairs,
        "needed_pairs": found.test.needed_pairs(),
        **vars(found.test),
    }


def _plain_trial(record: TrialRecord) -> dict[str, Any]:
    return {
        "policy": record.policy,
        "task": record.task,
        "seed": record.seed,
        "outcome": record.outcome,
        "success": record.success,
        "steps": record.steps,
        "attempt": record.attempt,
        "safety_events": record.safety_events,
        "reason": record.reason,
        "judge_score": record.judge_score,
        "episode_id": record.episode_id,
    }
