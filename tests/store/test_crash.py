"""A crash or a refusing disk loses the open episode at most."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from robot_agent.store.episode_store import EpisodeStore
from robot_agent.store.recovery import recover
from tests.store.episodes import LOSSLESS, assert_same, make_episode

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}


def sweep(*arguments: str) -> dict[str, dict]:
    command = [sys.executable, "-m", "tests.store.crash_episodes", *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=ENVIRONMENT, check=True, capture_output=True, timeout=280
    )
    return json.loads(done.stdout)


def require_sound(swept: dict[str, dict]) -> None:
    for kind in ("kill", "enospc", "eio"):
        assert swept[kind]["tried"] > 3
        assert swept[kind]["bad"] == [], kind
    assert swept["naive"]["bad"], "the sweep must catch a writer that is not atomic"


def test_killed_or_refused_at_sampled_points_nothing_committed_is_lost():
    require_sound(sweep("kill:9", "enospc:13", "eio:17", "naive:5"))


@pytest.mark.slow
def test_killed_or_refused_at_every_point_nothing_committed_is_lost():
    require_sound(sweep("kill:1", "enospc:1", "eio:1", "naive:3"))


def run_writer(folder: Path, prefix: list[str], limit: str = "") -> subprocess.CompletedProcess:
    code = (
        f"{limit}\n"
        "from pathlib import Path\n"
        "from robot_agent.store.episode_store import EpisodeStore\n"
        "from tests.store.episodes import LOSSLESS, make_episode\n"
        f"store = EpisodeStore(Path({str(folder)!r}), LOSSLESS)\n"
        "for name in ('second', 'third'):\n"
        "    store.append(make_episode(name, 2, (4, 4)))\n"
    )
    command = [*prefix, sys.executable, "-c", code]
    return subprocess.run(
        command, cwd=ROOT, env=ENVIRONMENT, check=False, capture_output=True, text=True, timeout=60
    )


def strace(folder: Path, rule: str) -> list[str]:
    """Return a prefix that lets the kernel kill or refuse a call on the store's own paths."""
    if shutil.which("strace") is None:
        pytest.fail("strace is missing; install it: apt-get install strace")
    staging = folder / ".tmp-second"
    paths = [folder, staging, staging / "episode.mcap", staging / "episode.json"]
    watched = [part for path in paths for part in ("-P", str(path))]
    return ["strace", "-f", "-qq", "-o", "/dev/null", *watched, "-e", f"inject={rule}"]


def check_after(folder: Path) -> None:
    store = EpisodeStore(folder, LOSSLESS)
    assert "first" in store.list()
    recover(store)
    for name in store.list():
        episode = store.load(name)
        if not name.endswith("-salvaged"):
            assert_same(episode, make_episode(name, 2, (4, 4)))


RULES = ("write:signal=SIGKILL:when=3", "fsync:error=EIO:when=1", "write:error=ENOSPC:when=4")
ALL_RULES = [
    f"{call}:{effect}:when={n}"
    for call, count in (("write", 19), ("fsync", 4), ("rename", 1), ("openat", 4))
    for effect in ("signal=SIGKILL", "error=ENOSPC")
    for n in range(1, count + 1)
]


def inject(folder: Path, rule: str) -> None:
    EpisodeStore(folder, LOSSLESS).append(make_episode("first", 2, (4, 4)))
    done = run_writer(folder, strace(folder, rule))
    if "error=" in rule:
        assert "StorageError" in done.stderr, done.stderr
    else:
        assert done.returncode != 0
    check_after(folder)


@pytest.mark.parametrize("rule", RULES)
def test_the_kernel_kills_or_refuses_and_committed_episodes_stay(episodes_path: Path, rule: str):
    inject(episodes_path, rule)


@pytest.mark.slow
@pytest.mark.parametrize("rule", ALL_RULES)
def test_the_kernel_kills_or_refuses_any_call(episodes_path: Path, rule: str):
    inject(episodes_path, rule)


def test_a_file_size_limit_of_the_process_is_a_storage_error(episodes_path: Path):
    EpisodeStore(episodes_path, LOSSLESS).append(make_episode("first", 2, (4, 4)))
    limit = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
    )
    done = run_writer(episodes_path, [], limit)
    assert "StorageError" in done.stderr
    assert "ulimit -f" in done.stderr
    assert not list(episodes_path.glob(".tmp*"))
    check_after(episodes_path)
