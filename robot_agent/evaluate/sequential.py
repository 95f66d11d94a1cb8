"""A test of paired outcomes that may stop early: Wald's test on discordant pairs, and a bet."""

import functools
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

_BATCHES, _BATCH = 8, 1_000
"""Simulated comparisons with which the needed pairs are found: standard error 0.005 of power."""
_SEED = 20_260_701


@dataclass(frozen=True, kw_only=True)
class SequentialTest:
    """Whether one of two policies succeeds more often on the same start states, looking always.

    Which is better: only pairs with one success tell policies apart. If both are equally good,
    each has it with chance 1/2, whatever the success rates and however strongly the two are
    correlated. A difference of success d is a chance of 1/2 + d / 2q, with q the share of
    discordant pairs. Two sequential probability ratio tests run side by side, one a direction, of
    1/2 against t = 1/2 + d / (1 + d^2): the smallest chance that `min_effect` d can mean, since q
    is at most (1 + d^2) / 2 when outcomes on one start state are not negatively correlated. A
    policy that won w of w + l discordant pairs is better once w log 2t + l log 2(1 - t) is at
    least log(2 / `alpha`).

    Whether it matters: pairs that agree speak against a difference too. Against each direction's
    "the mean of first less second is at least d" a capital is bet, the mean over two stakes k of
    the product of 1 - k (difference of the pair - d); k is best for q = (1 + d^2) / 2 and q = d.
    No difference as large as `min_effect` is left once both capitals reach 1 / (1 - `power`).

    Ratios and capitals are martingales or shrink where their null is true, so by Ville's
    inequality equal policies are ever called different with chance `alpha` at most, and a true
    difference of `min_effect` is ever ruled out with chance 1 - `power` at most, whenever one
    looks. What is still open when the pairs run out is undecided and counts as missed;
    `needed_pairs` are enough for `power` with that included.

    Source: A. Wald, Sequential tests of statistical hypotheses, Ann. Math. Stat. 16 (1945)
    117-186, and Sequential Analysis (1947), chapter 6 (double dichotomies); P. Armitage,
    Restricted sequential procedures, Biometrika 44 (1957) 9-26 (two directions); I. Waudby-Smith
    and A. Ramdas, Estimating means of bounded random variables by betting, J. R. Stat. Soc. B 86
    (2024) 1-27 (capital).
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
        require_range("min_effect", self.min_effect, 0.1, 0.6)

    @property
    def most_discordance(self) -> float:
        """Largest share of discordant pairs without negative correlation at `min_effect`."""
        return (1 + self.min_effect**2) / 2

    def verdicts(
        self, won: Counts, lost: Counts, pairs: Counts
    ) -> dict[Verdict, NDArray[np.bool_]]:
        """Return where each verdict holds, for arrays of counts.

        Args:
            won: Discordant pairs won by the first policy.
            lost: Discordant pairs lost by it.
            pairs: All pairs.
        """
        chance = 0.5 + self.min_effect / (2 * self.most_discordance)
        gain, loss = math.log(2 * chance), math.log(2 * (1 - chance))
        upper, ruled_out = math.log(2 / self.alpha), -math.log(1 - self.power)
        small = self._log_capital(won, lost, pairs) >= ruled_out
        small &= self._log_capital(lost, won, pairs) >= ruled_out
        return {
            "first": won * gain + lost * loss >= upper,
            "second": lost * gain + won * loss >= upper,
            "no difference": small,
        }

    def _log_capital(self, won: Counts, lost: Counts, pairs: Counts) -> FloatArray:
        """Return the log of what was won by betting that `won` does not lead by `min_effect`."""
        d, logs = self.min_effect, []
        for discordance in (self.most_discordance, d):
            stake = d / (discordance + d * d)
            logs.append(
                won * math.log1p(-stake * (1 - d))
                + lost * math.log1p(stake * (1 + d))
                + (pairs - won - lost) * math.log1p(stake * d)
            )
        return np.logaddexp(*logs) - math.log(2)

    def run(self, outcomes: Iterable[tuple[bool, bool]]) -> tuple[Verdict, int]:
        """Return the verdict on (first succeeded, second succeeded), and after how many pairs.

        Pairs behind the first verdict are not looked at.
        """
        table = np.array(list(outcomes), bool).reshape(-1, 2)
        verdicts, ends = self.run_many(table[None, :, 0], table[None, :, 1])
        return verdicts[0], int(ends[0])

    def run_many(
        self, first: NDArray[np.bool_], second: NDArray[np.bool_]
    ) -> tuple[list[Verdict], Counts]:
        """Return the verdict on each of B comparisons, and the pairs (B,) that it took.

        Args:
            first: Successes (B, N) of the first policy, in the order in which they came.
            second: Successes (B, N) of the second on the same start states.
        """
        num, most = first.shape
        if not most:
            return ["undecided"] * num, np.zeros(num, np.int64)
        won = np.cumsum(first & ~second, axis=1, dtype=np.int64)
        lost = np.cumsum(second & ~first, axis=1, dtype=np.int64)
        found = self.verdicts(won, lost, np.arange(1, most + 1)[None])
        over = np.any(list(found.values()), axis=0)
        ends = np.where(over.any(axis=1), over.argmax(axis=1), most - 1)
        rows = np.arange(num)
        names = np.full(num, "undecided", dtype=object)
        for verdict, where in found.items():
            names[where[rows, ends]] = verdict
        return list(names), ends + 1

    def needed_pairs(self) -> int:
        """Return the fewest pairs that find `min_effect` with `power` where it is hardest.

        Found by simulation with a fixed seed, at the most discordance and so without correlation.
        """
        return _needed_pairs(self)


@functools.cache
def _needed_pairs(test: SequentialTest) -> int:
    high = (1 + test.min_effect) / 2  # success of the better policy; the other fails as often
    rng, most, found = np.random.default_rng(_SEED), 64, np.zeros(0, np.int64)
    while len(found) < test.power * _BATCHES * _BATCH:
        most, ends = 2 * most, []
        for _ in range(_BATCHES):
            luck = rng.random((2, _BATCH, most), dtype=np.float32)
            verdicts, pairs = test.run_many(luck[0] < high, luck[1] < 1 - high)
            ends += [n for verdict, n in zip(verdicts, pairs, strict=True) if verdict == "first"]
        found = np.sort(ends)
    return int(found[math.ceil(test.power * _BATCHES * _BATCH) - 1])
