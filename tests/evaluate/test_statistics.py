"""Intervals against published numbers, and their coverage by simulation."""

import math

import numpy as np
import pytest

from robot_agent.core.errors import InputError
from robot_agent.evaluate.statistics import (
    Pairs,
    count_pairs,
    fisher_p,
    mcnemar_p,
    newcombe_interval,
    paired_difference,
    wilson_interval,
)


def test_wilson_agrees_with_published_numbers():
    # Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson_interval(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


def test_wilson_without_trials_says_nothing():
    assert wilson_interval(0, 0) == (0.0, 1.0)
    with pytest.raises(InputError, match=r"successes=3 is outside \[0, 2\]"):
        wilson_interval(3, 2)
    with pytest.raises(InputError, match=r"confidence=1\.0 is outside"):
        wilson_interval(1, 2, 1.0)


def test_newcombe_agrees_with_published_numbers():
    # Newcombe, Statistics in Medicine 17 (1998) 2635-2650, method 10 on (a, b, c, d) of n = 50
    pairs = Pairs(both=36, only_first=12, only_second=2, neither=0)
    assert newcombe_interval(pairs) == pytest.approx((0.0569, 0.3404), abs=5e-5)


def test_newcombe_agrees_with_a_slow_reading_of_the_formula():
    pairs = Pairs(both=20, only_first=9, only_second=3, neither=18)
    (l1, u1), (l2, u2) = wilson_interval(29, 50), wilson_interval(23, 50)
    phi = (20 * 18 - 9 * 3 - 25) / math.sqrt(29 * 21 * 23 * 27)
    p1, p2 = 29 / 50, 23 / 50
    down = math.sqrt((p1 - l1) ** 2 - 2 * phi * (p1 - l1) * (u2 - p2) + (u2 - p2) ** 2)
    up = math.sqrt((u1 - p1) ** 2 - 2 * phi * (u1 - p1) * (p2 - l2) + (p2 - l2) ** 2)
    assert newcombe_interval(pairs) == pytest.approx((p1 - p2 - down, p1 - p2 + up))


def test_newcombe_stays_inside_one_and_turns_with_the_order():
    assert newcombe_interval(Pairs()) == (-1.0, 1.0)
    low, high = newcombe_interval(Pairs(both=20, only_first=9, only_second=3, neither=18))
    turned = newcombe_interval(Pairs(both=20, only_first=3, only_second=9, neither=18))
    assert turned == pytest.approx((-high, -low))
    for pairs in (Pairs(only_first=5), Pairs(only_second=5), Pairs(both=5), Pairs(neither=5)):
        low, high = newcombe_interval(pairs)
        assert -1.0 <= low <= pairs.difference <= high <= 1.0


@pytest.mark.parametrize(
    "chances",
    [(0.3, 0.4, 0.05, 0.25), (0.5, 0.1, 0.1, 0.3), (0.2, 0.0, 0.2, 0.6), (0.05, 0.9, 0.03, 0.02)],
)
def test_the_paired_interval_covers_the_truth(chances, rng):
    truth = chances[1] - chances[2]
    tables, counts = np.unique(rng.multinomial(50, chances, 4000), axis=0, return_counts=True)
    hits = 0
    for table, count in zip(tables, counts, strict=True):
        low, high = newcombe_interval(Pairs(*map(int, table)))
        hits += count * (low <= truth <= high)
    assert 0.935 <= hits / 4000 <= 0.995


def test_the_exact_mcnemar_test_is_the_binomial():
    assert mcnemar_p(Pairs(both=9, neither=9)) == 1.0
    assert mcnemar_p(Pairs(only_first=5)) == pytest.approx(2 / 32)
    assert mcnemar_p(Pairs(only_first=1, only_second=9)) == pytest.approx(2 * 11 / 1024)
    assert mcnemar_p(Pairs(only_first=4, only_second=4)) == 1.0


def test_the_exact_mcnemar_test_keeps_its_level(rng):
    wins = rng.binomial(40, 0.5, 4000)
    rejected = [mcnemar_p(Pairs(only_first=int(k), only_second=40 - int(k))) < 0.05 for k in wins]
    assert 0.01 < np.mean(rejected) <= 0.056


def test_outcomes_are_counted_in_their_places():
    outcomes = [(True, True), (True, False), (True, False), (False, True), (False, False)]
    pairs = count_pairs(outcomes)
    assert (pairs.both, pairs.only_first, pairs.only_second, pairs.neither) == (1, 2, 1, 1)
    found = paired_difference(pairs)
    assert found.difference == pytest.approx(0.2)
    assert found.interval[0] < 0.2 < found.interval[1]
    with pytest.raises(InputError, match="a count is -1"):
        Pairs(both=-1)


def test_the_exact_fisher_test_is_the_hypergeometric_tail():
    """The lady tasting tea: R. A. Fisher, The Design of Experiments (1935), chapter 2."""
    assert fisher_p(4, 4, 0, 4) == pytest.approx(1 / 70)
    assert fisher_p(3, 4, 1, 4) == pytest.approx(17 / 70)
    assert fisher_p(0, 4, 4, 4) == pytest.approx(1.0)
    assert fisher_p(0, 10_000, 0, 10_000) == 1.0
    assert fisher_p(5, 10_000, 0, 10_000) == pytest.approx(0.5**5, rel=1e-2)


def test_the_exact_fisher_test_keeps_its_level(rng):
    counts = rng.binomial(200, 0.05, size=(2000, 2))
    rejected = [fisher_p(int(a), 200, int(b), 200) < 0.05 for a, b in counts]
    assert np.mean(rejected) < 0.05


def test_more_events_than_trials_are_refused():
    with pytest.raises(InputError, match="5 of 4, must be 0 to 4"):
        fisher_p(5, 4, 0, 4)
