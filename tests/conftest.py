"""What every test can rely on: one thread, no display, no network, its own ROS domain, a seed."""

import fcntl
import os
import random
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import IO

# Set before anything imports mujoco, torch, transformers or rclpy: all of them read it only once.
os.environ.setdefault("MUJOCO_GL", "egl")
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import pytest

_DOMAINS = range(1, 102)  # those whose ports are free on every platform; 0 is everybody's default

_calls = count()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--record-golden",
        action="store_true",
        help="write the reference numbers of tests/golden instead of comparing with them",
    )
    parser.addoption(
        "--exhaustive",
        action="store_true",
        help="random searches in full, for a quarter of an hour, instead of a share of them",
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Try what runs in real time up to three times: the machine may have other things to do.

    Every repetition is an R in the output and a line at its end, never silent; none with
    `-p no:rerunfailures`.
    """
    if not config.pluginmanager.hasplugin("rerunfailures"):
        return
    for item in items:
        if item.get_closest_marker("ros"):
            item.add_marker(pytest.mark.flaky(reruns=2))


@pytest.fixture
def record_golden(request: pytest.FixtureRequest) -> bool:
    """Whether this run writes reference numbers: `make golden`."""
    return bool(request.config.getoption("--record-golden"))


@pytest.fixture
def exhaustive(request: pytest.FixtureRequest) -> bool:
    """Whether random searches run in full."""
    return bool(request.config.getoption("--exhaustive"))


@pytest.fixture
def seed() -> int:
    """The one seed of a test; `rng` and Python's own generator follow from it."""
    return 20261122


@pytest.fixture
def rng(seed: int) -> np.random.Generator:
    random.seed(seed)
    return np.random.default_rng(seed)


def _lock_domain() -> tuple[int, IO[str]]:
    """Return a ROS domain that no other test session on this machine uses, and its lock."""
    folder = Path(tempfile.gettempdir()) / f"robot_agent_domains_{os.getuid()}"
    folder.mkdir(exist_ok=True)
    start = os.getpid() + next(_calls)  # not the domain just left: its last packets may linger
    for offset in range(len(_DOMAINS)):
        domain = _DOMAINS[(start + offset) % len(_DOMAINS)]
        lock = (folder / str(domain)).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        return domain, lock
    raise RuntimeError(f"all {len(_DOMAINS)} ROS domains are in use; end the other test sessions")


@pytest.fixture(autouse=True, scope="module")
def ros_domain_id() -> Iterator[int]:
    """A ROS domain of this test module alone, in the environment of the nodes it starts."""
    domain, lock = _lock_domain()
    with lock, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROS_DOMAIN_ID", str(domain))
        yield domain


@pytest.fixture
def episodes_path(tmp_path: Path) -> Path:
    """An empty folder for an episode store."""
    path = tmp_path / "episodes"
    path.mkdir()
    return path


@pytest.fixture
def releases_path(tmp_path: Path) -> Path:
    """An empty folder for a release registry."""
    path = tmp_path / "releases"
    path.mkdir()
    return path


@pytest.fixture
def memory() -> Iterator[Path]:
    """An empty folder in memory where the machine has one, for thousands of small disks."""
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        yield Path(folder)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say aloud what this machine could not prove."""
    skipped = terminalreporter.stats.get("skipped", [])
    for reason in sorted({report.longrepr[2] for report in skipped}):
        if "NOT PROVEN HERE" in reason:
            terminalreporter.write_line(reason.removeprefix("Skipped: "), red=True)
