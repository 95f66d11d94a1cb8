"""Planted bad policies never act alone, and the report names the first check that failed."""

from pathlib import Path

import pytest

from robot_agent.core.errors import BundleRejectedError
from robot_agent.learn.proof import ProofConfig, tiny_probes
from robot_agent.release.gate import Gate
from robot_agent.release.registry import Registry
from robot_agent.release.registry_config import RegistryConfig
from tests.release.bundles import KEYRING
from tests.release.planting import (
    LIMITS,
    NEW_SCENE,
    PLANTS,
    ROTATED,
    Nursery,
    drop_a_tensor,
    negate_head,
    pleased_judge,
    stir,
)

pytestmark = pytest.mark.slow  # four dozen candidates, each rolled out in imagination


@pytest.fixture(scope="module")
def nursery(tmp_path_factory) -> Nursery:
    return Nursery(tmp_path_factory.mktemp("nursery"))


def first_failure(report):
    assert not report.passed
    assert report.first_failure is report.checks[-1]
    return report.first_failure


def test_a_sound_child_passes_every_check(nursery):
    report = nursery.judge(nursery.candidate(lambda t: stir(t, 1e-4)))
    assert report.passed, report.first_failure
    assert report.skipped == ()


@pytest.mark.parametrize("name", PLANTS)
def test_a_planted_policy_is_stopped_by_the_check_that_knows_it(nursery, name):
    plant, check = PLANTS[name]
    found = first_failure(nursery.judge(plant(nursery)))
    assert found.name == check, found
    assert found.value
    assert found.limit


def test_a_candidate_of_a_key_that_was_exchanged_is_stopped(nursery):
    report = nursery.judge(nursery.candidate(), keyring=ROTATED)
    assert first_failure(report).name == "integrity: signature key"


def test_a_slow_candidate_is_stopped(nursery):
    report = nursery.judge(
        nursery.candidate(lambda t: stir(t, 1e-4)), latency_ms=lambda _: LIMITS.max_latency_ms + 1
    )
    assert first_failure(report).name == "latency"


def test_a_loader_that_leaves_out_a_tensor_is_noticed(nursery):
    found = first_failure(nursery.judge(nursery.candidate(), loaded=drop_a_tensor))
    assert (found.name, found.value) == ("fingerprint", "stem.weight")


def test_a_policy_that_pleases_only_the_judge_that_trained_it_is_stopped(nursery):
    folder = nursery.candidate(negate_head)
    pleased = nursery.evidence()
    pleased.held_out_judge = pleased_judge(nursery.team)
    fooled = tiny_probes(
        nursery.base, pleased, nursery.starts[NEW_SCENE:], ProofConfig(repeats=1)
    ).held_out_judge
    by_its_judge = nursery.judge(folder, held_out_judge=fooled)
    assert "held out judge" in [c.name for c in by_its_judge.checks if c.passed]
    assert first_failure(by_its_judge).name == "held out world"  # others were not fooled
    assert first_failure(nursery.judge(folder)).name == "held out judge"


def taken_in(registry: Registry, folder: Path) -> str:
    try:
        return registry.publish(folder)
    except BundleRejectedError:
        return ""


def test_the_registry_asks_integrity_version_and_parent_again(nursery, tmp_path):
    for name, (plant, check) in PLANTS.items():
        if check.startswith("integrity") or check in ("version", "parent"):
            registry = Registry(tmp_path / "r" / name, KEYRING, RegistryConfig(min_free_gb=0.0))
            first = registry.install_factory(nursery.folder / "base")
            assert taken_in(registry, plant(nursery)) in ("", first), name
            assert registry.current() == first


def test_without_its_probes_the_gate_lets_nothing_pass(nursery):
    report = Gate(LIMITS, KEYRING, base=nursery.base).judge(nursery.candidate())
    assert first_failure(report).name == "complete"
