"""The gate: named checks between a candidate bundle and the arm; the first that fails rejects."""

import dataclasses
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robot_agent.core.config import require_range
from robot_agent.core.errors import BundleRejectedError
from robot_agent.core.types import FloatArray
from robot_agent.release.bundle import Bundle
from robot_agent.release.bundle_reader import BundleLimits, read_bundle
from robot_agent.release.signing import Keyring
from robot_agent.release.tensors import first_difference, largest_norm_ratio, layout
from robot_agent.store.durable import replace_file, storage_errors
from robot_agent.store.strict_json import canonical_json

AGAINST_BASE = (
    "version",
    "parent",
    "architecture",
    "action space",
    "instructions",
    "layout",
    "norm ratio",
)
"""Checks against the release that a candidate descends from."""


@dataclass(frozen=True, kw_only=True)
class GateConfig:
    """Limits of the gate; a limit may be made stricter, its ceiling is in the range checks."""

    max_norm_ratio: float = 2.0
    """Largest change of one tensor's norm against its parent, in either direction."""
    golden_tolerance: float = 1e-3
    """Largest difference of a recomputed golden action, in its own units (m, rad, opening)."""
    max_latency_ms: float = 200.0
    """Longest inference, one control period at 5 Hz."""
    judge_margin: float = 0.0
    """How far a held-out judge's score may fall below the base's."""
    world_margin: float = 0.0
    """How far the score in a held-out world model may fall below the base's."""
    regression_margin: float = 0.1
    """How far success on the old tasks may fall below the base's (non-inferiority)."""
    confidence_z: float = 1.645
    """Standard errors that are subtracted before comparing; 1.645 is 95 % one-sided."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require_range("max_norm_ratio", self.max_norm_ratio, 1.0, 100.0)
        require_range("golden_tolerance", self.golden_tolerance, 0.0, 0.05)
        require_range("max_latency_ms", self.max_latency_ms, 0.0, 10_000.0, "ms")
        for name in ("judge_margin", "world_margin", "regression_margin"):
            require_range(name, getattr(self, name), 0.0, 0.5)
        require_range("confidence_z", self.confidence_z, 0.0, 5.0)


@dataclass(frozen=True)
class Comparison:
    """A score of the candidate beside the base's, both in [0, 1]."""

    candidate: float
    base: float
    standard_error: float = 0.0
    """Of the difference; 0 when the score is exact."""

    def lower_bound(self, z: float) -> float:
        """Return the difference less `z` standard errors."""
        return self.candidate - self.base - z * self.standard_error


@dataclass(frozen=True, kw_only=True)
class GateProbes:
    """What the gate cannot do itself; a check left out for want of a probe does not pass."""

    loaded: Callable[[Bundle], bytes] | None = None
    """Loads the weights as the robot does; the network's own tensors as a safetensors file."""
    act: Callable[[Bundle], FloatArray] | None = None
    """Actions (N, K, 7) for the bundle's golden observations, by the real policy code."""
    latency_ms: Callable[[Bundle], float] | None = None
    """Slow (99th percentile) inference time [ms]."""
    held_out_judge: Callable[[Bundle], Comparison] | None = None
    """Imagined success by a judge that did not train the candidate."""
    held_out_world: Callable[[Bundle], Comparison] | None = None
    """Imagined success in a world model that did not train the candidate."""
    regression: Callable[[Bundle], Comparison] | None = None
    """Success on the tasks that the base can already do."""


@dataclass(frozen=True)
class CheckResult:
    """One check."""

    name: str
    passed: bool
    value: str
    limit: str


@dataclass(frozen=True, kw_only=True)
class GateReport:
    """What the gate found; checks after the first failure were not run."""

    bundle: str
    checks: tuple[CheckResult, ...]
    skipped: tuple[str, ...] = ()
    """Checks without a probe or a base."""
    allow_skipped: tuple[str, ...] = ()
    """Those that the caller does without, by name."""
    base: str = ""
    config: GateConfig = field(default_factory=GateConfig)

    @property
    def passed(self) -> bool:
        """Whether every check passed and none was left out without leave."""
        is_complete = set(self.skipped) <= set(self.allow_skipped)
        return is_complete and bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def first_failure(self) -> CheckResult | None:
        """The check that rejected the candidate."""
        return next((check for check in self.checks if not check.passed), None)

    def require_passed(self) -> None:
        """Raise BundleRejectedError that names the first failing check."""
        failure = self.first_failure
        if failure is not None:
            raise BundleRejectedError(self.bundle, failure.name, failure.value, failure.limit)

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        plain = dataclasses.asdict(self)
        return {**plain, "passed": self.passed}

    def save(self, path: Path) -> None:
        """Write the report as JSON, by one atomic rename."""
        with storage_errors("writing a gate report", path):
            replace_file(path, canonical_json(self.to_json()))


class Gate:
    """Judges candidates against a base release; changes nothing."""

    def __init__(
        self,
        config: GateConfig,
        keyring: Keyring,
        *,
        base: Bundle | None = None,
        probes: GateProbes | None = None,
        limits: BundleLimits | None = None,
        allow_skipped: Collection[str] = (),
    ) -> None:
        """Compare with `base`, the release that candidates are trained from.

        A candidate whose checks are not complete fails, unless every check that is left out for
        want of a probe or a base is named in `allow_skipped`.
        """
        self._config, self._keyring, self._base = config, keyring, base
        self._probes, self._limits = probes or GateProbes(), limits
        self._allow_skipped = tuple(sorted(allow_skipped))

    def judge(self, bundle: Path) -> GateReport:
        """Run the checks in order and return the report; stops at the first failure."""
        try:
            candidate = read_bundle(bundle, self._keyring, limits=self._limits)
        except BundleRejectedError as error:
            name = f"integrity: {error.check}"
            return self._report(bundle.name, [CheckResult(name, False, str(error), "whole")])
        checks = [CheckResult("integrity", True, "whole and signed", "whole and signed")]
        for check in self._checks(candidate):
            checks.append(check)
            if not check.passed:
                break
        return self._report(candidate.label, checks)

    def _report(self, bundle: str, checks: Sequence[CheckResult]) -> GateReport:
        return GateReport(
            bundle=bundle,
            checks=tuple(checks),
            skipped=tuple(self._skipped()),
            allow_skipped=self._allow_skipped,
            base=self._base.label if self._base else "",
            config=self._config,
        )

    def _checks(self, candidate: Bundle) -> Iterator[CheckResult]:
        if self._base is not None:
            yield from _against_base(candidate, self._base, self._config)
        probes, config = self._probes, self._config
        if probes.loaded is not None:
            yield _fingerprint(candidate, probes.loaded)
        if probes.act is not None:
            yield _golden(candidate, probes.act(candidate), config.golden_tolerance)
        if probes.latency_ms is not None:
            latency, limit = probes.latency_ms(candidate), config.max_latency_ms
            yield CheckResult(
                "latency", 0 <= latency <= limit, f"{latency:.1f} ms", f"at most {limit} ms"
            )
        for name, margin in self._comparisons():
            probe = getattr(probes, name)
            if probe is not None:
                yield _not_worse(name, probe(candidate), margin, config.confidence_z)
        missing = [name for name in self._skipped() if name not in self._allow_skipped]
        if missing:  # last, so that a failure which was seen is named before one that may hide
            value = f"without {', '.join(missing)}"
            yield CheckResult("complete", False, value, "every check, or named in allow_skipped")

    def _comparisons(self) -> Sequence[tuple[str, float]]:
        config = self._config
        return (
            ("held_out_judge", config.judge_margin),
            ("held_out_world", config.world_margin),
            ("regression", config.regression_margin),
        )

    def _skipped(self) -> Iterator[str]:
        if self._base is None:
            yield from AGAINST_BASE
        for probe in dataclasses.fields(GateProbes):
            if getattr(self._probes, probe.name) is None:
                yield probe.name


def _against_base(candidate: Bundle, base: Bundle, config: GateConfig) -> Iterator[CheckResult]:
    new, old = candidate.manifest, base.manifest
    yield CheckResult(
        "version", new.version > old.version, str(new.version), f"above {old.version}"
    )
    yield CheckResult("parent", new.parent == old.hash, new.parent or "none", old.hash)
    for name in ("architecture", "action_space", "normalization"):
        value, limit = getattr(new, name), getattr(old, name)
        yield CheckResult(name.replace("_", " "), value == limit, value, limit)
    known, wanted = (m.provenance.get("instructions") for m in (new, old))
    yield CheckResult("instructions", known == wanted, str(known), str(wanted))
    same = candidate.normalization == base.normalization
    yield CheckResult("normalization values", same, "equal" if same else "other", "equal")
    same = candidate.settings == base.settings
    yield CheckResult("settings", same, "equal" if same else "other", "equal")
    ours, theirs = layout(candidate.summaries), layout(base.summaries)
    if not theirs and base.settings is not None:
        return  # the first adapter on a bare base: there is nothing yet to compare it with
    differing = sorted(k for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k))
    yield CheckResult("layout", not differing, ", ".join(differing[:5]) or "equal", "equal")
    worst, ratio = largest_norm_ratio(candidate.summaries, base.summaries)
    limit = config.max_norm_ratio
    yield CheckResult(
        "norm ratio", ratio <= limit, f"{ratio:.3f} {worst}".rstrip(), f"at most {limit}"
    )


def _fingerprint(candidate: Bundle, loaded: Callable[[Bundle], bytes]) -> CheckResult:
    """Compare the tensors that a network holds after loading with those that were signed."""
    limit = "the signed tensors, bit for bit"
    try:
        differing = first_difference(loaded(candidate), candidate.policy_bytes)
    except (BundleRejectedError, ValueError) as error:
        return CheckResult("fingerprint", False, str(error), limit)
    return CheckResult("fingerprint", differing is None, differing or "equal", limit)


def _golden(candidate: Bundle, actions: FloatArray, tolerance: float) -> CheckResult:
    wanted = candidate.golden.actions
    limit = f"{wanted.shape}, at most {tolerance} apart"
    if np.shape(actions) != wanted.shape:
        return CheckResult("golden actions", False, f"shape {np.shape(actions)}", limit)
    apart = float(np.max(np.abs(np.asarray(actions, np.float64) - wanted)))
    return CheckResult("golden actions", apart <= tolerance, f"{apart:.2e} apart", limit)


def _not_worse(name: str, scores: Comparison, margin: float, z: float) -> CheckResult:
    low = scores.lower_bound(z)
    value = f"{scores.candidate:.3f} against {scores.base:.3f}, lower bound {low:+.3f}"
    passed = math.isfinite(low) and low >= -margin - 1e-12
    return CheckResult(name.replace("_", " "), passed, value, f"lower bound at least -{margin}")
