"""Killed or refused at any system call on a file, the registry loses nothing committed."""

import json
import os
import subprocess
import sys

import pytest

from tests.store.system_call_sweep import ERRORS, KILL
from tests.store.system_calls import ROOT, require_strace

_ALL_S = 7200.0


def sweep(kind: str, share: int, *faults: str) -> dict:
    require_strace()
    done = subprocess.run(
        [sys.executable, "-m", "tests.release.sweep_registry", kind, str(share), *faults],
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
@pytest.mark.timeout(7200)
def test_killed_at_a_system_call(exhaustive: bool):
    require_sound(sweep("registry", 1 if exhaustive else 60, KILL))


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_refused_at_a_system_call(exhaustive: bool):
    require_sound(sweep("registry", 1 if exhaustive else 400, *ERRORS))


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_naive_one_fails_the_same_test():
    assert sweep("naive", 60, KILL)["bad"], "a sweep that cannot fail proves nothing"
