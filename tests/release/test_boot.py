"""Real processes that die while they start: three times, then the factory release; then words."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from robot_agent.release.registry import Registry
from robot_agent.release.registry_config import RegistryConfig
from robot_agent.release.signing import save_keyring
from robot_agent.release.states import State
from tests.release.bundles import KEYRING, OPERATOR, make_bundle

ROOT = Path(__file__).parents[2]


def boot(folder: Path, deadly: str = "") -> tuple[int, str]:
    """Return status and words of a process that starts."""
    command = [sys.executable, "-m", "tests.release.boot_once", str(folder), deadly]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
    )
    return done.returncode, done.stdout or done.stderr


@pytest.fixture
def place(tmp_path, releases_path) -> tuple[Path, str, str]:
    """A factory release and a GOOD child that is current."""
    save_keyring(releases_path / "keyring.json", KEYRING)
    registry = Registry(releases_path, KEYRING, RegistryConfig(min_free_gb=0.0))
    first = make_bundle(tmp_path / "b1", 1, key=OPERATOR)
    registry.install_factory(tmp_path / "b1")
    make_bundle(tmp_path / "b2", 2, first.hash)
    label = registry.publish(tmp_path / "b2")
    for state in (State.LOADED, State.SANE, State.SHADOW):
        registry.advance(label, state)
    registry.activate(label)
    registry.advance(label, State.GOOD)
    return releases_path, first.label, label


def damage(folder: Path, label: str) -> None:
    weights = folder / "bundles" / label / "policy.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)


def test_weights_that_kill_each_start_give_way_to_the_factory_release(place):
    folder, first, second = place
    assert boot(folder) == (0, second)
    deaths = [boot(folder, deadly=second)[0] for _ in range(3)]
    assert deaths == [-signal.SIGKILL] * 3
    assert boot(folder, deadly=second) == (0, first), "the fourth start in a row"
    assert boot(folder, deadly=second) == (0, first), "and it stays"


def test_a_start_that_goes_well_is_forgiven_the_ones_before(place):
    folder, _, second = place
    for _ in range(3):
        assert boot(folder, deadly=second)[0] == -signal.SIGKILL
        assert boot(folder) == (0, second)


def test_a_damaged_release_gives_way_and_with_none_left_it_says_so(place):
    folder, first, second = place
    damage(folder, second)
    assert boot(folder) == (0, first)
    damage(folder, first)
    status, words = boot(folder)
    assert status == 2
    assert "no sound release is left, must be one" in words
    assert "robot-agent weights import" in words
