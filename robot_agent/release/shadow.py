"""Shadow: the candidate sees what the active weights see, and moves nothing."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from robot_agent.core.bridge_action import STEP_LIMIT_M, STEP_LIMIT_RAD
from robot_agent.core.config import require_range
from robot_agent.core.types import ACTION_DIM, FloatArray, require_array
from robot_agent.release.gate import CheckResult

SCALE = np.array([STEP_LIMIT_M] * 3 + [STEP_LIMIT_RAD] * 3 + [1.0])
"""Size of one step by which actions are divided: the Box of Bridge, and the gripper's range."""
_SMALL = 1e-3
"""Roughness below this share of a step counts as this."""


@dataclass(frozen=True, kw_only=True)
class ShadowConfig:
    """How far a candidate may be from the active weights before it acts."""

    min_observations: int = 200
    """Observations that both have answered."""
    max_divergence: float = 0.5
    """Largest mean difference of one dimension, in steps."""
    max_roughness_ratio: float = 2.0
    """Largest ratio of the mean change from one action to the next."""
    max_limit_excess: float = 0.02
    """How much more of the candidate's actions than of the active ones may leave the Box."""
    max_latency_ratio: float = 2.0
    """Largest ratio of the mean inference times."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require_range("min_observations", self.min_observations, 1, 100_000)
        require_range("max_divergence", self.max_divergence, 0.0, 2.0)
        require_range("max_roughness_ratio", self.max_roughness_ratio, 1.0, 100.0)
        require_range("max_limit_excess", self.max_limit_excess, 0.0, 1.0)
        require_range("max_latency_ratio", self.max_latency_ratio, 1.0, 100.0)


@dataclass(frozen=True)
class ShadowReport:
    """What the comparison says so far; checks are in order and the first failure decides."""

    observations: int
    checks: tuple[CheckResult, ...]

    @property
    def passed(self) -> bool:
        """Whether the candidate may go on to probation."""
        return all(check.passed for check in self.checks)

    @property
    def first_failure(self) -> CheckResult | None:
        """The check that keeps the candidate in the shadow."""
        return next((check for check in self.checks if not check.passed), None)


@dataclass
class _Track:
    """Sums over the answers of one policy."""

    roughness: float = 0.0
    outside: int = 0
    actions: int = 0
    seconds: float = 0.0

    def add(self, actions: FloatArray, seconds: float) -> None:
        steps = actions / SCALE
        if len(steps) > 1:
            self.roughness += float(np.abs(np.diff(steps, axis=0)).mean())
        gripper = actions[:, 6]
        beyond = (np.abs(steps[:, :6]) > 1.0).any(axis=1) | (gripper < 0.0) | (gripper > 1.0)
        self.outside += int(beyond.sum())
        self.actions += len(actions)
        self.seconds += seconds


class Shadow:
    """Compares two policies on the same live observations; one thread."""

    def __init__(self, config: ShadowConfig) -> None:
        """Begin without an observation."""
        self._config = config
        self._active, self._candidate = _Track(), _Track()
        self._difference = np.zeros(ACTION_DIM)
        self._observations = 0
        self._not_finite = 0

    @property
    def observations(self) -> int:
        """Observations that both have answered."""
        return self._observations

    @property
    def is_complete(self) -> bool:
        """Whether enough observations were compared, or none more are needed to refuse."""
        return self._not_finite > 0 or self._observations >= self._config.min_observations

    def add(
        self, active: FloatArray, candidate: FloatArray, seconds: tuple[float, float] = (0.0, 0.0)
    ) -> None:
        """Compare the answers (K, 7) to one observation, and the seconds that each took.

        Raises:
            InputError: An answer has another shape.
        """
        active = require_array("active", active, (None, ACTION_DIM), finite=False)
        candidate = require_array("candidate", candidate, active.shape, finite=False)
        self._observations += 1
        if not np.isfinite(candidate).all():
            self._not_finite += 1
            return
        self._difference += np.abs((candidate - active) / SCALE).mean(axis=0)
        self._active.add(active, seconds[0])
        self._candidate.add(candidate, seconds[1])

    def report(self) -> ShadowReport:
        """Return every check with its value and limit."""
        config, seen = self._config, self._observations
        answers = CheckResult(
            "finite", self._not_finite == 0, f"{self._not_finite} answers not", "all answers"
        )
        enough = CheckResult(
            "observations",
            seen >= config.min_observations,
            str(seen),
            f"at least {config.min_observations}",
        )
        return ShadowReport(seen, (answers, *self._comparisons(), enough))

    def _comparisons(self) -> Iterator[CheckResult]:
        config, active, candidate = self._config, self._active, self._candidate
        count = max(self._observations - self._not_finite, 1)
        divergence = self._difference / count
        worst = int(np.argmax(divergence))
        yield _at_most(
            "divergence", divergence[worst], config.max_divergence, f" steps in dimension {worst}"
        )
        rough = candidate.roughness / max(active.roughness, _SMALL * count)
        yield _at_most("smoothness", rough, config.max_roughness_ratio, " times as rough")
        excess = (candidate.outside - active.outside) / max(active.actions, 1)
        yield _at_most("limit hits", excess, config.max_limit_excess, " more of the actions")
        slow = candidate.seconds / active.seconds if active.seconds else 1.0
        yield _at_most("shadow latency", slow, config.max_latency_ratio, " times as slow")


def _at_most(name: str, value: float, limit: float, unit: str) -> CheckResult:
    return CheckResult(name, bool(value <= limit), f"{value:.3f}{unit}", f"at most {limit}")
