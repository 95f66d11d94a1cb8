"""A life of the registry to lose power in, and what must hold afterwards.

`python -m tests.release.power_loss_registry FOLDER ACKS [naive]` lives it once.
"""

from __future__ import annotations

import os
import sys
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

from robot_agent.core.errors import RobotAgentError
from robot_agent.release import depot
from robot_agent.release.bundle_reader import read_bundle, read_manifest
from robot_agent.release.registry import Registry
from robot_agent.release.registry_config import RegistryConfig
from robot_agent.release.states import Releases, State
from robot_agent.release.transfer import export_release
from tests.release.bundles import KEYRING, OPERATOR, make_bundle

CONFIG = RegistryConfig(min_free_gb=0.0, max_unhealthy_boots=100)


class NaiveRegistry(Registry):
    """Says first and does then, under the final name: what a sweep must catch."""

    def publish(self, source: Path) -> str:
        """Record, copy, verify."""
        manifest, _ = read_manifest(source, KEYRING)
        with self._locked():
            self._record_state(manifest.label, State.FETCHED, manifest)
            publish_in_place(source, self.path(manifest.label))
        self.verify(manifest.label)
        return manifest.label


def live(
    folder: Path, acknowledge: Callable[[str], None], kind: type[Registry] = Registry
) -> None:
    """Publish four releases: the factory's, one that becomes good, two that are rolled back."""
    parent = make_bundle(folder / "out/b1", 1, key=OPERATOR).hash
    acknowledge("exported b1")
    registry = kind(folder / "registry", KEYRING, CONFIG)
    factory = registry.install_factory(folder / "out/b1")
    acknowledge(f"good {factory}")
    registry.boot()
    registry.healthy()
    for version in (2, 3, 4):
        parent = make_bundle(folder / f"out/b{version}", version, parent).hash
        acknowledge(f"exported b{version}")
        label = registry.publish(folder / f"out/b{version}")
        acknowledge(f"published {label}")
        for state in (State.LOADED, State.SANE, State.SHADOW):
            registry.advance(label, state)
        registry.activate(label)
        if version == 2:
            registry.advance(label, State.GOOD)
            acknowledge(f"good {label}")
            export_release(registry, label, folder / "out/export.tar")
            acknowledge("exported export.tar")
            good = parent
        else:
            registry.roll_back("worse")
            acknowledge(f"rejected {label}")
            registry.collect_garbage()
            parent = good


def publish_in_place(staging: Path, final: Path) -> None:
    """What a publisher does that nobody asked about crashes: it writes under the final name."""
    final.mkdir()
    for path in sorted(staging.iterdir()):
        (final / path.name).write_bytes(path.read_bytes())


def problems(folder: Path, acks: Sequence[str], export: bytes = b"") -> list[str]:
    """Return what the crash broke, after everything that a restart does."""
    try:
        return [*_broken_exports(folder / "out", acks, export), *_broken_registry(folder, acks)]
    except (RobotAgentError, OSError) as error:
        return [f"{type(error).__name__}: {error}"]


def _broken_exports(out: Path, acks: Sequence[str], export: bytes) -> list[str]:
    visible = {path.name for path in out.glob("[!.]*")} if out.is_dir() else set()
    lost = {ack.split()[1] for ack in acks if ack.startswith("exported")} - visible
    found = [f"lost the export {name}" for name in sorted(lost)]
    for name in sorted(visible):
        if name.endswith(".tar"):
            found += [] if _is_whole(out / name, export) else [f"{name} is not whole"]
        else:
            read_bundle(out / name, KEYRING)
    return found


def _is_whole(path: Path, export: bytes) -> bool:
    """Return whether an export is the one known, or holds all files where none is known."""
    if export:
        return path.read_bytes() == export
    with tarfile.open(path, "r:") as archive:
        return len(archive.getmembers()) == 6


def _broken_registry(folder: Path, acks: Sequence[str]) -> list[str]:
    registry = Registry(folder / "registry", KEYRING, CONFIG)
    releases = registry.releases()
    found = _lost(releases, acks)
    removed = {name for name, state in releases.states.items() if state is State.REJECTED}
    for label in releases.states.keys() - removed:
        registry.load(label)
    good = [name for name, state in releases.states.items() if state is State.GOOD]
    booted = registry.boot()
    if booted != (good[-1] if good else ""):
        found.append(f"came back on {booted or 'nothing'}, last good {good[-1:]}")
    if booted:
        registry.load(booted)
        registry.healthy()
    registry.collect_garbage()
    hidden = [p.name for p in (folder / "registry/bundles").glob(".*")]
    found += [f"left {name}" for name in hidden]
    return found + _stuck(folder, registry, releases)


def _lost(releases: Releases, acks: Sequence[str]) -> list[str]:
    wanted = {"good": {State.GOOD}, "rejected": {State.REJECTED}, "published": set(State)}
    found = []
    for kind, label in (ack.split() for ack in acks):
        if kind in wanted and releases.states.get(label) not in wanted[kind]:
            found.append(f"lost {label}: {kind}, now {releases.states.get(label)}")
    return found


def _stuck(folder: Path, registry: Registry, before: Releases) -> list[str]:
    """Do again what was cut off."""
    again = {0: ("b1", registry.install_factory), 1: ("b2", registry.publish)}
    name, publish = again.get(len(before.states), ("", registry.publish))
    source = folder / "out" / name
    if not name or not source.is_dir():
        return []
    label = publish(source)
    registry.load(label)
    return [] if registry.releases().states[label] in (State.GOOD, State.VERIFIED) else [label]


def main(root: Path, acks: Path, *kinds: str) -> None:
    """Live once, reporting what is done to the file `acks`."""
    if "naive" in kinds:
        depot.publish_folder = publish_in_place
    descriptor = os.open(acks, os.O_WRONLY | os.O_CREAT, 0o600)
    live(root, lambda text: os.write(descriptor, f"{text}\n".encode()) and None)
    os.close(descriptor)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
