"""The commands that compare releases, move them between registries, stop them, change keys."""

import json
from pathlib import Path

import numpy as np
import pytest

from robot_agent import cli
from robot_agent.core import clock
from robot_agent.release import journal
from robot_agent.release.registry import Registry
from robot_agent.release.registry_config import RegistryConfig
from robot_agent.release.signing import create_key, load_keyring, save_keyring, trusted
from robot_agent.release.states import State
from tests.release.bundles import make_bundle, weights


class Place:
    """A registry with its own keys, a factory release and a child."""

    def __init__(self, folder: Path, bundles: Path) -> None:
        self.folder = folder
        operator, trainer = (create_key(folder / f"{n}.pem") for n in ("operator", "trainer"))
        save_keyring(
            folder / "keyring.json", trusted((operator, "operator"), (trainer, "trainer"))
        )
        self.registry = self.open()
        self.first = make_bundle(bundles / "b1", 1, key=operator, policy=weights(1))
        self.registry.install_factory(bundles / "b1")
        changed = weights(1) | {"head.bias": np.array([0, 0.5, 0], np.float32)}
        self.second = make_bundle(
            bundles / "b2", 2, self.first.hash, key=trainer, policy=changed
        ).label
        self.registry.publish(bundles / "b2")

    def open(self) -> Registry:
        config = RegistryConfig(min_free_gb=0.0)
        return Registry(self.folder, load_keyring(self.folder / "keyring.json"), config)


@pytest.fixture
def place(tmp_path, releases_path) -> Place:
    return Place(releases_path, tmp_path)


@pytest.fixture
def run(place, capsys):
    def call(*words: str, releases: Path | None = None, code: int = 0):
        arguments = ["weights", *map(str, words), "--releases", str(releases or place.folder)]
        assert cli.main([*arguments, "--json"]) == code
        printed = capsys.readouterr()
        return printed.err if code else json.loads(printed.out)["results"]

    return call


def test_diff_names_the_tensors_that_changed(place, run):
    found = run("diff", place.first.label, place.second)
    assert (found["tensors"], found["differing"]) == (3, 1)
    assert found["top"][0]["name"] == "head.bias"
    assert found["top"][0]["largest"] == 0.5
    assert found["top"][0]["changed_share"] == pytest.approx(1 / 3)
    assert run("diff", place.first.label, place.first.label)["top"] == []
    assert "'v9'" in run("diff", "v9", place.second, code=2)


def test_a_release_goes_from_one_registry_to_another(place, run, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "keyring.json").write_bytes((place.folder / "keyring.json").read_bytes())
    whole, delta = tmp_path / "first.tar", tmp_path / "second.tar"
    assert run("export", place.first.label, "--out", whole)["how"] == "whole"
    base = ["--base", place.first.label]
    assert "delta" in run("export", place.second, "--out", delta, *base)["how"]
    refused = run("import", delta, releases=theirs, code=1)
    assert "must be a release that is here" in refused
    assert run("import", whole, "--factory", releases=theirs)["state"] == "GOOD"
    assert run("import", delta, releases=theirs)["state"] == "VERIFIED"
    assert run("verify", releases=theirs)["damaged"] == 0
    assert "is not there" in run("import", tmp_path / "none", code=2)


def test_a_veto_and_garbage(place, run):
    found = run("veto", place.second, "--reason", "it shakes")
    assert found["current"] == place.first.label
    rejected = run("list")["releases"][1]
    assert rejected["state"] == "REJECTED"
    assert "it shakes" in rejected["reason"]
    assert run("gc")["removed"] == [place.second]
    assert run("gc")["removed"] == []


def test_an_old_registry_is_noticed(place, run, monkeypatch):
    assert run("list")["notice"] == ""
    assert run("list", "--max-age-days", "0")["notice"] != ""
    assert (
        "newest release came 0 days ago, limit 0" in run("list", "--max-age-days", "0")["notice"]
    )
    assert clock.days_since("20200101T000000") > 2000


def test_keys_are_changed_by_the_operator(place, run, tmp_path):
    keys = run("keys")["keys"]
    trainer = next(name for name, key in keys.items() if key["role"] == "trainer")
    change = ["--add", tmp_path / "new.pem", "--retire", trainer]
    assert "must be signed" in run("keys", *change, code=2)
    refused = run("keys", *change, "--sign-with", place.folder / "trainer.pem", code=2)
    assert "an operator's key" in refused
    after = run("keys", *change, "--sign-with", place.folder / "operator.pem")["keys"]
    assert after[trainer]["state"] == "retired"
    assert len(after) == 3
    registry = place.open()
    assert registry.load(place.second).signed_by == "trainer"  # taken in before
    for state in (State.LOADED, State.SANE, State.SHADOW):
        registry.advance(place.second, state)
    assert run("verify")["damaged"] == 0


def test_show_tells_the_road_with_its_evidence(place, run):
    place.registry.advance(place.second, State.LOADED)
    place.registry.note(place.second, "shadow ends", {"passed": False, "divergence": "0.9 steps"})
    place.registry.reject(place.second, "shadow: divergence")
    road = run("show", place.second)["history"]
    assert [what for _, what, _ in road] == [
        "FETCHED",
        "VERIFIED",
        "LOADED",
        "shadow ends",
        "REJECTED",
    ]
    assert road[-2][2] == "divergence: 0.9 steps; passed: False"
    assert road[-1][2] == "shadow: divergence"


def test_only_an_operators_key_skips_the_probation_and_it_is_asked_for_first(capsys):
    assert cli.main(["weights", "promote", "v2", "--skip-probation"]) == 2
    assert "only an operator may skip the probation" in capsys.readouterr().err


def test_the_clock_is_believed_again_when_a_person_says_so(place, run, monkeypatch):
    with monkeypatch.context() as ahead:
        ahead.setattr(journal, "wall_stamp", lambda: "20990101T000000")
        place.registry.note(place.second, "episode", {})
    found = run("trust-clock", "--reason", "the battery was changed")
    assert found["before"] == "20990101T000000"
    assert found["after"] < found["before"]
