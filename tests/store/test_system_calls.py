"""Killed or refused at any system call on a file, nothing committed is lost.

The same sweep for the episode store and for the registry of releases.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass

import pytest

from tests.store.system_call_sweep import ERRORS, KILL
from tests.store.system_calls import ROOT, require_strace

_ALL_S = 7200


@dataclass(frozen=True)
class Swept:
    """One program, and every how many of its calls is tried unless all are."""

    program: str
    kind: str
    kill_every: int
    refuse_every: int


STORES = (
    Swept("tests.store.sweep_episodes", "store", 6, 40),
    Swept("tests.release.sweep_registry", "registry", 60, 400),
)


def sweep(swept: Swept, kind: str, share: int, *faults: str) -> dict:
    require_strace()
    done = subprocess.run(
        [sys.executable, "-m", swept.program, kind, str(share), *faults],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        timeout=_ALL_S,
    )
    return json.loads(done.stdout)


def require_sound(found: dict) -> None:
    assert found["tried"] > 20
    assert found["not_killed"] == 0
    assert found["bad"] == []


@pytest.mark.slow
@pytest.mark.timeout(_ALL_S)
@pytest.mark.parametrize("swept", STORES, ids=lambda swept: swept.kind)
def test_killed_at_a_system_call(swept: Swept, exhaustive: bool):
    require_sound(sweep(swept, swept.kind, 1 if exhaustive else swept.kill_every, KILL))


@pytest.mark.slow
@pytest.mark.timeout(_ALL_S)
@pytest.mark.parametrize("swept", STORES, ids=lambda swept: swept.kind)
def test_refused_at_a_system_call(swept: Swept, exhaustive: bool):
    require_sound(sweep(swept, swept.kind, 1 if exhaustive else swept.refuse_every, *ERRORS))


@pytest.mark.slow
@pytest.mark.timeout(_ALL_S)
@pytest.mark.parametrize("swept", STORES, ids=lambda swept: swept.kind)
def test_a_naive_one_fails_the_same_test(swept: Swept):
    share = 12 if swept.kind == "store" else 60
    assert sweep(swept, "naive", share, KILL)["bad"], "a sweep that cannot fail proves nothing"
