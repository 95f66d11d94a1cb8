"""Releases climb one road; every refusal leaves the registry as it was."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from robot_agent.core.errors import (
    BundleRejectedError,
    ConfigError,
    InputError,
    StorageError,
    SwapRefusedError,
)
from robot_agent.release.registry import Registry
from robot_agent.release.registry_config import CONFIG_FILE, RegistryConfig
from robot_agent.release.states import ROAD, State, replay
from tests.release.bundles import KEYRING, OPERATOR, make_bundle, resign

CONFIG = RegistryConfig(min_free_gb=0.0, keep=0)
TO_SHADOW = (State.LOADED, State.SANE, State.SHADOW)


@pytest.fixture
def registry(releases_path: Path) -> Registry:
    return Registry(releases_path, KEYRING, CONFIG)


def add(registry: Registry, tmp_path: Path, version: int, parent: str | None = None) -> str:
    """Publish a child of the current release."""
    if parent is None:
        releases = registry.releases()
        parent = releases.hashes.get(releases.current, "")
    make_bundle(tmp_path / f"b{version}", version, parent)
    return registry.publish(tmp_path / f"b{version}")


def factory(registry: Registry, tmp_path: Path) -> str:
    make_bundle(tmp_path / "b1", 1, key=OPERATOR)
    return registry.install_factory(tmp_path / "b1")


def make_good(registry: Registry, label: str) -> None:
    to_probation(registry, label)
    registry.advance(label, State.GOOD)


def to_probation(registry: Registry, label: str) -> None:
    for state in TO_SHADOW:
        registry.advance(label, state)
    registry.activate(label)


def test_a_release_climbs_to_good_and_the_old_one_is_kept(registry, tmp_path):
    first = factory(registry, tmp_path)
    second = add(registry, tmp_path, 2)
    assert registry.current() == first
    make_good(registry, second)
    releases = registry.releases()
    assert releases.slots() == {"current": second, "previous": first, "factory": first}
    assert releases.min_version == 2
    assert registry.load(second).label == second
    assert [info.state for info in registry.list()] == [State.GOOD, State.GOOD]


def test_no_state_can_be_skipped(registry, tmp_path):
    factory(registry, tmp_path)
    label = add(registry, tmp_path, 2)
    for state in ROAD[1:]:
        if state not in (State.LOADED, State.PROBATION):
            with pytest.raises(SwapRefusedError, match="is VERIFIED, must be"):
                registry.advance(label, state)
    with pytest.raises(InputError, match="by activate"):
        registry.advance(label, State.PROBATION)
    with pytest.raises(SwapRefusedError, match="is VERIFIED, must be SHADOW or GOOD"):
        registry.activate(label)


def test_the_same_bundle_can_be_published_again(registry, tmp_path):
    factory(registry, tmp_path)
    label = add(registry, tmp_path, 2)
    assert registry.publish(tmp_path / "b2") == label
    assert len(registry.list()) == 2


def test_an_older_version_is_refused_and_recorded(registry, tmp_path):
    factory(registry, tmp_path)
    make_good(registry, add(registry, tmp_path, 5))
    with pytest.raises(BundleRejectedError, match="version is 4, must be above 5"):
        add(registry, tmp_path, 4)
    assert registry.list()[-1].state is State.REJECTED
    assert "above 5" in registry.list()[-1].reason


def test_a_child_of_another_release_is_refused(registry, tmp_path):
    factory(registry, tmp_path)
    stale = registry.releases().hashes[registry.current()]
    make_good(registry, add(registry, tmp_path, 2))
    with pytest.raises(BundleRejectedError, match="parent is"):
        add(registry, tmp_path, 3, stale)


def test_only_an_operator_may_begin_a_new_line(registry, tmp_path):
    make_bundle(tmp_path / "b1", 1)
    with pytest.raises(BundleRejectedError, match="signer is trainer, must be operator"):
        registry.install_factory(tmp_path / "b1")
    factory_label = factory(registry, tmp_path / "other")
    with pytest.raises(BundleRejectedError, match="parent is none"):
        add(registry, tmp_path, 2, "")
    make_bundle(tmp_path / "b3", 3, key=OPERATOR)
    registry.publish(tmp_path / "b3")
    assert registry.current() == factory_label


def test_probation_can_be_rolled_back_and_is_then_rejected(registry, tmp_path):
    first = factory(registry, tmp_path)
    second = add(registry, tmp_path, 2)
    to_probation(registry, second)
    assert registry.roll_back("three stops in a row") == first
    info = registry.list()[-1]
    assert (info.state, info.reason) == (State.REJECTED, "three stops in a row")
    with pytest.raises(SwapRefusedError, match="is REJECTED"):
        registry.activate(second)


def test_a_good_release_that_was_left_can_come_back(registry, tmp_path):
    first = factory(registry, tmp_path)
    second = add(registry, tmp_path, 2)
    make_good(registry, second)
    assert registry.roll_back("the operator prefers the old one") == first
    with pytest.raises(SwapRefusedError, match="no sound previous or factory"):
        registry.roll_back("again")
    registry.activate(second)
    assert registry.current() == second


def test_the_previous_slot_after_a_roll_back_names_a_release(registry, tmp_path):
    """Once the journal's own field `previous` overwrote it."""
    first = factory(registry, tmp_path)
    for version in (2, 3):
        make_good(registry, add(registry, tmp_path, version))
    second, third = (info.label for info in registry.list()[1:])
    assert registry.roll_back("worse") == second
    assert registry.releases().slots() == {"current": second, "previous": first, "factory": first}
    registry.activate(third)
    assert registry.releases().slots() == {"current": third, "previous": second, "factory": first}


def test_slots_of_older_journals_are_read_without_the_overwritten_one():
    record = {"kind": "slots", "current": "b", "previous": "ab" * 32, "factory": "a"}
    assert replay([record]).slots() == {"current": "b", "previous": "", "factory": "a"}


def test_a_bundle_that_is_not_the_one_in_the_journal_is_no_release(registry, tmp_path):
    """Signed by a trusted key, under the right name, and another: replayed on the disk itself."""
    first = factory(registry, tmp_path)
    second = add(registry, tmp_path, 2)
    shutil.rmtree(registry.path(second))
    shutil.copytree(registry.path(first), registry.path(second))
    with pytest.raises(BundleRejectedError, match=r"manifest\.json sha256 is"):
        registry.load(second)


def test_an_old_good_release_comes_back_only_by_roll_back(registry, tmp_path):
    factory(registry, tmp_path)
    second = add(registry, tmp_path, 2)
    make_good(registry, second)
    make_good(registry, add(registry, tmp_path, 3))
    with pytest.raises(SwapRefusedError, match="version 2, must be at least 3"):
        registry.activate(second)
    assert registry.roll_back("worse in the kitchen") == second


def test_two_releases_are_never_in_probation(registry, tmp_path):
    factory(registry, tmp_path)
    to_probation(registry, add(registry, tmp_path, 2))
    third = add(registry, tmp_path, 3)
    for state in TO_SHADOW:
        registry.advance(third, state)
    with pytest.raises(SwapRefusedError, match="is in PROBATION"):
        registry.activate(third)


def test_a_restart_during_probation_comes_back_on_the_last_good(registry, tmp_path):
    first = factory(registry, tmp_path)
    second = add(registry, tmp_path, 2)
    to_probation(registry, second)
    again = Registry(registry.folder, KEYRING, CONFIG)
    assert again.boot() == first
    assert again.list()[-1].state is State.REJECTED


def test_three_unhealthy_starts_lead_to_the_factory_release(registry, tmp_path):
    first = factory(registry, tmp_path)
    second = add(registry, tmp_path, 2)
    make_good(registry, second)
    registry.boot()
    registry.healthy()
    assert [registry.boot() for _ in range(4)] == [second, second, second, first]


@pytest.mark.parametrize("damaged", [1, 2, 3])
def test_damaged_bundles_are_passed_over_at_the_start(registry, tmp_path, damaged):
    labels = [factory(registry, tmp_path)]
    for version in (2, 3):
        labels.append(add(registry, tmp_path, version))
        make_good(registry, labels[-1])
    for label in labels[::-1][:damaged]:
        (registry.path(label) / "policy.safetensors").write_bytes(b"rot")
    wanted = [*labels[::-1], ""][damaged]
    assert registry.boot() == wanted
    assert registry.current() == wanted


def test_slots_and_candidates_are_never_deleted(registry, tmp_path):
    factory(registry, tmp_path)
    labels = []
    for version in (2, 3, 4):
        labels.append(add(registry, tmp_path, version))
        make_good(registry, labels[-1])
    candidate = add(registry, tmp_path, 5)
    rejected = add(registry, tmp_path, 6)
    registry.reject(rejected, "no gain")
    assert registry.collect_garbage() == [labels[0], rejected]
    for label in (candidate, *registry.releases().pinned):
        assert registry.path(label).exists()
    with pytest.raises(SwapRefusedError, match="is in a slot"):
        registry.reject(registry.current(), "x")


def test_space_for_two_copies_is_asked_for(releases_path, tmp_path):
    registry = Registry(releases_path, KEYRING, dataclasses.replace(CONFIG, min_free_gb=9e5))
    make_bundle(tmp_path / "b1", 1, key=OPERATOR)
    with pytest.raises(StorageError, match="GB free, must be at least"):
        registry.publish(tmp_path / "b1")
    assert registry.list() == []


def test_a_copy_damaged_before_verification_is_refused(registry, tmp_path):
    make_bundle(tmp_path / "b1", 1, key=OPERATOR)
    (tmp_path / "b1" / "report.json").write_bytes(b"{}")
    with pytest.raises(BundleRejectedError, match=r"^b1: report\.json size is 2, must be"):
        registry.publish(tmp_path / "b1")
    assert registry.list() == []
    assert list((registry.folder / "bundles").iterdir()) == []


def test_any_changed_byte_of_the_journal_is_noticed(registry, tmp_path):
    factory(registry, tmp_path)
    path = registry.folder / "journal.jsonl"
    whole = path.read_bytes()
    for index in range(0, len(whole) - 1, 3):  # without its last newline, the line does not count
        path.write_bytes(whole[:index] + bytes([whole[index] ^ 4]) + whole[index + 1 :])
        with pytest.raises(StorageError, match="is damaged"):
            registry.current()


def test_a_line_removed_from_the_journal_is_noticed(registry, tmp_path):
    factory(registry, tmp_path)
    path = registry.folder / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:1] + lines[2:]))
    with pytest.raises(StorageError, match="line 2 is damaged"):
        registry.current()


def test_half_a_line_at_the_end_is_cut_off_by_the_next_record(registry, tmp_path):
    first = factory(registry, tmp_path)
    path = registry.folder / "journal.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"kind":"state","la')
    assert registry.current() == first
    registry.boot()
    assert path.read_bytes().startswith(whole + b'{"at":')
    assert registry.current() == first


def test_a_registry_can_be_moved(registry, tmp_path):
    first = factory(registry, tmp_path)
    shutil.move(registry.folder, tmp_path / "elsewhere")
    assert Registry(tmp_path / "elsewhere", KEYRING, CONFIG).boot() == first


def test_a_factory_release_of_any_age_is_installed_because_a_person_asks(registry, tmp_path):
    manifest = make_bundle(tmp_path / "b1", 1, key=OPERATOR)
    resign(tmp_path / "b1", dataclasses.replace(manifest, created="20200101T000000"), OPERATOR)
    with pytest.raises(BundleRejectedError, match="expired"):
        registry.publish(tmp_path / "b1")
    label = registry.install_factory(tmp_path / "b1")
    assert registry.boot() == label


def test_a_time_that_is_none_is_refused_by_name(registry, tmp_path):
    manifest = make_bundle(tmp_path / "b1", 1, key=OPERATOR)
    resign(tmp_path / "b1", dataclasses.replace(manifest, created="yesterday"), OPERATOR)
    with pytest.raises(BundleRejectedError, match=r"manifest\.json created is yesterday, must be"):
        registry.publish(tmp_path / "b1")


def test_a_file_in_the_folder_says_how_every_process_keeps_the_registry(releases_path, tmp_path):
    (releases_path / CONFIG_FILE).write_text("min_free_gb: 1000000.0\n")
    make_bundle(tmp_path / "b1", 1, key=OPERATOR)
    with pytest.raises(StorageError, match="free"):
        Registry(releases_path, KEYRING).install_factory(tmp_path / "b1")


@pytest.mark.parametrize(
    ("written", "told"),
    [("max_age_day: 3\n", "Did you mean 'max_age_days'"), ("keep: -1\n", "keep=-1")],
)
def test_a_wrong_file_in_the_folder_is_refused_by_name(releases_path, written, told):
    (releases_path / CONFIG_FILE).write_text(written)
    with pytest.raises(ConfigError, match=told):
        Registry(releases_path, KEYRING)
