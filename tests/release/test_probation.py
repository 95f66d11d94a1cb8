"""Probation keeps good weights and returns bad ones, at the promised error rates."""

import numpy as np
import pytest

from robot_agent.core.errors import SwapRefusedError
from robot_agent.release.probation import (
    Probation,
    ProbationConfig,
    Verdict,
    conclude,
    decide,
    evidence,
    veto,
)
from robot_agent.release.registry import Registry
from robot_agent.release.registry_config import RegistryConfig
from robot_agent.release.states import State
from tests.release.bundles import KEYRING, OPERATOR, make_bundle

CONFIG = ProbationConfig()
RUNS = 10_000


def simulated(rng, new_rate: float, previous_rate: float) -> tuple[float, float]:
    """Return the share of 10,000 probations that rolled back, and the mean pairs they took."""
    new = rng.random((RUNS, CONFIG.max_pairs)) < new_rate
    previous = rng.random((RUNS, CONFIG.max_pairs)) < previous_rate
    decisions, pairs = decide(new, previous, CONFIG)
    assert (decisions != 0).all()
    return float((decisions > 0).mean()), float(pairs.mean())


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.7, 0.9, 0.97])
def test_weights_as_good_as_before_are_rarely_rolled_back(rng, rate):
    assert simulated(rng, rate, rate)[0] <= 0.05


@pytest.mark.parametrize(("new", "previous"), [(0.6, 0.5), (0.9, 0.8), (0.95, 0.5)])
def test_better_weights_are_rolled_back_more_rarely_still(rng, new, previous):
    assert simulated(rng, new, previous)[0] <= 0.03


@pytest.mark.parametrize(
    ("new", "previous"), [(0.5, 0.8), (0.2, 0.5), (0.69, 0.9), (0.0, 0.5), (0.1, 0.9)]
)
def test_weights_that_are_worse_are_rarely_missed(rng, new, previous):
    share, pairs = simulated(rng, new, previous)
    assert 1 - share <= 0.10
    assert pairs <= 60


def test_a_test_that_cannot_tell_would_fail_these_simulations(rng):
    """The bounds above are no matter of course: a test that looks once at 10 pairs breaks them."""
    new = rng.random((RUNS, 10)) < 0.5
    previous = rng.random((RUNS, 10)) < 0.5
    assert (new.sum(1) < previous.sum(1)).mean() > 0.3


def test_the_evidence_is_that_of_a_slow_count(rng):
    new, previous = rng.random(40) < 0.4, rng.random(40) < 0.7
    total, odds = 0.0, CONFIG.worse_odds
    for step, (a, b) in enumerate(zip(new, previous, strict=True)):
        if a and not b:
            total += np.log(odds / (1 + odds) / 0.5)
        if b and not a:
            total += np.log(1 / (1 + odds) / 0.5)
        assert evidence(new, previous, odds)[step] == pytest.approx(total)


def run(outcomes) -> Probation:
    probation = Probation(CONFIG)
    for new, previous in outcomes:
        assert probation.next_is_new
        probation.add_episode(is_new=True, succeeded=new)
        assert not probation.next_is_new
        probation.add_episode(is_new=False, succeeded=previous)
    return probation


def test_nothing_is_decided_without_episodes():
    assert Probation(CONFIG).verdict()[0] is Verdict.GO_ON
    assert run([(False, True)] * 6).verdict()[0] is Verdict.GO_ON


def test_losing_again_and_again_rolls_back_and_says_why():
    verdict, reason = run([(False, True)] * 7).verdict()
    assert verdict is Verdict.ROLL_BACK
    assert reason == "worse than the previous: 0/7 against 7/7, must be odds ratio above 0.25"


def test_winning_and_losing_alike_stays():
    verdict, reason = run([(True, False), (False, True), (True, True)] * 6).verdict()
    assert verdict is Verdict.STAY
    assert "not worse than the previous" in reason


def test_pairs_that_agree_decide_only_at_the_end():
    assert run([(True, True)] * (CONFIG.max_pairs - 1)).verdict()[0] is Verdict.GO_ON
    assert run([(True, True)] * CONFIG.max_pairs).verdict()[0] is Verdict.STAY


def test_a_safety_event_ends_probation_at_once():
    probation = run([(True, False)] * 40)
    assert probation.verdict()[0] is Verdict.STAY
    probation.add_safety_event("latched stop")
    probation.add_safety_event("second")
    assert probation.verdict() == (Verdict.ROLL_BACK, "safety event: latched stop")


def test_slow_inference_ends_probation():
    probation = Probation(CONFIG)
    for _ in range(49):
        probation.add_latency(is_new=True, milliseconds=41.0)
        probation.add_latency(is_new=False, milliseconds=20.0)
    assert probation.verdict()[0] is Verdict.GO_ON
    probation.add_latency(is_new=True, milliseconds=41.0)
    probation.add_latency(is_new=False, milliseconds=20.0)
    verdict, reason = probation.verdict()
    assert verdict is Verdict.ROLL_BACK
    assert reason == "latency: 99th percentile 41.0 ms, must be at most 40.0 ms"


# --- in the registry -----------------------------------------------------------------------------


@pytest.fixture
def registry(tmp_path) -> Registry:
    """A registry with a release on probation above its factory release."""
    made = Registry(tmp_path / "r", KEYRING, RegistryConfig(min_free_gb=0.0))
    first = make_bundle(tmp_path / "b1", 1, key=OPERATOR)
    made.install_factory(tmp_path / "b1")
    make_bundle(tmp_path / "b2", 2, first.hash)
    label = made.publish(tmp_path / "b2")
    for state in (State.LOADED, State.SANE, State.SHADOW):
        made.advance(label, state)
    return made


def labels(registry: Registry) -> list[str]:
    return [item.label for item in registry.list()]


def test_a_roll_back_needs_nobody_and_its_reason_is_kept(registry):
    first, second = labels(registry)
    registry.activate(second)
    assert conclude(registry, second, Verdict.ROLL_BACK, "safety event: stop") == first
    assert registry.list()[1].state is State.REJECTED
    assert registry.list()[1].reason == "safety event: stop"


def test_unattended_nothing_becomes_good(registry):
    second = labels(registry)[1]
    registry.activate(second)
    assert conclude(registry, second, Verdict.STAY, "not worse") == second
    assert conclude(registry, second, Verdict.GO_ON, "undecided", approved_by="Ada") == second
    assert registry.list()[1].state is State.PROBATION
    conclude(registry, second, Verdict.STAY, "not worse", approved_by="Ada")
    assert registry.list()[1].state is State.GOOD
    assert registry.list()[1].reason == "not worse; approved by Ada"


def test_only_what_is_in_probation_is_concluded(registry):
    first, second = labels(registry)
    for label in (first, second, "v9999-00000000"):
        with pytest.raises(SwapRefusedError, match="must be current and in PROBATION"):
            conclude(registry, label, Verdict.ROLL_BACK, "")


@pytest.mark.parametrize("is_active", [False, True])
def test_a_person_can_veto_before_and_during_probation(registry, is_active):
    first, second = labels(registry)
    if is_active:
        registry.activate(second)
    assert veto(registry, second, "Ada", "it shakes") == first
    assert registry.list()[1].state is State.REJECTED
    assert registry.list()[1].reason == "vetoed by Ada: it shakes"
    with pytest.raises(SwapRefusedError):
        veto(registry, second, "Ada", "again")
    with pytest.raises(SwapRefusedError, match="roll-back"):
        veto(registry, first, "Ada", "good already")
