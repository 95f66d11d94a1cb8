"""Killed anywhere between FETCHED and GOOD, the registry comes back on the last GOOD."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def sweep(*arguments: str) -> dict[str, dict]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.release.crash_registry", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        timeout=280,
    )
    return json.loads(done.stdout)


def require_sound(swept: dict[str, dict]) -> None:
    for kind, result in swept.items():
        assert result["tried"] > 3
        assert result["bad"] == [], kind


def test_killed_or_refused_at_sampled_points_the_last_good_release_runs():
    require_sound(sweep("kill:23", "enospc:31"))


@pytest.mark.slow
def test_killed_or_refused_at_many_points_the_last_good_release_runs():
    require_sound(sweep("kill:2", "enospc:5", "eio:7"))
