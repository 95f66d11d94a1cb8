"""A test of paired outcomes that may stop early: Wald's sequential test on discordant pairs."""

import bisect
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from robot_agent.core.config import require_range
from robot_agent.core.types import FloatArray

Verdict = Literal["first", "second", "no difference", "undecided"]
"""Which policy is better; whether a difference of the stated size is ruled out; or neither."""

Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class SequentialTest:
    """Wald's test whether one of two policies succeeds more often on the same start states.

    Only pairs with one success tell the policies apart. If both are equally good, each of them
    has it with chance 1/2, whatever the success rates and however strongly the two are
    correlated. A difference of success d is a chance of 1/2 + d / 2q, with q the share of
    discordant pairs. Two sequential probability ratio tests run side by side, one a direction,
    of 1/2 against t = 1/2 + d / (1 + d^2): the smallest chance that `min_effect` d can mean,
    since q is at most (1 + d^2) / 2 when outcomes on one start state are not negatively
    correlated. With w of n discordant pairs won the log likelihood ratio is

        w log 2t + (n - w) log 2(1 - t).

    A policy is better once its ratio reaches 2 / `alpha`; no difference as large as `min_effect`
    is left once both ratios are at most 1 - `power`. By Ville's inequality the chance ever to
    call equal policies different is at most `alpha`, and the chance ever to rule out a true
    difference at most 1 - `power`. What is still open when the pairs run out is undecided and
    counts as missed: `chances` has the exact rates for any number of pairs.

    Source: A. Wald, Sequential tests of statistical hypotheses, Ann. Math. Stat. 16 (1945)
    117-186; Sequential Analysis (1947), chapter 6 (double dichotomies). Two directions: P.
    Armitage, Restricted sequential procedures, Biometrika 44 (1957) 9-26.
    """

    alpha: float = 0.05
    """Chance to call equal policies different, both directions together."""
    power: float = 0.8
    """Chance to find a difference of `min_effect`, if there are enough pairs."""
    min_effect: float = 0.2
    """Smallest difference of success rates that matters."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("alpha", self.alpha, 1e-4, 0.2)
        require_range("power", self.power, 0.5, 0.99)
        require_range("min_effect", self.min_effect, 0.05, 0.6)

    @property
    def most_discordance(self) -> float:
        """Largest share of discordant pairs without negative correlation at `min_effect`."""
        return (1 + self.min_effect**2) / 2

    def verdict(self, won: int, lost: int) -> Verdict:
        """Return what so many discordant pairs won and lost by the first policy say."""
        found = self.verdicts(np.array([won]), np.array([lost]))
        return next((v for v, where in found.items() if where[0]), "undecided")

    def run(self, outcomes: Iterable[tuple[bool, bool]]) -> tuple[Verdict, int]:
        """Return the verdict on (first succeeded, second succeeded), and after how many pairs.

        Pairs behind the first verdict are not looked at.
        """
        won = lost = seen = 0
        for first, second in outcomes:
            seen += 1
            won, lost = won + (first and not second), lost + (second and not first)
            if first != second and (verdict := self.verdict(won, lost)) != "undecided":
                return verdict, seen
        return "undecided", seen

    def chances(
        self, difference: float, discordance: float, max_pairs: int
    ) -> dict[Verdict | Literal["pairs"], float]:
        """Return the exact chance of each verdict within `max_pairs`, and the mean pairs run.

        Args:
            difference: True success rate of the first policy less that of the second.
            discordance: True share of discordant pairs, at least |difference|.
            max_pairs: Pairs after which the test ends.
        """
        require_range("discordance", discordance, max(abs(difference), 1e-9), 1.0)
        ends = self._ends(0.5 + difference / (2 * discordance), max_pairs)
        reached = np.stack([_binomial_tail(n, discordance, max_pairs) for n in range(max_pairs)])
        at_end = _binomial_tail(max_pairs, discordance, max_pairs)
        found: dict[Verdict | Literal["pairs"], float] = {
            verdict: float(by_count @ at_end) for verdict, by_count in ends.items()
        }
        found["undecided"] = 1.0 - sum(found.values())
        found["pairs"] = float((1.0 - reached @ sum(ends.values())).sum())
        return found

    def needed_pairs(self) -> int:
        """Return the fewest pairs that find `min_effect` with `power` where it is hardest."""
        most, hardest = 64, self._hardest
        while True:
            first = self._ends(hardest, most)["first"]

            def found(pairs: int, first: FloatArray = first, most: int = most) -> float:
                return float(first @ _binomial_tail(pairs, self.most_discordance, most))

            if found(most) >= self.power:
                return bisect.bisect_left(range(most), self.power, key=found)
            most *= 2

    @property
    def _hardest(self) -> float:
        """Smallest chance to win a discordant pair that a difference of `min_effect` means."""
        return 0.5 + self.min_effect / (2 * self.most_discordance)

    def verdicts(self, won: Counts, lost: Counts) -> dict[Verdict, NDArray[np.bool_]]:
        """Return where each verdict holds, for arrays of discordant pairs won and lost."""
        gain, loss = math.log(2 * self._hardest), math.log(2 * (1 - self._hardest))
        first, second = won * gain + lost * loss, lost * gain + won * loss
        upper, lower = math.log(2 / self.alpha), math.log(1 - self.power)
        return {
            "first": first >= upper,
            "second": second >= upper,
            "no difference": (first <= lower) & (second <= lower),
        }

    def _ends(self, chance: float, most: int) -> dict[Verdict, FloatArray]:
        """Return the chance (most + 1,) that each verdict falls at the n-th discordant pair."""
        ends: dict[Verdict, FloatArray] = {}
        open_share = np.ones(1)  # by the number of pairs won, of those without a verdict yet
        for count in range(1, most + 1):
            moved = np.zeros(count + 1)
            moved[1:] += open_share * chance
            moved[:-1] += open_share * (1 - chance)
            won = np.arange(count + 1)
            for verdict, where in self.verdicts(won, count - won).items():
                ends.setdefault(verdict, np.zeros(most + 1))[count] = moved[where].sum()
                moved[where] = 0.0
            open_share = moved
        return ends


def _binomial_tail(trials: int, chance: float, most: int) -> FloatArray:
    """Return P(X >= k) for k = 0 to `most` of a binomial X."""
    if chance >= 1.0:
        return (np.arange(most + 1) <= trials).astype(np.float64)
    k = np.arange(trials + 1)
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, trials + 1)))])
    mass = np.exp(
        logs[-1] - logs - logs[::-1] + k * math.log(chance) + (trials - k) * math.log1p(-chance)
    )
    tail = np.zeros(most + 1)
    size = min(most, trials) + 1
    tail[:size] = np.cumsum(mass[::-1])[::-1][:size]
    return tail
