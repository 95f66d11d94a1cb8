"""Published policies as releases: one base, adapters swapped on it, and what is refused."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from robot_agent import cli
from robot_agent.compose import ensure_releases, load_policy, published_loader
from robot_agent.core.errors import BundleRejectedError, ConfigError
from robot_agent.core.types import Observation
from robot_agent.models import published
from robot_agent.models.published import PublishedConfig, load_resident, read_lerobot_moments
from robot_agent.release.bases import BASES, collect_bases, require_base, take_base, used_bases
from robot_agent.release.registry import Registry
from robot_agent.release.signing import load_keyring
from robot_agent.release.states import State
from tests.models.published_folders import UP, write_adapter, write_oft, write_pi0_folder
from tests.models.test_openvla_peft import saved_by_peft


@pytest.fixture(scope="module")
def oft(tmp_path_factory):
    return write_oft(tmp_path_factory.mktemp("published") / "oft")


@pytest.fixture(scope="module")
def releases(oft, tmp_path_factory):
    """A registry whose factory release is a tiny OFT."""
    folder = tmp_path_factory.mktemp("agent") / "releases"
    assert cli.main(["weights", "import", str(oft), *FROM, "--releases", str(folder)]) == 0
    return folder


FROM = ("--from", "openvla-oft")


def run(capsys, *words):
    capsys.readouterr()
    code = cli.main([*map(str, words), "--json"])
    out = capsys.readouterr()
    return code, json.loads(out.out)["results"] if out.out else {}


def refusal(capsys, *words):
    capsys.readouterr()
    assert cli.main(list(map(str, words))) != 0
    return " ".join(capsys.readouterr().err.split())


def registry_of(releases):
    return Registry(releases, load_keyring(releases / "keyring.json"))


def seen(seed=1):
    image = np.random.default_rng(seed).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    return Observation(image, np.full(6, 0.1), 0.4, 7)


def act(policy, seed=0):
    policy.reset("open the drawer", seed)
    return policy.act(seen()).actions


def test_a_folder_becomes_a_small_signed_release_on_a_base_without_its_code(releases):
    registry = registry_of(releases)
    bundle = registry.load(registry.current())
    assert bundle.manifest.architecture == "openvla-oft-1"
    assert bundle.signed_by == "operator"
    size = sum(path.stat().st_size for path in registry.path(bundle.label).iterdir())
    base = releases / BASES / bundle.settings["base"]
    assert size < 100_000 < sum(path.stat().st_size for path in base.iterdir())
    assert not list(base.glob("*.py"))
    assert {path.suffix for path in base.iterdir()} == {".json", ".safetensors"}


def test_the_robot_loads_it_and_it_acts_within_its_statistics(releases):
    policy = load_policy(registry_of(releases).path(registry_of(releases).current()))
    actions = act(policy)
    assert actions.shape == (5, 7)
    assert (actions >= np.array(UP["q01"]) - 1e-9).all()
    assert (actions <= np.array(UP["q99"]) + 1e-9).all()
    assert policy.version == registry_of(releases).current()


@pytest.fixture(scope="module")
def child(oft, releases, tmp_path_factory):
    """An adapter as the next release: gated, not yet acting."""
    path = write_adapter(tmp_path_factory.mktemp("lora") / "a.safetensors", oft, 1)
    before = set(registry_of(releases).releases().states)
    words = ["weights", "import", str(path), "--from", "adapter", "--releases", str(releases)]
    assert cli.main(words) == 0
    (label,) = set(registry_of(releases).releases().states) - before
    return label


def test_an_adapter_passes_the_gate_and_swaps_on_the_resident_base(
    releases, child, capsys, monkeypatch
):
    code, report = run(capsys, "weights", "gate", child, "--releases", releases)
    assert code == 0, report
    assert {check["name"] for check in report["checks"]} >= {"settings", "golden actions"}
    registry = registry_of(releases)
    assert registry.releases().states[child] is State.SANE
    active = load_policy(registry.path(registry.current()))
    before = act(active)

    def never(*_):
        pytest.fail("the base was read again")

    monkeypatch.setattr(published, "load_resident", never)
    monkeypatch.setattr("robot_agent.learn.published.load_resident", never)
    monkeypatch.setattr("robot_agent.learn.published.require_base", never)
    candidate = load_policy(registry.path(child))
    assert candidate.version == child
    assert not np.array_equal(act(candidate), before)
    assert np.array_equal(act(active), before), "the candidate's adapter changed what acts"
    ours, theirs = (dict(p._network.named_parameters()) for p in (active, candidate))
    shared = [name for name in ours if name in theirs]
    assert shared
    assert all(ours[name] is theirs[name] for name in shared), "weights were copied"


def test_an_adapter_of_another_base_is_refused(oft, releases, tmp_path, capsys):
    other = write_oft(tmp_path / "other")
    path = other / "model-00001-of-00002.safetensors"
    tensors = load_file(path)
    first = sorted(tensors)[0]
    tensors[first] = tensors[first] + 0.1
    save_file(tensors, path)
    adapter = write_adapter(tmp_path / "b.safetensors", other, 2)
    told = refusal(
        capsys, "weights", "import", adapter, "--from", "adapter", "--releases", releases
    )
    assert "base of the adapter" in told


def test_a_release_that_cannot_be_loaded_is_rejected_at_the_gate(oft, tmp_path, capsys):
    where = ("--releases", tmp_path / "releases")
    run(capsys, "weights", "import", oft, *FROM, *where)
    adapter = write_adapter(tmp_path / "a.safetensors", oft, 1)
    _, made = run(capsys, "weights", "import", adapter, "--from", "adapter", *where)
    base = tmp_path / "releases" / BASES / made["settings"]["base"]
    shutil.rmtree(base)
    published_loader.cache_clear()  # as in a fresh process, where nothing is in memory
    told = refusal(capsys, "weights", "gate", made["label"], *where)
    assert "taken in here: robot-agent weights import" in told
    assert registry_of(tmp_path / "releases").releases().states[made["label"]] is State.REJECTED


def test_an_adapter_needs_a_release_on_a_base(tmp_path, oft, capsys):
    ensure_releases(tmp_path / "releases")
    adapter = write_adapter(tmp_path / "a.safetensors", oft, 1)
    told = refusal(
        capsys,
        "weights",
        "import",
        adapter,
        "--from",
        "adapter",
        "--releases",
        tmp_path / "releases",
    )
    assert "an adapter needs a release on a base" in told


def test_a_new_line_beside_shipped_weights_goes_before_the_gate(tmp_path, oft, capsys):
    ensure_releases(tmp_path / "releases")
    where = ("--releases", tmp_path / "releases")
    code, made = run(capsys, "weights", "import", oft, *FROM, *where)
    assert (code, made["state"]) == (0, "VERIFIED")
    code, report = run(capsys, "weights", "gate", made["label"], *where)
    assert code == 0, report
    assert "parent" in report["skipped"]


def test_a_changed_base_is_refused_and_named(oft, tmp_path):
    base = take_base(oft, tmp_path)
    assert require_base(tmp_path, base).name == base
    assert take_base(oft, tmp_path) == base
    path = tmp_path / BASES / base / "config.json"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"0.03", b"0.04"))
    with pytest.raises(BundleRejectedError, match=r"config\.json sha256"):
        require_base(tmp_path, base)
    shutil.copy(oft / "config.json", path)
    require_base(tmp_path, base)
    (path.parent / "evil.py").write_text("")
    with pytest.raises(BundleRejectedError, match=r"files of the base is evil\.py"):
        require_base(tmp_path, base)


@pytest.mark.parametrize("name", ["../../etc", "a" * 63, ""])
def test_a_base_is_named_by_a_hash_only(tmp_path, name):
    with pytest.raises(BundleRejectedError, match="must be a SHA-256"):
        require_base(tmp_path, name)


def test_a_base_that_is_not_here_names_the_remedy(tmp_path):
    with pytest.raises(BundleRejectedError, match="taken in here: robot-agent weights import"):
        require_base(tmp_path, "0" * 64)


def test_a_base_that_no_release_names_is_collected(releases, tmp_path):
    assert not collect_bases(releases, used_bases(releases))
    folder = tmp_path / BASES / ("0" * 64)
    folder.mkdir(parents=True)
    assert collect_bases(tmp_path, used_bases(tmp_path)) == ["0" * 64]
    assert not folder.exists()


def test_a_folder_of_pickles_is_refused(tmp_path, capsys):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    told = refusal(
        capsys, "weights", "import", tmp_path / "weights", *FROM, "--releases", tmp_path / "r"
    )
    assert "holds no .safetensors, only pytorch_model.bin" in told


@pytest.mark.parametrize(
    ("changes", "words", "told"),
    [
        (
            {},
            ("--unnorm-key", "bridge"),
            "unnorm_key 'bridge' is unknown, must be one of: bridge_o",
        ),
        ({"name": "berkeley_fanuc"}, ("--unnorm-key", "berkeley_fanuc"), "of another robot"),
        ({"n_action_bins": 128}, (), "n_action_bins is 128, must be 256"),
        ({}, ("--set", "cameras=[color, wrist]"), "camera: the policy needs 'wrist'"),
        ({}, ("--set", "chunk=21"), "actions of a chunk: the policy needs 21, the robot has 20"),
        ({}, ("--set", "bits=3"), "bits: '3' is not one of 0, 4, 8"),
    ],
)
def test_what_does_not_fit_never_becomes_a_release(tmp_path, capsys, changes, words, told):
    folder = write_oft(tmp_path / "oft", **changes)
    releases = tmp_path / "releases"
    assert told in refusal(
        capsys, "weights", "import", folder, *FROM, "--releases", releases, *words
    )
    assert not registry_of(releases).releases().states


def test_every_tensor_that_does_not_fit_is_listed(tmp_path, capsys):
    folder = write_oft(tmp_path / "oft")
    path = folder / "model-00001-of-00002.safetensors"
    tensors = load_file(path)
    names = sorted(tensors)
    del tensors[names[0]]
    tensors[names[1]] = torch.zeros(1, 2)
    tensors["foreign.weight"] = torch.zeros(1)
    save_file(tensors, path)
    told = refusal(capsys, "weights", "import", folder, *FROM, "--releases", tmp_path / "releases")
    for part in (f"missing: {names[0]}", "extra: foreign.weight", f"{names[1]} [1, 2] instead of"):
        assert part in told


def test_weights_that_are_no_numbers_never_become_a_release(tmp_path, capsys):
    folder = write_oft(tmp_path / "oft")
    path = folder / "model-00002-of-00002.safetensors"
    tensors = load_file(path)
    name = sorted(tensors)[0]
    tensors[name].view(-1)[0] = float("nan")
    save_file(tensors, path)
    told = refusal(capsys, "weights", "import", folder, *FROM, "--releases", tmp_path / "releases")
    assert f"not finite: {name}" in told


def test_golden_actions_of_other_weights_are_refused(releases, child, tmp_path):
    registry = registry_of(releases)
    bundle = registry.load(child)
    golden = bundle.golden
    golden.actions[0, 0, 0] += 0.01
    with pytest.raises(BundleRejectedError, match="golden actions"):
        published_loader().load(bundle, releases)


def test_pi0_becomes_a_release_that_acts(tmp_path, capsys):
    folder = write_pi0_folder(tmp_path / "pi0")
    where = ("--releases", tmp_path / "releases")
    code, made = run(capsys, "weights", "import", folder, "--from", "pi0", *where)
    assert (code, made["state"], made["architecture"]) == (0, "GOOD", "pi0-1")
    policy = load_policy(registry_of(tmp_path / "releases").path(made["label"]))
    assert act(policy).shape == (5, 7)
    assert policy.needs.state == "bridge_state"


def test_openvla_decodes_one_action_at_a_time(tmp_path, oft, capsys):
    where = ("--releases", tmp_path / "releases")
    code, made = run(capsys, "weights", "import", oft, "--from", "openvla", *where)
    assert (code, made["architecture"]) == (0, "openvla-1")
    policy = load_policy(registry_of(tmp_path / "releases").path(made["label"]))
    assert act(policy).shape == (1, 7)


def test_lerobots_statistics_are_read_beside_its_weights(tmp_path):
    save_file({"weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match="no file states"):
        read_lerobot_moments(tmp_path, "bridge_orig")
    stated = {
        f"{part}.{kind}": torch.full((7,), value)
        for part, value in (("observation.state", 0.5), ("action", 0.01))
        for kind in ("mean", "std")
    }
    save_file(stated, tmp_path / "policy_preprocessor_step_3_normalizer_processor.safetensors")
    state, action = read_lerobot_moments(tmp_path, "bridge_orig")
    assert state.mean == (0.5,) * 7
    assert action.std == pytest.approx((0.01,) * 7)


def test_an_unknown_architecture_lists_those_that_are_known(tmp_path):
    with pytest.raises(ConfigError, match="must be one of: openvla-1, openvla-oft-1, pi0-1, ler"):
        load_resident("gr00t-1", tmp_path, PublishedConfig())


def test_a_folder_that_peft_saved_becomes_a_release_on_its_base(oft, tmp_path, capsys):
    where = ("--releases", tmp_path / "releases")
    run(capsys, "weights", "import", oft, *FROM, *where)
    folder, _ = saved_by_peft(tmp_path / "lora")
    code, made = run(capsys, "weights", "import", folder, "--from", "adapter", *where)
    assert (code, made["state"]) == (0, "VERIFIED")
    registry = registry_of(tmp_path / "releases")
    bundle = registry.load(made["label"])
    origin = bundle.manifest.provenance["peft"]
    assert (origin["untouched_layers"], len(origin["without_effect"])) == (0, 10)
    base, adapted = (
        act(load_policy(registry.path(label))) for label in (registry.current(), made["label"])
    )
    assert not np.array_equal(base, adapted), "the adapter changes what is done"
    told = refusal(capsys, "weights", "import", oft, "--from", "adapter", *where)
    assert "must be a folder that peft saved" in told
