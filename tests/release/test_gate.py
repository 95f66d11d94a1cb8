"""The first failing check rejects a candidate, by name, with its value and limit."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from robot_agent.core.bridge_action import Normalization
from robot_agent.core.errors import BundleRejectedError
from robot_agent.release.bundle import Bundle
from robot_agent.release.bundle_reader import read_bundle
from robot_agent.release.gate import Comparison, Gate, GateConfig, GateProbes
from tests.release.bundles import KEYRING, STRANGER, golden, make_bundle, weights

EVEN = Comparison(0.5, 0.5)
GOOD = GateProbes(
    loaded=lambda bundle: bundle.policy_bytes,
    act=lambda bundle: bundle.golden.actions,
    latency_ms=lambda bundle: 20.0,
    held_out_judge=lambda bundle: EVEN,
    held_out_world=lambda bundle: EVEN,
    regression=lambda bundle: EVEN,
)
ORDER = [
    "integrity", "version", "parent", "architecture", "action space", "normalization",
    "instructions", "normalization values", "settings", "layout", "norm ratio",
    "fingerprint", "golden actions", "latency", "held out judge", "held out world", "regression",
]  # fmt: skip


@pytest.fixture
def base(tmp_path: Path) -> Bundle:
    make_bundle(tmp_path / "base", 1)
    return read_bundle(tmp_path / "base", KEYRING)


def judge(tmp_path: Path, base: Bundle, probes: GateProbes = GOOD, **changes):
    arguments = {"version": 2, "parent": base.manifest.hash, "policy": weights(1)} | changes
    make_bundle(tmp_path / "candidate", **arguments)
    return Gate(GateConfig(), KEYRING, base=base, probes=probes).judge(tmp_path / "candidate")


def test_a_sound_candidate_passes_every_check_in_order(tmp_path, base):
    report = judge(tmp_path, base)
    assert report.passed
    assert [check.name for check in report.checks] == ORDER
    assert report.skipped == ()
    report.require_passed()


def scaled(factor: float) -> dict[str, np.ndarray]:
    changed = weights(1)
    changed["head.weight"] = changed["head.weight"] * np.float32(factor)
    return changed


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"version": 1}, "version"),
        ({"parent": "ab" * 32}, "parent"),
        ({"architecture": "tiny-2"}, "architecture"),
        ({"action_space": "joints"}, "action space"),
        ({"provenance": {"instructions": ["close", "open"]}}, "instructions"),
        ({"normalization": Normalization(q01=(-1.0,) * 7)}, "normalization values"),
        ({"policy": weights(1) | {"extra": np.zeros(1, np.float32)}}, "layout"),
        ({"policy": weights(1) | {"scale": np.zeros(2, np.float32)}}, "layout"),
        ({"policy": scaled(3.0)}, "norm ratio"),
        ({"policy": scaled(0.3)}, "norm ratio"),
        ({"policy": scaled(0.0)}, "norm ratio"),
    ],
)
def test_a_candidate_that_does_not_follow_its_base_is_rejected(tmp_path, base, changes, name):
    report = judge(tmp_path, base, **changes)
    assert not report.passed
    assert report.first_failure is report.checks[-1]
    assert report.checks[-1].name == name
    with pytest.raises(BundleRejectedError, match=f"{name} is .*, must be"):
        report.require_passed()


WORSE = Comparison(0.3, 0.5)


@pytest.mark.parametrize(
    ("probe", "answer", "name"),
    [
        ("act", golden().actions + 0.002, "golden actions"),
        ("act", -golden().actions, "golden actions"),
        ("act", golden().actions * np.nan, "golden actions"),
        ("act", golden().actions[:1], "golden actions"),
        ("latency_ms", 201.0, "latency"),
        ("latency_ms", float("nan"), "latency"),
        ("held_out_judge", WORSE, "held out judge"),
        ("held_out_world", WORSE, "held out world"),
        ("held_out_judge", Comparison(float("nan"), 0.5), "held out judge"),
        ("regression", WORSE, "regression"),
        ("regression", Comparison(0.5, 0.5, 0.1), "regression"),
    ],
)
def test_a_candidate_that_behaves_worse_is_rejected(tmp_path, base, probe, answer, name):
    probes = dataclasses.replace(GOOD, **{probe: lambda bundle: answer})
    report = judge(tmp_path, base, probes)
    assert report.first_failure is not None
    assert report.first_failure.name == name


def test_a_small_loss_within_the_margin_is_no_regression(tmp_path, base):
    probes = dataclasses.replace(GOOD, regression=lambda bundle: Comparison(0.45, 0.5, 0.02))
    assert judge(tmp_path, base, probes).passed


def test_a_forged_candidate_fails_integrity_and_no_probe_runs(tmp_path, base):
    def never(bundle: Bundle) -> float:
        raise AssertionError("a probe ran on a bundle that nobody signed")

    probes = dataclasses.replace(GOOD, act=never)
    report = judge(tmp_path, base, probes, key=STRANGER)
    assert [check.name for check in report.checks] == ["integrity: signature key"]
    assert not report.passed


PROBES = tuple(probe.name for probe in dataclasses.fields(GateProbes))


@pytest.mark.parametrize("name", PROBES)
def test_a_check_without_a_probe_does_not_pass_in_silence(tmp_path, base, name):
    report = judge(tmp_path, base, dataclasses.replace(GOOD, **{name: None}))
    assert report.skipped == (name,)
    assert not report.passed
    with pytest.raises(BundleRejectedError, match=f"complete is without {name}, must be every"):
        report.require_passed()


def test_only_what_is_named_may_be_left_out(tmp_path, base):
    make_bundle(tmp_path / "candidate", 2, base.manifest.hash, policy=weights(1))

    def passed(**options) -> bool:
        gate = Gate(GateConfig(), KEYRING, base=base, **options)
        return gate.judge(tmp_path / "candidate").passed

    assert not passed()
    assert not passed(allow_skipped=PROBES[1:])
    assert passed(allow_skipped=PROBES)
    assert not Gate(GateConfig(), KEYRING, probes=GOOD).judge(tmp_path / "candidate").passed


def test_a_report_that_lost_its_last_check_does_not_pass(tmp_path, base):
    report = judge(tmp_path, base, GateProbes())
    assert not dataclasses.replace(report, checks=report.checks[:-1]).passed


@pytest.mark.parametrize("name", sorted(weights()))
def test_a_network_that_holds_other_tensors_than_were_signed_is_noticed(tmp_path, base, name):
    def loaded(bundle: Bundle) -> bytes:
        tensors = dict(bundle.tensors())
        tensors[name] = tensors[name] + np.ones(1, tensors[name].dtype) * np.float16(1e-3)
        return save(tensors)

    report = judge(tmp_path, base, dataclasses.replace(GOOD, loaded=loaded))
    assert report.first_failure is not None
    assert (report.first_failure.name, report.first_failure.value) == ("fingerprint", name)


def test_a_bundle_that_the_network_refuses_fails_and_raises_nothing(tmp_path, base):
    def loaded(bundle: Bundle) -> bytes:
        raise BundleRejectedError(bundle.label, "tensors", "none", "those of the network")

    report = judge(tmp_path, base, dataclasses.replace(GOOD, loaded=loaded))
    assert report.first_failure is not None
    assert report.first_failure.name == "fingerprint"


def test_the_report_is_saved_as_json(tmp_path, base):
    judge(tmp_path, base).save(tmp_path / "report.json")
    saved = json.loads((tmp_path / "report.json").read_text())
    assert saved["passed"] is True
    assert saved["checks"][0]["name"] == "integrity"
    assert saved["config"]["max_norm_ratio"] == 2.0
