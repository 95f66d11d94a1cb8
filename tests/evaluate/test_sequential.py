"""The test that may stop early: its error rates over 10,000 simulated comparisons each."""

import numpy as np
import pytest

from robot_agent.evaluate.sequential import SequentialTest
from robot_agent.evaluate.statistics import Pairs, mcnemar_p

TEST = SequentialTest()
COMPARISONS = 10_000
MCNEMAR_PAIRS = 108
"""What the exact McNemar test of the same alpha, power and effect needs; checked below."""


def outcomes(rng, first, second, correlation, pairs, comparisons=COMPARISONS):
    """Successes of two policies; on a share `correlation` of starts the same luck decides both."""
    luck = rng.random((2, comparisons, pairs))
    shared = rng.random((comparisons, pairs)) < correlation
    return luck[0] < first, np.where(shared, luck[0], luck[1]) < second


def simulated(rng, first, second, correlation):
    """Return the share of each verdict and the mean number of pairs run."""
    pairs = TEST.needed_pairs()
    verdicts, ends = TEST.run_many(*outcomes(rng, first, second, correlation, pairs))
    return {
        **{name: verdicts.count(name) / COMPARISONS for name in
           ("first", "second", "no difference", "undecided")},
        "pairs": float(ends.mean()),
    }  # fmt: skip


def mcnemar_power(rng, pairs):
    a, b = outcomes(rng, 0.6, 0.4, 0.0, pairs)
    won, lost = (a & ~b).sum(1), (b & ~a).sum(1)
    tables, counts = np.unique(np.stack([won, lost]), axis=1, return_counts=True)
    p = [mcnemar_p(Pairs(only_first=int(w), only_second=int(n))) for w, n in tables.T]
    return counts[(np.array(p) < TEST.alpha) & (tables[0] > tables[1])].sum() / COMPARISONS


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.5, 0.8])
@pytest.mark.parametrize("rate", [0.2, 0.5, 0.8])
def test_equal_policies_are_called_different_no_more_often_than_stated(rate, correlation, rng):
    found = simulated(rng, rate, rate, correlation)
    error = 3 * np.sqrt(TEST.alpha * (1 - TEST.alpha) / COMPARISONS)
    assert found["first"] + found["second"] <= TEST.alpha + error
    assert found["no difference"] > 0.8
    assert found["pairs"] < 0.9 * MCNEMAR_PAIRS


@pytest.mark.parametrize(
    ("first", "second", "correlation"),
    [(0.6, 0.4, 0.0), (0.4, 0.6, 0.0), (0.6, 0.4, 0.5), (0.55, 0.35, 0.0), (0.4, 0.2, 0.3),
     (0.95, 0.75, 0.0), (0.8, 0.6, 0.6), (0.2, 0.0, 0.0), (0.8, 0.5, 0.0)],
)  # fmt: skip
def test_a_difference_of_the_stated_size_is_missed_no_more_often_than_stated(
    first, second, correlation, rng
):
    found = simulated(rng, first, second, correlation)
    right, wrong = ("first", "second") if first > second else ("second", "first")
    error = 3 * np.sqrt(TEST.power * (1 - TEST.power) / COMPARISONS)
    assert found[right] >= TEST.power - error
    assert found[wrong] <= TEST.alpha / 2
    assert found["no difference"] <= 1 - TEST.power + error
    assert found["pairs"] < 0.8 * MCNEMAR_PAIRS


def test_the_fixed_size_test_needs_as_many_pairs_as_is_said(rng):
    assert mcnemar_power(rng, MCNEMAR_PAIRS) >= 0.79
    assert mcnemar_power(rng, MCNEMAR_PAIRS - 10) < 0.79
    assert MCNEMAR_PAIRS < TEST.needed_pairs() < 1.4 * MCNEMAR_PAIRS


def test_what_is_ruled_out_stays_below_its_rate_however_long_one_looks(rng):
    verdicts, _ = TEST.run_many(*outcomes(rng, 0.6, 0.4, 0.5, 1000, 2000))
    assert verdicts.count("no difference") / 2000 < 0.2
    verdicts, _ = TEST.run_many(*outcomes(rng, 0.5, 0.5, 0.0, 1000, 2000))
    assert 0.01 < verdicts.count("first") / 2000 + verdicts.count("second") / 2000 < 0.06


def test_peeking_at_mcnemar_after_each_pair_would_not_keep_the_rate(rng):
    a, b = outcomes(rng, 0.5, 0.5, 0.0, 140, 200)
    won, lost = np.cumsum(a & ~b, 1), np.cumsum(b & ~a, 1)
    alarms = [
        any(mcnemar_p(Pairs(only_first=int(w), only_second=int(n))) < 0.05
            for w, n in zip(wins[::4], losses[::4], strict=True))
        for wins, losses in zip(won, lost, strict=True)
    ]  # fmt: skip
    assert np.mean(alarms) > 0.1  # what stopping early must not cost


def test_more_power_and_smaller_effects_need_more_pairs():
    pairs = TEST.needed_pairs()
    assert SequentialTest(min_effect=0.3).needed_pairs() < pairs
    assert SequentialTest(power=0.9).needed_pairs() > pairs
    assert SequentialTest(alpha=0.01).needed_pairs() > pairs


def test_one_after_the_other_says_the_same_and_looks_no_further():
    pairs = [(True, False)] * 12 + [(False, True)] * 100
    verdict, seen = TEST.run(pairs)
    assert verdict == "first"
    assert seen == 12  # 12 log(1.385) = 3.9 is over log(40) = 3.7, and 11 are not
    assert TEST.run([(b, a) for a, b in pairs])[0] == "second"
    verdict, seen = TEST.run([(True, True)] * 100)
    assert verdict == "no difference"
    assert (
        10 < seen < 20
    )  # log(5) / log(1 + 0.83 * 0.2) = 10.5, and half of it is at another stake
    assert TEST.run([(True, True)] * 10) == ("undecided", 10)
    assert TEST.run([]) == ("undecided", 0)


def test_a_plan_that_means_nothing_is_refused():
    with pytest.raises(ValueError, match=r"alpha=0\.5 is outside"):
        SequentialTest(alpha=0.5)
