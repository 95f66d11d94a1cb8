"""`policy export|check` on real bundles: what a user sees, and what is refused."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest

from robot_agent import cli
from robot_agent.compose import ensure_releases, load_policy
from robot_agent.core.errors import InputError
from robot_agent.models.openvla_check import check_folder
from robot_agent.models.remote_policy import RemoteConfig, RemotePolicy
from robot_agent.release.registry import Registry
from robot_agent.release.signing import load_keyring
from tests.models.published_folders import write_oft
from tests.models.test_openvla import BRIDGE
from tests.models.test_openvla_policy import observation, write_published
from tests.models.tiny_openvla import TINY


@pytest.fixture(scope="module")
def releases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("agent") / "releases"
    ensure_releases(folder)
    return folder


def run(capsys, *words):
    code = cli.main([*map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)["results"]


def test_check_finds_the_shipped_policy_sound(releases, capsys):
    code, results = run(capsys, "policy", "check", "--releases", releases)
    assert code == 0
    assert results["passed"]
    assert results["differences"] == []
    assert results["golden_difference"] <= results["golden_limit"]
    assert len(results["golden_by_dimension"]) == 7
    assert results["needs"]["control_hz"] == 5.0
    assert len(results["axes"]) == 14
    assert all(axis["passed"] for axis in results["axes"])


def test_check_takes_the_folder_of_a_bundle(releases, capsys):
    label = Registry(releases, load_keyring(releases / "keyring.json")).current()
    folder = Registry(releases, load_keyring(releases / "keyring.json")).path(label)
    code, results = run(capsys, "policy", "check", folder, "--no-sim", "--releases", releases)
    assert (code, results["policy"]) == (0, label)
    assert "axes" not in results


@pytest.mark.slow
def test_published_export_is_a_release_with_the_same_weights_that_the_robot_may_run(
    releases, capsys
):
    code, results = run(
        capsys, "policy", "export", "--publish", "--precision", "int8", "--releases", releases
    )
    assert code == 0
    registry = Registry(releases, load_keyring(releases / "keyring.json"))
    base, child = registry.load(registry.current()), registry.load(results["release"])
    assert child.manifest.parent == base.manifest.hash
    assert child.policy_bytes == base.policy_bytes
    assert child.onnx is not None
    assert child.report["export"]["precision"] == "int8"
    assert len(child.report["export"]["limits"]["tolerance"]) == 7
    policy = load_policy(registry.path(results["release"]))
    assert policy.backend in {"torch", "onnx"}
    policy.reset("open the drawer", 0)
    seen = observation()
    assert np.isfinite(policy.act(seen).actions).all()
    code, checked = run(
        capsys, "policy", "check", results["release"], "--no-sim", "--releases", releases
    )
    assert code == 0
    assert set(checked["p50_ms"]) == {"torch", "onnx"}
    assert checked["backend"] == min(checked["p50_ms"], key=checked["p50_ms"].get)


def test_export_of_a_weights_file_cannot_be_published(releases, tmp_path, capsys):
    words = ["policy", "export", "--publish", "--weights", str(tmp_path / "w.safetensors")]
    assert cli.main([*words, "--releases", str(releases)]) != 0
    assert "takes a release" in capsys.readouterr().err


def test_bundle_that_does_not_fit_the_robot_is_refused_with_each_difference(releases, monkeypatch):
    from robot_agent.core import policy_needs

    offer = policy_needs.RobotOffer(cameras={"wrist": (48, 64)}, control_hz=3.0)
    monkeypatch.setattr(policy_needs, "RobotOffer", lambda: offer)
    registry = Registry(releases, load_keyring(releases / "keyring.json"))
    with pytest.raises(InputError, match=r"'color', the robot has wrist.*robot has 3\.0"):
        load_policy(registry.path(registry.current()))


@pytest.mark.parametrize("is_parallel", [True, False])
def test_published_folder_is_loaded_whole_and_asked_once(tmp_path, is_parallel):
    folder = write_published(tmp_path / "openvla")
    found = check_folder(folder, "bridge_orig", observation(), is_parallel=is_parallel, sizes=TINY)
    assert found.numbers["tensors"] == 130
    assert found.numbers["act_s"] > 0.0
    assert len(found.numbers["largest_action"]) == 7
    assert found.needs.chunk == (5 if is_parallel else 1)


def test_check_reads_a_published_folder_from_the_command_line(tmp_path, capsys):
    folder = write_oft(tmp_path / "oft", norm_stats={"bridge_orig": BRIDGE})
    code, results = run(capsys, "policy", "check", folder)
    assert code == 0
    assert results["needs"]["statistics"] == "bridge_orig"
    assert results["needs"]["chunk"] == 5
    assert len(results["axes"]) == 14
    assert all(axis["passed"] for axis in results["axes"])
    assert cli.main(["policy", "check", str(folder), "--unnorm-key", "fractal"]) != 0
    assert "must be one of: bridge_orig" in capsys.readouterr().err


def test_check_names_the_axis_whose_statistics_are_wrong(tmp_path, capsys):
    q01, q99 = list(BRIDGE["action"]["q01"]), list(BRIDGE["action"]["q99"])
    q01[1], q99[1] = 0.01, 0.03  # y goes one way only
    action = {**BRIDGE["action"], "q01": q01, "q99": q99}
    folder = write_oft(tmp_path / "oft", norm_stats={"bridge_orig": {"action": action}})
    code, results = run(capsys, "policy", "check", folder)
    assert code == 1
    failed = [axis for axis in results["axes"] if not axis["passed"]]
    assert "dy" in {axis["axis"] for axis in failed}


def test_check_reads_a_release_on_a_base_whole(tmp_path, capsys):
    where = ("--releases", tmp_path / "releases")
    folder = write_oft(tmp_path / "oft")
    code, made = run(capsys, "weights", "import", folder, "--from", "openvla-oft", *where)
    code, results = run(capsys, "policy", "check", "--no-sim", *where)
    assert (code, results["policy"]) == (0, made["label"])
    assert results["base"] == made["settings"]["base"]
    assert results["golden_difference"] <= results["golden_limit"]
    assert cli.main(["policy", "export", "--publish", *map(str, where)]) != 0
    assert "an export knows the tiny policy only" in " ".join(capsys.readouterr().err.split())


def test_a_release_is_served_until_ctrl_c(releases):
    words = ["policy", "serve", "--releases", str(releases), "--port", "0", "--json"]
    with subprocess.Popen(
        [sys.executable, "-m", "robot_agent.cli", *words], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            port = json.loads(server.stdout.readline())["results"]["port"]
            registry = Registry(releases, load_keyring(releases / "keyring.json"))
            local, seen = load_policy(registry.path(registry.current())), observation()
            with RemotePolicy(RemoteConfig(port=port)) as remote:
                assert remote.version == local.version
                for policy in (local, remote):
                    policy.reset("open the drawer", 3)
                np.testing.assert_array_equal(remote.act(seen).actions, local.act(seen).actions)
        finally:
            server.send_signal(signal.SIGINT)
        assert server.wait(10.0) == 0
