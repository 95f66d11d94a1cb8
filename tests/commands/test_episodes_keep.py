"""What stays in a store, from the command line: pins, and what releases learned from."""

import json
from pathlib import Path

import pytest

from robot_agent.cli import main
from robot_agent.release.registry import Registry
from robot_agent.release.signing import save_keyring
from robot_agent.store.episode_store import EpisodeStore
from tests.release.bundles import KEYRING, make_bundle
from tests.store.episodes import LOSSLESS, make_episode


@pytest.fixture
def store(episodes_path: Path) -> EpisodeStore:
    made = EpisodeStore(episodes_path, LOSSLESS)
    for number in range(4):
        made.append(make_episode(f"e{number}", seed=number))
    return made


def said(capsys: pytest.CaptureFixture[str], *words: str) -> dict:
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)["results"]


def test_pinned_episodes_and_those_that_a_release_learned_from_stay(
    store: EpisodeStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    releases = tmp_path / "releases"
    registry = Registry(releases, KEYRING)
    save_keyring(releases / "keyring.json", KEYRING)
    make_bundle(tmp_path / "bundle", provenance={"episodes": ["e2", "gone"]})
    label = registry.publish(tmp_path / "bundle")
    place = ("--store", str(store.folder))
    pins = said(capsys, "episodes", "pin", "e1", "--why", "first success", *place)
    assert pins["pins"] == {"e1": "first success"}
    listed = said(capsys, "episodes", "list", *place)["episodes"]
    assert [entry["pinned"] for entry in listed] == ["", "first success", "", ""]
    words = ("episodes", "prune", "--budget-gb", "0", "--releases", str(releases), *place)
    would = said(capsys, *words, "--dry-run")
    assert would["removed"] == ["e0", "e3"]
    assert would["kept"] == {"e1": "pinned: first success", "e2": f"{label} learned from it"}
    assert len(store.list()) == 4
    assert said(capsys, *words)["removed"] == ["e0", "e3"]
    assert list(store.list()) == ["e1", "e2"]
    assert said(capsys, "episodes", "unpin", "e1", *place)["pins"] == {}


def test_a_registry_that_is_no_registry_is_refused_before_anything_goes(
    store: EpisodeStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words = ["episodes", "prune", "--budget-gb", "0", "--store", str(store.folder)]
    assert main([*words, "--releases", str(tmp_path)]) == 2
    assert "keyring" in capsys.readouterr().err
    assert main([*words, "--releases", str(tmp_path / "none")]) == 2
    assert "--no-releases" in capsys.readouterr().err
    assert len(store.list()) == 4
    assert main([*words, "--no-releases"]) == 0
    assert not store.list()
