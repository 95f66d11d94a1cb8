"""The test that may stop early: its error rates over 10,000 simulated comparisons, and exactly."""

import numpy as np
import pytest

from robot_agent.evaluate.sequential import SequentialTest
from robot_agent.evaluate.statistics import Pairs, mcnemar_p

TEST = SequentialTest()
MAX_PAIRS = TEST.needed_pairs()
COMPARISONS = 10_000


def outcomes(rng, first, second, correlation, pairs, comparisons=COMPARISONS):
    """Successes of two policies; on a share `correlation` of starts the same luck decides both."""
    luck = rng.random((2, comparisons, pairs))
    shared = rng.random((comparisons, pairs)) < correlation
    return luck[0] < first, np.where(shared, luck[0], luck[1]) < second


def simulated(rng, first, second, correlation):
    """Return the share of each verdict and the mean number of pairs run."""
    a, b = outcomes(rng, first, second, correlation, MAX_PAIRS)
    won, lost = np.cumsum(a & ~b, 1), np.cumsum(b & ~a, 1)
    found = TEST.verdicts(won, lost)
    over = np.any(list(found.values()), axis=0)
    last = np.where(over.any(1), over.argmax(1), MAX_PAIRS - 1)
    rows = np.arange(COMPARISONS)
    shares = {verdict: float(where[rows, last].mean()) for verdict, where in found.items()}
    return {**shares, "pairs": float((last + 1).mean())}


def fixed_pairs():
    """Return how many pairs the exact McNemar test needs at the hardest discordance."""
    rng, best = np.random.default_rng(0), MAX_PAIRS
    for pairs in range(90, MAX_PAIRS, 2):
        a, b = outcomes(rng, 0.6, 0.4, 0.0, pairs)
        won, lost = (a & ~b).sum(1), (b & ~a).sum(1)
        tables, counts = np.unique(np.stack([won, lost]), axis=1, return_counts=True)
        p = [mcnemar_p(Pairs(only_first=int(w), only_second=int(n))) for w, n in tables.T]
        power = counts[(np.array(p) < TEST.alpha) & (tables[0] > tables[1])].sum() / COMPARISONS
        if power >= TEST.power:
            best = pairs
            break
    return best


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.8])
@pytest.mark.parametrize("rate", [0.2, 0.5, 0.8])
def test_equal_policies_are_called_different_no_more_often_than_stated(rate, correlation, rng):
    found = simulated(rng, rate, rate, correlation)
    error = 3 * np.sqrt(TEST.alpha * (1 - TEST.alpha) / COMPARISONS)
    assert found["first"] + found["second"] <= TEST.alpha + error
    assert found["pairs"] < MAX_PAIRS


@pytest.mark.parametrize(
    ("first", "second", "correlation"),
    [(0.6, 0.4, 0.0), (0.4, 0.6, 0.0), (0.6, 0.4, 0.5), (0.4, 0.2, 0.3), (0.95, 0.75, 0.0),
     (0.8, 0.5, 0.0)],
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


def test_pairs_are_saved_beside_the_fixed_size_test(rng):
    fixed = fixed_pairs()
    assert 95 < fixed < MAX_PAIRS
    assert simulated(rng, 0.6, 0.4, 0.0)["pairs"] < 0.8 * fixed
    assert simulated(rng, 0.5, 0.5, 0.0)["pairs"] < 0.8 * fixed


@pytest.mark.parametrize(("first", "second"), [(0.5, 0.5), (0.6, 0.4), (0.3, 0.2)])
def test_the_exact_chances_agree_with_the_simulated_ones(first, second, rng):
    discordance = first * (1 - second) + second * (1 - first)
    exact = TEST.chances(first - second, discordance, MAX_PAIRS)
    for name, value in simulated(rng, first, second, 0.0).items():
        allowed = 0.8 if name == "pairs" else 0.016
        assert value == pytest.approx(exact[name], abs=allowed), name
    assert sum(value for name, value in exact.items() if name != "pairs") == pytest.approx(1.0)


def test_peeking_at_mcnemar_after_each_pair_would_not_keep_the_rate(rng):
    a, b = outcomes(rng, 0.5, 0.5, 0.0, MAX_PAIRS, 1000)
    won, lost = np.cumsum(a & ~b, 1), np.cumsum(b & ~a, 1)
    alarms = [
        any(mcnemar_p(Pairs(only_first=int(w), only_second=int(n))) < 0.05
            for w, n in zip(wins[::4], losses[::4], strict=True))
        for wins, losses in zip(won[:200], lost[:200], strict=True)
    ]  # fmt: skip
    assert np.mean(alarms) > 0.1  # what stopping early must not cost


def test_the_needed_pairs_are_the_fewest_with_the_stated_power():
    hardest = TEST.most_discordance
    assert TEST.chances(0.2, hardest, MAX_PAIRS)["first"] >= 0.8
    assert TEST.chances(0.2, hardest, MAX_PAIRS - 1)["first"] < 0.8
    assert SequentialTest(min_effect=0.3).needed_pairs() < MAX_PAIRS
    assert SequentialTest(power=0.9).needed_pairs() > MAX_PAIRS


def test_one_after_the_other_says_the_same_and_looks_no_further():
    pairs = [(True, False)] * 12 + [(False, True)] * 100
    verdict, seen = TEST.run(pairs)
    assert verdict == "first"
    assert seen == 12  # 12 log(1.385) = 3.9 is over log(40) = 3.7, and 11 are not
    assert TEST.run([(b, a) for a, b in pairs])[0] == "second"
    assert TEST.run([(True, True)] * 500) == ("undecided", 500)
    assert TEST.run([(True, False), (False, True)] * 50) == ("no difference", 22)


def test_a_plan_that_means_nothing_is_refused():
    with pytest.raises(ValueError, match=r"alpha=0\.5 is outside"):
        SequentialTest(alpha=0.5)
    with pytest.raises(ValueError, match=r"discordance=0\.1 is outside"):
        TEST.chances(0.2, 0.1, 50)
