"""Releases that come from elsewhere go before the gate, or never act."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from robot_agent import cli, compose
from robot_agent.compose import ensure_releases, gate_release, home_starts, load_team
from robot_agent.core.errors import SwapRefusedError
from robot_agent.learn.desk import bundle_contents
from robot_agent.models.tiny_policy import TinyPolicy
from robot_agent.release.bundle import write_bundle
from robot_agent.release.registry import Registry
from robot_agent.release.signing import load_key, load_keyring
from robot_agent.release.states import State
from robot_agent.release.weights import ReleaseWeights

pytestmark = pytest.mark.slow  # rolls policies out in imagination


@pytest.fixture(scope="module")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("robot") / "releases"
    ensure_releases(folder)
    return folder


def import_policy(releases: Path, name: str, network: TinyPolicy) -> str:
    """Sign `network` as a trainer elsewhere would, and take it in."""
    registry = Registry(releases, load_keyring(releases / "keyring.json"))
    contents = bundle_contents(
        network,
        np.stack([start.observation.image_hwc for start in home_starts()]),
        version=1 + registry.releases().newest_version,
        parent=registry.load(registry.current()).manifest.hash,
        provenance={},
        report={},
    )
    source = releases.parent / name
    write_bundle(source, contents, load_key(releases / "keys" / compose.TRAINER_KEY))
    assert cli.main(["weights", "import", str(source), "--releases", str(releases)]) == 0
    return registry.list()[-1].label


def state(releases: Path, label: str) -> State:
    return Registry(releases, load_keyring(releases / "keyring.json")).releases().states[label]


def test_what_is_imported_acts_only_after_the_gate(releases, capsys):
    label = import_policy(releases, "nudged", nudged(1e-4))
    weights = ReleaseWeights(releases, compose.load_policy)
    with pytest.raises(SwapRefusedError, match=f"is VERIFIED, must be.*weights gate {label}"):
        weights.load(label)
    capsys.readouterr()
    code = cli.main(["weights", "gate", label, "--releases", str(releases), "--json"])
    found = json.loads(capsys.readouterr().out)["results"]
    assert code == 0, found
    names = [check["name"] for check in found["checks"]]
    assert names[-4:] == ["latency", "held out judge", "held out world", "regression"]
    assert state(releases, label) is State.SANE
    assert weights.load(label).version == label
    assert state(releases, label) is State.SHADOW
    with pytest.raises(SwapRefusedError, match="must be VERIFIED to go before the gate"):
        gate_release(releases, label)


def nudged(by: float) -> TinyPolicy:
    """Return the shipped policy with every weight moved a little."""
    network = load_team().policy
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in network.parameters():
            tensor.add_(by * torch.randn(tensor.shape, generator=generator))
    return network


def test_an_imported_policy_that_forgot_is_rejected_and_says_why(releases, capsys):
    network = load_team().policy
    with torch.no_grad():
        for name, tensor in network.named_parameters():
            if name.endswith("weight") and tensor.ndim == 2:
                tensor.copy_(tensor.flip(0))  # same norms, another policy
    label = import_policy(releases, "forgot", network)
    report = gate_release(releases, label)
    assert not report.passed
    assert report.first_failure is not None
    assert report.first_failure.name in ("held out judge", "held out world", "regression")
    assert state(releases, label) is State.REJECTED
    saved = json.loads((releases / f"gate-{label}.json").read_text())
    assert saved["passed"] is False
