"""Low-rank adapters: merged alike everywhere, on their own base alone, in far fewer bytes."""

import json
import tarfile

import numpy as np
import pytest
from safetensors.numpy import save

from robot_agent import cli
from robot_agent.core.errors import BundleRejectedError, InputError
from robot_agent.release.adapter import (
    ADAPTER_NAME,
    apply_adapter,
    merged,
    read_adapter,
    read_saved,
    write_adapter,
)
from robot_agent.release.manifest import FileRecord
from robot_agent.release.registry import Registry
from robot_agent.release.registry_config import RegistryConfig
from robot_agent.release.signing import save_keyring
from robot_agent.release.tensors import load_tensors
from robot_agent.release.transfer import export_release, import_release
from tests.release.bundles import KEYRING, OPERATOR, make_bundle

SIZE, RANK, ALPHA = 512, 4, 8.0


def bfloat16(values: np.ndarray) -> bytes:
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()


def bfloat16_file(tensors: dict[str, np.ndarray]) -> bytes:
    header, data = {}, b""
    for name, values in tensors.items():
        content = bfloat16(values)
        offsets = [len(data), len(data) + len(content)]
        header[name] = {"dtype": "BF16", "shape": list(values.shape), "data_offsets": offsets}
        data += content
    encoded = json.dumps(header).encode()
    return len(encoded).to_bytes(8, "little") + encoded + data


def matrices(seed: int = 3, size: int = SIZE, rank: int = RANK) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    down, up = rng.normal(size=(rank, size)), 0.01 * rng.normal(size=(size, rank))
    return {
        "q.lora_A.weight": down.astype(np.float32),
        "q.lora_B.weight": up.astype(np.float32),
    }


@pytest.fixture
def base() -> bytes:
    rng = np.random.default_rng(1)
    big = rng.normal(size=(SIZE, SIZE)) * 0.02
    return bfloat16_file({"q.weight": big, "head.bias": rng.normal(size=9)})


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_merging_is_base_plus_the_scaled_product(dtype):
    rng = np.random.default_rng(2)
    old = {"q.weight": rng.normal(size=(SIZE, SIZE)).astype(dtype), "b": np.ones(3, np.float32)}
    pair = matrices()
    new = load_tensors(merged(save(old), pair, ALPHA))
    wide = {name: matrix.astype(np.float64) for name, matrix in pair.items()}
    product = wide["q.lora_B.weight"] @ wide["q.lora_A.weight"]
    wanted = old["q.weight"].astype(np.float64) + ALPHA / RANK * product
    assert np.array_equal(new["q.weight"], wanted.astype(dtype))
    assert np.array_equal(new["b"], old["b"])


def test_bfloat16_is_rounded_to_nearest(base):
    pair = matrices()
    old, new = load_tensors(base), load_tensors(merged(base, pair, ALPHA))
    wide = {name: matrix.astype(np.float64) for name, matrix in pair.items()}
    change = ALPHA / RANK * wide["q.lora_B.weight"] @ wide["q.lora_A.weight"]
    wanted = np.frombuffer(bfloat16(old["q.weight"] + change), "<u2").astype(np.uint32) << 16
    assert np.array_equal(new["q.weight"].ravel(), wanted.view(np.float32))
    assert not np.array_equal(new["q.weight"], old["q.weight"])
    assert np.array_equal(new["head.bias"], old["head.bias"])


def test_merging_does_not_depend_on_how_many_rows_go_at_once(base, monkeypatch):
    whole = merged(base, matrices(), ALPHA)
    monkeypatch.setattr("robot_agent.release.adapter._ROWS", 3 * SIZE)
    assert merged(base, matrices(), ALPHA) == whole


@pytest.mark.slow
def test_rank_32_on_a_layer_of_a_7b_model_takes_over_30_times_fewer_bytes():
    old = bfloat16_file({"q.weight": np.full((4096, 4096), 0.02)})
    pair = matrices(size=4096, rank=32)
    new = merged(old, pair, 16.0)
    assert len(new) > 30 * len(write_adapter(old, new, pair, base_hash="0" * 64, alpha=16.0))


class Pair:
    """A registry with a base and a release that was trained by an adapter on it."""

    def __init__(self, folder, base: bytes) -> None:
        self.adapter = matrices()
        self.registry = open_registry(folder / "ours")
        first = make_bundle(folder / "b1", 1, key=OPERATOR, policy=base)
        self.first = self.registry.install_factory(folder / "b1")
        make_bundle(folder / "b2", 2, first.hash, policy=merged(base, self.adapter, ALPHA))
        self.second = self.registry.publish(folder / "b2")


def open_registry(folder) -> Registry:
    folder.mkdir(exist_ok=True)
    save_keyring(folder / "keyring.json", KEYRING)
    return Registry(folder, KEYRING, RegistryConfig(min_free_gb=0.0))


@pytest.fixture
def pair(tmp_path, base) -> Pair:
    return Pair(tmp_path, base)


def test_a_release_travels_as_an_adapter_and_is_rebuilt_bit_for_bit(pair, tmp_path):
    theirs = open_registry(tmp_path / "theirs")
    whole = export_release(pair.registry, pair.first, tmp_path / "first.tar")
    import_release(theirs, tmp_path / "first.tar", KEYRING, is_factory=True)
    size = export_release(
        pair.registry, pair.second, tmp_path / "a.tar", pair.first, (pair.adapter, ALPHA)
    )
    with tarfile.open(tmp_path / "a.tar") as archive:
        assert ADAPTER_NAME in archive.getnames()
        assert "policy.safetensors" not in archive.getnames()
    assert import_release(theirs, tmp_path / "a.tar", KEYRING) == pair.second
    ours = pair.registry.load(pair.second).policy_bytes
    assert theirs.load(pair.second).policy_bytes == ours
    assert theirs.releases().states[pair.second] == "VERIFIED"
    assert whole > 10 * size  # rank 4 of 512; the rest is golden actions and manifest
    assert not list(theirs.folder.glob(".tmp*"))


def test_an_adapter_without_its_base_is_refused(pair, tmp_path):
    export_release(
        pair.registry, pair.second, tmp_path / "a.tar", pair.first, (pair.adapter, ALPHA)
    )
    with pytest.raises(BundleRejectedError, match=r"policy\.adapter base is .* must be a release"):
        import_release(open_registry(tmp_path / "empty"), tmp_path / "a.tar", KEYRING)


def test_an_adapter_of_other_weights_is_not_exported(pair, tmp_path):
    with pytest.raises(InputError, match=r"must give .* those of the release"):
        export_release(
            pair.registry, pair.second, tmp_path / "a.tar", pair.first, (matrices(9), ALPHA)
        )
    assert not (tmp_path / "a.tar").exists()


def test_an_adapter_on_the_wrong_base_is_refused(base):
    new = merged(base, matrices(), ALPHA)
    content = write_adapter(base, new, matrices(), base_hash="0" * 64, alpha=ALPHA)
    header, _ = read_adapter(content, "v2")
    wanted = FileRecord(header.sha256, len(new))
    assert apply_adapter(base, content, wanted, "v2") == new
    other = base[:-1] + bytes([base[-1] ^ 1])
    with pytest.raises(BundleRejectedError, match=r"policy\.adapter base is"):
        apply_adapter(other, content, wanted, "v2")
    with pytest.raises(BundleRejectedError, match=r"policy\.adapter result is"):
        apply_adapter(base, content, FileRecord("0" * 64, len(new)), "v2")


def test_no_changed_byte_of_an_adapter_gives_weights(base):
    small = bfloat16_file({"q.weight": np.ones((4, 4))})
    pair = matrices(size=4, rank=1)
    new = merged(small, pair, ALPHA)
    content = write_adapter(small, new, pair, base_hash="0" * 64, alpha=ALPHA)
    wanted = FileRecord(read_adapter(content, "v2")[0].sha256, len(new))
    harmless = 0
    for index in range(len(content)):
        changed = content[:index] + bytes([content[index] ^ 4]) + content[index + 1 :]
        try:
            harmless += apply_adapter(small, changed, wanted, "v2") == new
        except BundleRejectedError:
            continue
    assert 0 < harmless < 100  # the base's name and the rank: nothing that reaches the weights
    for cut in range(len(content)):
        with pytest.raises(BundleRejectedError):
            apply_adapter(small, content[:cut], wanted, "v2")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.pop("q.lora_B.weight"), "both of its matrices"),
        (lambda m: m.update({"x.lora_A.weight": m["q.lora_A.weight"]}), "no tensor in the base"),
        (lambda m: m.update({"q.lora_A.weight": np.ones((4, 3), np.float32)}), "must give"),
        (lambda m: m.update({"q.lora_A.weight": m["q.lora_A.weight"] * np.nan}), "not finite"),
        (lambda m: m.clear(), "no matrices"),
    ],
)
def test_matrices_that_do_not_fit_are_refused_by_name(base, change, words):
    pair = matrices()
    change(pair)
    with pytest.raises(InputError, match=words):
        merged(base, pair, ALPHA)


def test_the_command_exports_what_training_saved(pair, tmp_path, capsys):
    saved = tmp_path / "adapter.safetensors"
    saved.write_bytes(save(pair.adapter, {"lora": json.dumps({"rank": RANK, "alpha": ALPHA})}))
    words = ["weights", "export", pair.second, "--releases", str(tmp_path / "ours")]
    words += ["--out", str(tmp_path / "a.tar"), "--adapter", str(saved)]
    assert cli.main(words) == 2
    assert "--base is missing" in capsys.readouterr().err
    assert cli.main([*words, "--base", pair.first, "--json"]) == 0
    assert "an adapter on" in json.loads(capsys.readouterr().out)["results"]["how"]
    with pytest.raises(InputError, match="is no saved adapter"):
        read_saved(save(pair.adapter), "x")
