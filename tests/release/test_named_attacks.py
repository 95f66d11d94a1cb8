"""The named attacks on software updates, each on a registry that robots already run from.

Names after the threats that The Update Framework lists (TUF specification 1.0.33, section 1.5.2).
Afterwards the good release still runs, nothing of the attack is left and the next honest release
is taken.
"""

import dataclasses
import io
import itertools
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from robot_agent.core.errors import BundleRejectedError, SwapRefusedError
from robot_agent.release import journal, lineage
from robot_agent.release.manifest import FileRecord, Manifest
from robot_agent.release.registry import Registry
from robot_agent.release.registry_config import RegistryConfig
from robot_agent.release.rotation import changed_keyring, make_change
from robot_agent.release.signing import TrustedKey
from robot_agent.release.states import State
from robot_agent.release.transfer import export_release, import_release
from tests.release.bundles import KEYRING, OPERATOR, STRANGER, TRAINER, make_bundle, resign

CONFIG = RegistryConfig(min_free_gb=0.0)
FILES = (
    "manifest.json", "manifest.sig", "policy.safetensors", "golden.safetensors",
    "normalization.json", "report.json",
)  # fmt: skip


class Robot:
    """A registry with the factory's release and a good one after it."""

    def __init__(self, folder: Path, mirror: Path) -> None:
        self.folder, self.mirror = folder, mirror
        self.registry = Registry(folder, KEYRING, CONFIG)
        self.first = make_bundle(mirror / "b1", 1, key=OPERATOR)
        self.registry.install_factory(mirror / "b1")
        self.second = self.make(2, self.first)
        label = self.registry.publish(mirror / "b2")
        for state in (State.LOADED, State.SANE, State.SHADOW):
            self.registry.advance(label, state)
        self.registry.activate(label)
        self.registry.advance(label, State.GOOD)

    def make(self, version: int, parent: Manifest, **changes) -> Manifest:
        return make_bundle(self.mirror / f"b{version}", version, parent.hash, **changes)

    def require_unharmed(self) -> None:
        registry = Registry(self.folder, KEYRING, CONFIG)
        assert registry.boot() == self.second.label
        registry.load(self.second.label)
        left = {path.name for path in (self.folder / "bundles").iterdir()}
        known = {self.first.label, self.second.label}
        assert {name for name in left if registry.releases().states.get(name)} == left
        usable = [i.label for i in registry.list() if i.state is not State.REJECTED]
        assert set(usable) == known
        honest = make_bundle(self.mirror / "honest", 90, self.second.hash)
        assert registry.publish(self.mirror / "honest") == honest.label


@pytest.fixture
def robot(releases_path: Path, tmp_path: Path) -> Iterator[Robot]:
    robot = Robot(releases_path, tmp_path / "mirror")
    yield robot
    robot.require_unharmed()


def stamp(days: float) -> str:
    """Return the time `days` from now, as a manifest spells it."""
    return (datetime.now(UTC) + timedelta(days=days)).strftime("%Y%m%dT%H%M%S")


@contextmanager
def refused(*checks: str) -> Iterator[None]:
    with pytest.raises(BundleRejectedError) as refusal:
        yield
    assert refusal.value.check in checks, refusal.value


def test_rollback_attack_an_older_release_is_not_installed(robot):
    robot.make(7, robot.second)
    robot.registry.publish(robot.mirror / "b7")
    robot.registry.reject(robot.registry.list()[-1].label, "worse")
    for version in (3, 6):  # also signed today, with the right parent
        robot.make(version, robot.second)
        with refused("version"):
            robot.registry.publish(robot.mirror / f"b{version}")


def test_replay_attack_a_rejected_release_stays_rejected(robot):
    label = robot.make(3, robot.second).label
    robot.registry.publish(robot.mirror / "b3")
    robot.registry.reject(label, "worse")
    robot.registry.collect_garbage()
    assert robot.registry.publish(robot.mirror / "b3") == label  # again, byte for byte
    assert robot.registry.releases().states[label] is State.REJECTED
    with pytest.raises(SwapRefusedError, match="REJECTED"):
        robot.registry.advance(label, State.LOADED)
    with pytest.raises(SwapRefusedError, match="REJECTED"):
        robot.registry.activate(label)


def test_replay_attack_the_release_in_use_sent_again_changes_nothing(robot):
    before = robot.registry.releases()
    robot.registry.publish(robot.mirror / "b2")
    assert robot.registry.releases() == before


def test_freeze_attack_the_same_news_again_do_not_look_new(robot):
    """The notice itself is tested with `weights list`: tests/commands/test_weights.py."""
    journal = robot.folder / "journal.jsonl"
    before = journal.read_bytes()
    for name in ("b1", "b2"):
        robot.registry.publish(robot.mirror / name)
    assert journal.read_bytes() == before  # so the age of the newest release goes on growing


def test_freeze_attack_what_was_held_back_is_not_taken_in_later(robot):
    manifest = robot.make(3, robot.second)
    old = dataclasses.replace(manifest, created=stamp(days=-31))
    resign(robot.mirror / "b3", old)
    with refused("manifest.json created, age"):
        robot.registry.publish(robot.mirror / "b3")
    resign(robot.mirror / "b3", dataclasses.replace(manifest, created=stamp(days=-29)))
    label = robot.registry.publish(robot.mirror / "b3")  # just inside the bound
    robot.registry.reject(label, "not needed")


def test_freeze_attack_a_clock_that_was_set_back_does_not_help(robot, monkeypatch):
    old = dataclasses.replace(robot.make(3, robot.second), created=stamp(days=-31))
    resign(robot.mirror / "b3", old)
    monkeypatch.setattr(lineage, "wall_stamp", lambda: stamp(days=-30))
    with refused("manifest.json created, age"):
        robot.registry.publish(robot.mirror / "b3")


def test_freeze_attack_a_signer_ahead_of_time_does_not_stay_fresh_for_longer(robot):
    ahead = dataclasses.replace(robot.make(3, robot.second), created=stamp(days=2))
    resign(robot.mirror / "b3", ahead)
    with refused("manifest.json created"):
        robot.registry.publish(robot.mirror / "b3")


def test_freeze_attack_an_expired_candidate_is_not_promoted(robot, monkeypatch):
    label = robot.make(3, robot.second).label
    robot.registry.publish(robot.mirror / "b3")
    for state in (State.LOADED, State.SANE, State.SHADOW):
        robot.registry.advance(label, state)
    with monkeypatch.context() as later:
        later.setattr(lineage, "wall_stamp", lambda: stamp(days=31))
        with pytest.raises(SwapRefusedError, match=r"signed 31\.0 days ago, must be at most 30"):
            robot.registry.activate(label)
        # What is GOOD by then never expires: it boots, acts, and is a way back.
        assert robot.registry.boot() == robot.second.label
        assert robot.registry.roll_back("shakes") == robot.first.label
        robot.registry.activate(robot.second.label)
    robot.registry.reject(label, "expired")


def test_a_clock_that_ran_ahead_is_believed_again_only_when_a_person_says_so(robot, monkeypatch):
    with monkeypatch.context() as later:
        later.setattr(journal, "wall_stamp", lambda: stamp(days=400))
        robot.registry.note(robot.second.label, "episode", {})
    robot.make(3, robot.second)
    with refused("manifest.json created, age"):
        robot.registry.publish(robot.mirror / "b3")
    robot.registry.trust_clock("the battery was changed")
    label = robot.registry.publish(robot.mirror / "b3")
    robot.registry.reject(label, "not needed")


def test_mix_and_match_attack_no_cross_of_two_releases_is_installed(robot):
    robot.make(3, robot.second)
    robot.make(4, robot.second)
    crosses = itertools.product((3, 4), repeat=len(FILES))
    for number, versions in enumerate(c for c in crosses if len(set(c)) == 2):
        cross = robot.mirror / f"cross-{number}"
        cross.mkdir()
        for name, version in zip(FILES, versions, strict=True):
            shutil.copy(robot.mirror / f"b{version}" / name, cross / name)
        if is_same(cross, robot.mirror):
            continue
        with pytest.raises(BundleRejectedError):
            robot.registry.publish(cross)


def is_same(cross: Path, mirror: Path) -> bool:
    """Return whether only files that are equal in both releases were exchanged."""
    whole = [{n: (mirror / b / n).read_bytes() for n in FILES} for b in ("b3", "b4")]
    return {name: (cross / name).read_bytes() for name in FILES} in whole


@pytest.mark.parametrize("name", FILES)
def test_endless_data_attack_reading_ends_at_the_signed_size(robot, name: str):
    robot.make(3, robot.second)
    with (robot.mirror / "b3" / name).open("r+b") as file:
        file.truncate(1 << 42)  # sparse: 4 TB that nobody could read or store
    with refused(f"{name} size"):
        robot.registry.publish(robot.mirror / "b3")


def test_endless_data_attack_a_pipe_is_not_waited_for(robot):
    robot.make(3, robot.second)
    (robot.mirror / "b3/report.json").unlink()
    os.mkfifo(robot.mirror / "b3/report.json")
    with refused("report.json"):
        robot.registry.publish(robot.mirror / "b3")


def test_wrong_key_attack_a_stranger_is_nobody(robot):
    robot.make(3, robot.second, key=STRANGER)
    with refused("signature key"):
        robot.registry.publish(robot.mirror / "b3")


def test_wrong_key_attack_a_trainer_is_no_operator(robot):
    robot.make(3, robot.second)
    with refused("signer"):
        robot.registry.install_factory(robot.mirror / "b3")


def test_rotated_key_attack_a_retired_key_signs_nothing_new(robot):
    newcomer = TrustedKey(STRANGER.public_raw, "trainer")
    change = make_change(KEYRING, OPERATOR, add=[newcomer], retire=[TRAINER.key_id])
    registry = Registry(robot.folder, changed_keyring(KEYRING, *change), CONFIG)
    robot.make(3, robot.second, key=TRAINER)
    with refused("signature key"):
        registry.publish(robot.mirror / "b3")
    assert registry.boot() == robot.second.label  # what it had signed before still runs


@pytest.mark.parametrize("name", ["../../journal.jsonl", "/etc/passwd", "sub/policy.safetensors"])
def test_path_traversal_attack_by_a_signed_manifest(robot, name: str):
    manifest = robot.make(3, robot.second)
    files = {**manifest.files, name: FileRecord("0" * 64, 1)}
    resign(robot.mirror / "b3", dataclasses.replace(manifest, files=files))
    with refused("manifest.json files"):
        robot.registry.publish(robot.mirror / "b3")


Edit = Callable[[tarfile.TarInfo], None]


def renamed(name: str) -> Edit:
    return lambda entry: setattr(entry, "name", name)


def linked(kind: bytes) -> Edit:
    def edit(entry: tarfile.TarInfo) -> None:
        entry.type, entry.linkname, entry.size = kind, "/etc/passwd", 0

    return edit


@pytest.mark.parametrize(
    "edit",
    [
        renamed("../../journal.jsonl"),
        renamed("/etc/cron.d/robot"),
        renamed("sub/report.json"),
        linked(tarfile.SYMTYPE),
        linked(tarfile.LNKTYPE),
        lambda entry: setattr(entry, "size", 1 << 33),
    ],
    ids=["traversal", "absolute", "folder", "symlink", "hardlink", "endless"],
)
def test_an_archive_cannot_reach_out_of_its_place(robot, edit: Edit):
    export_release(robot.registry, robot.second.label, robot.mirror / "honest.tar")
    with (
        tarfile.open(robot.mirror / "honest.tar") as honest,
        tarfile.open(robot.mirror / "forged.tar", "w") as forged,
    ):
        for entry in honest.getmembers():
            content = honest.extractfile(entry).read()
            if entry.name == "report.json":
                edit(entry)
            forged.addfile(entry, io.BytesIO(content) if entry.size == len(content) else None)
    with pytest.raises(BundleRejectedError):
        import_release(robot.registry, robot.mirror / "forged.tar", KEYRING)


@pytest.mark.parametrize("name", FILES)
def test_symlink_attack_a_link_is_not_followed(robot, name: str):
    robot.make(3, robot.second)
    (robot.mirror / "b3" / name).rename(robot.mirror / name)
    (robot.mirror / "b3" / name).symlink_to(robot.mirror / name)  # to the right bytes, even
    with refused(name):
        robot.registry.publish(robot.mirror / "b3")


def test_symlink_attack_a_linked_folder_is_no_release(robot):
    robot.make(3, robot.second)
    (robot.mirror / "link").symlink_to(robot.mirror / "b3")
    with refused("folder"):
        robot.registry.publish(robot.mirror / "link")
