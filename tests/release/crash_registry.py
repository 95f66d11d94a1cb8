"""The crash sweep of the registry; prints one JSON object. Run by test_registry_crash.py."""

from __future__ import annotations

import itertools
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from robot_agent.core.errors import RobotAgentError
from robot_agent.release.registry import Registry
from robot_agent.release.registry_config import RegistryConfig
from robot_agent.release.states import State
from tests.release.bundles import KEYRING, OPERATOR, make_bundle
from tests.store.crash_points import FAILING, NO_SPACE, count_points, run_to_point

CONFIG = RegistryConfig(min_free_gb=0.0, max_unhealthy_boots=100)
_FOLDERS = itertools.count()


def make_sources(root: Path) -> None:
    first = make_bundle(root / "b1", 1, key=OPERATOR)
    second = make_bundle(root / "b2", 2, first.hash)
    make_bundle(root / "b3", 3, second.hash)


def begin(root: Path, folder: Path) -> None:
    Registry(folder, KEYRING, CONFIG).install_factory(root / "b1")


def climb(root: Path, folder: Path) -> Callable[[Callable[[str], None]], None]:
    """Take version 2 to GOOD and version 3 into probation and back."""

    def action(acknowledge: Callable[[str], None]) -> None:
        registry = Registry(folder, KEYRING, CONFIG)
        registry.boot()
        for name in ("b2", "b3"):
            label = registry.publish(root / name)
            for state in (State.LOADED, State.SANE, State.SHADOW):
                registry.advance(label, state)
            registry.activate(label)
            if name == "b2":
                registry.advance(label, State.GOOD)
                acknowledge(label)
        registry.roll_back("worse")
        registry.collect_garbage()

    return action


def problems(scratch: Path, folder: Path, labels: list[str], acknowledged: list[str]) -> list[str]:
    """Return what a crash broke: not back on the last GOOD, or unable to go on."""
    try:
        registry = Registry(folder, KEYRING, CONFIG)
        releases = registry.releases()
        good = [label for label in labels if releases.states.get(label) is State.GOOD]
        booted = registry.boot()
        found = [] if booted == good[-1] else [f"came back on {booted}, last good {good[-1]}"]
        if labels[1] in acknowledged and booted != labels[1]:
            found.append(f"lost {labels[1]}, which had become good")
        registry.load(booted)
        registry.healthy()
        if booted == labels[0] and releases.states.get(labels[1]) in {None, State.FETCHED}:
            registry.load(registry.publish(scratch / "b2"))  # what was cut off can be done again
        registry.collect_garbage()
        hidden = [p.name for p in (folder / "bundles").iterdir() if p.name.startswith(".")]
        found += [f"left {name}" for name in hidden]
    except RobotAgentError as error:
        return [str(error)]
    return found


def sweep(kind: str, stride: int, scratch: Path) -> dict[str, object]:
    make_sources(scratch)
    error = {"enospc": NO_SPACE, "eio": FAILING}.get(kind)
    begin(scratch, scratch / "begun")
    for name in ("warm", "count"):  # imports and caches are done once
        shutil.copytree(scratch / "begun", scratch / name)
        points = count_points(climb(scratch, scratch / name))
    final = Registry(scratch / "count", KEYRING, CONFIG)
    labels = [info.label for info in final.list()]
    bad = []
    for point in range(1, points + 1, stride):
        folder = scratch / str(next(_FOLDERS))
        shutil.copytree(scratch / "begun", folder)
        outcome = run_to_point(climb(scratch, folder), point, error)
        bad += [
            f"point {point}: {p}" for p in problems(scratch, folder, labels, outcome.acknowledged)
        ]
        if error is None and not outcome.killed:
            bad.append(f"point {point}: was not killed")
        shutil.rmtree(folder)
    return {"points": points, "tried": len(range(1, points + 1, stride)), "bad": bad}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        swept = {}
        for argument in sys.argv[1:]:
            name, every = argument.split(":")
            swept[name] = sweep(name, int(every), Path(folder) / name)
        sys.stdout.write(json.dumps(swept))
