"""Intervals and tests for success counts: one policy alone, and two on the same seeds."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist

from robot_agent.core.errors import InputError

CONFIDENCE = 0.95
"""Coverage of every interval that we report, unless told."""

Interval = tuple[float, float]


@dataclass(frozen=True)
class Pairs:
    """Outcomes of two policies on the same start states: how often each combination came."""

    both: int = 0
    only_first: int = 0
    only_second: int = 0
    neither: int = 0

    def __post_init__(self) -> None:
        """Counts are not negative."""
        smallest = min(self.both, self.only_first, self.only_second, self.neither)
        if smallest < 0:
            raise InputError(f"pairs: a count is {smallest}, must be at least 0. Count again.")

    @property
    def trials(self) -> int:
        """Number of pairs."""
        return self.both + self.only_first + self.only_second + self.neither

    @property
    def difference(self) -> float:
        """Success rate of the first less that of the second; NaN without trials."""
        return (self.only_first - self.only_second) / self.trials if self.trials else math.nan


@dataclass(frozen=True)
class PairedDifference:
    """By how much the first policy succeeds more often than the second."""

    difference: float
    """Of success rates, -1 to 1."""
    interval: Interval
    p: float
    """Exact two-sided McNemar p-value."""
    pairs: Pairs


def count_pairs(outcomes: Iterable[tuple[bool, bool]]) -> Pairs:
    """Return the table of (first succeeded, second succeeded) over the same start states."""
    counts = {(True, True): 0, (True, False): 0, (False, True): 0, (False, False): 0}
    for first, second in outcomes:
        counts[bool(first), bool(second)] += 1
    return Pairs(*counts.values())


def wilson_interval(successes: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """Return the Wilson score interval of a success rate; (0, 1) without trials.

    With z the normal quantile and p = successes / n, its ends are
    (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n).

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference,
    J. Am. Stat. Assoc. 22 (1927) 209-212.
    """
    if not 0 <= successes <= trials:
        raise InputError(f"successes={successes} is outside [0, {trials}]. Count again.")
    if trials == 0:
        return (0.0, 1.0)
    z, p = _quantile(confidence), successes / trials
    center = p + z * z / (2 * trials)
    half = z * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return (max(0.0, (center - half) / scale), min(1.0, (center + half) / scale))


def newcombe_interval(pairs: Pairs, confidence: float = CONFIDENCE) -> Interval:
    """Return the interval of the difference of two paired success rates; (-1, 1) without trials.

    Wilson intervals of both rates are joined by squares, less their correlation phi, which is
    corrected for continuity: with a d - b c > n / 2 its numerator is lessened by n / 2, and
    between 0 and n / 2 it is 0.

    Source: R. G. Newcombe, Improved confidence intervals for the difference between binomial
    proportions based on paired data, Statistics in Medicine 17 (1998) 2635-2650, method 10.
    """
    n, a, b, c = pairs.trials, pairs.both, pairs.only_first, pairs.only_second
    if n == 0:
        return (-1.0, 1.0)
    first, second = (a + b) / n, (a + c) / n
    low_1, high_1 = wilson_interval(a + b, n, confidence)
    low_2, high_2 = wilson_interval(a + c, n, confidence)
    phi = _corrected_phi(pairs)
    down = _joined(first - low_1, high_2 - second, phi)
    up = _joined(high_1 - first, second - low_2, phi)
    return (max(-1.0, pairs.difference - down), min(1.0, pairs.difference + up))


def mcnemar_p(pairs: Pairs) -> float:
    """Return the exact two-sided p-value that neither policy is better; 1 without discord.

    Twice the binomial tail of the rarer kind of the discordant pairs at rate 1/2, at most 1.

    Source: Q. McNemar, Note on the sampling error of the difference between correlated
    proportions or percentages, Psychometrika 12 (1947) 153-157; in its exact binomial form.
    """
    discordant = pairs.only_first + pairs.only_second
    rarer = min(pairs.only_first, pairs.only_second)
    tail = sum(math.comb(discordant, k) for k in range(rarer + 1))
    return min(1.0, 2 * tail / 2**discordant)


def fisher_p(events: int, trials: int, other_events: int, other_trials: int) -> float:
    """Return the one-sided p-value that the first rate is not above the second.

    The chance of at least `events` among the first trials when all events of both fall anywhere
    with equal chance. 1 without events.

    Raises:
        InputError: More events than trials, or a negative count.

    Source: R. A. Fisher, On the interpretation of chi-squared from contingency tables, and the
    calculation of P, Journal of the Royal Statistical Society 85 (1922) 87-94.
    """
    for count, limit in ((events, trials), (other_events, other_trials)):
        if not 0 <= count <= limit:
            raise InputError(f"events: {count} of {limit}, must be 0 to {limit}. Count again.")
    total, happened = trials + other_trials, events + other_events
    ways = sum(
        math.comb(trials, k) * math.comb(other_trials, happened - k)
        for k in range(events, min(happened, trials) + 1)
    )
    return ways / math.comb(total, happened)


def paired_difference(pairs: Pairs, confidence: float = CONFIDENCE) -> PairedDifference:
    """Return the difference of success of two policies on the same start states."""
    return PairedDifference(
        pairs.difference, newcombe_interval(pairs, confidence), mcnemar_p(pairs), pairs
    )


def _quantile(confidence: float) -> float:
    if not 0.0 < confidence < 1.0:
        raise InputError(f"confidence={confidence} is outside (0, 1). Use 0.95.")
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def _corrected_phi(pairs: Pairs) -> float:
    n, a, b, c, d = pairs.trials, pairs.both, pairs.only_first, pairs.only_second, pairs.neither
    product = (a + b) * (c + d) * (a + c) * (b + d)
    if product == 0:
        return 0.0
    covariance = float(a * d - b * c)
    if covariance > 0:
        covariance = max(covariance - n / 2, 0.0)
    return covariance / math.sqrt(product)


def _joined(first: float, second: float, phi: float) -> float:
    squared = first * first - 2 * phi * first * second + second * second
    return math.sqrt(max(0.0, squared))
