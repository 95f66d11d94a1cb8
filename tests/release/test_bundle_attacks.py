"""Every damaged, forged or foreign bundle is refused, and the refusal names the check."""

import dataclasses
import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from robot_agent.core.errors import BundleRejectedError
from robot_agent.release.bundle_reader import BundleLimits, read_bundle
from robot_agent.release.manifest import FileRecord, parse_manifest
from robot_agent.store.strict_json import canonical_json
from tests.release.bundles import (
    KEYRING,
    OPERATOR,
    STRANGER,
    TRAINER,
    make_bundle,
    resign,
    weights,
)

FILES = (
    "manifest.json", "manifest.sig", "policy.safetensors", "golden.safetensors",
    "normalization.json", "report.json",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_bundle(tmp_path / "b", 5)
    return tmp_path / "b"


def rejected(folder: Path, **options) -> str:
    """Return the name of the check that refused the bundle."""
    with pytest.raises(BundleRejectedError) as refusal:
        read_bundle(folder, KEYRING, **options)
    assert folder.name in str(refusal.value) or "v0005" in str(refusal.value)
    return refusal.value.check


def replace_signed(folder: Path, name: str, content: bytes) -> None:
    """Change a file and sign the change, as someone with the trainer's key could."""
    (folder / name).write_bytes(content)
    manifest = parse_manifest((folder / "manifest.json").read_bytes(), "b")
    record = FileRecord(hashlib.sha256(content).hexdigest(), len(content))
    resign(folder, dataclasses.replace(manifest, files={**manifest.files, name: record}))


@pytest.mark.parametrize("name", FILES)
def test_a_truncation_is_refused(folder: Path, name: str):
    whole = (folder / name).read_bytes()
    for length in {*range(0, len(whole), 5), len(whole) - 1}:
        (folder / name).write_bytes(whole[:length])
        rejected(folder)


def flip_bits(folder: Path, name: str, bits: range) -> None:
    whole = (folder / name).read_bytes()
    for bit in bits:
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << (bit % 8)
        (folder / name).write_bytes(damaged)
        rejected(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_in_any_byte_is_refused(folder: Path, name: str):
    flip_bits(folder, name, range(0, 8 * (folder / name).stat().st_size, 9))


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_every_truncation_is_refused(folder: Path, name: str):
    whole = (folder / name).read_bytes()
    for length in range(len(whole)):
        (folder / name).write_bytes(whole[:length])
        rejected(folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_every_flipped_bit_is_refused(folder: Path, name: str):
    flip_bits(folder, name, range(8 * (folder / name).stat().st_size))


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused(folder: Path, name: str):
    (folder / name).unlink()
    assert rejected(folder) == "file set"


@pytest.mark.parametrize("name", ["notes.txt", "policy.pkl", ".hidden", "policy.onnx"])
def test_an_extra_file_is_refused(folder: Path, name: str):
    (folder / name).write_bytes(b"x")
    assert rejected(folder) == "file set"


@pytest.mark.parametrize("name", FILES)
def test_a_link_in_place_of_a_file_is_refused(folder: Path, name: str):
    (folder / name).rename(folder.parent / name)
    (folder / name).symlink_to(folder.parent / name)
    assert rejected(folder) == name


def test_a_link_in_place_of_the_folder_is_refused(folder: Path):
    (folder.parent / "link").symlink_to(folder)
    assert rejected(folder.parent / "link") == "folder"


def test_a_folder_or_a_pipe_in_place_of_a_file_is_refused(folder: Path):
    (folder / "report.json").unlink()
    os.mkfifo(folder / "report.json")
    assert rejected(folder) == "report.json"
    (folder / "report.json").unlink()
    (folder / "report.json").mkdir()
    assert rejected(folder) == "report.json"


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../b", "policy.safetensors/.."])
def test_a_path_out_of_the_bundle_is_refused_even_when_signed(folder: Path, name: str):
    manifest = parse_manifest((folder / "manifest.json").read_bytes(), "b")
    files = {**manifest.files, name: FileRecord("0" * 64, 1)}
    resign(folder, dataclasses.replace(manifest, files=files))
    assert rejected(folder) == "manifest.json files"


def test_a_key_that_is_not_trusted_is_refused(tmp_path: Path):
    make_bundle(tmp_path / "b", key=STRANGER)
    assert rejected(tmp_path / "b") == "signature key"


def test_a_signature_by_another_trusted_key_is_refused(folder: Path):
    signed = (folder / "manifest.json").read_bytes()
    (folder / "manifest.sig").write_bytes(OPERATOR.sign(signed))
    assert rejected(folder) == "signature"


def test_a_stranger_who_names_the_trainers_key_is_refused(folder: Path):
    signed = (folder / "manifest.json").read_bytes()
    (folder / "manifest.sig").write_bytes(STRANGER.sign(signed))
    assert rejected(folder) == "signature"


def test_an_older_version_is_refused(folder: Path):
    assert rejected(folder, min_version=6) == "version"
    read_bundle(folder, KEYRING, min_version=5)


@pytest.mark.parametrize("name", sorted(weights()))
def test_one_nan_in_any_tensor_is_refused_even_when_signed(folder: Path, name: str):
    tensors = weights(5)
    tensors[name].flat[-1] = np.nan
    replace_signed(folder, "policy.safetensors", save(tensors))
    assert rejected(folder) == f"policy.safetensors {name}"


@pytest.mark.parametrize(
    ("name", "content", "check"),
    [
        ("policy.safetensors", b"\x80\x04 not tensors", "policy.safetensors"),
        ("golden.safetensors", save({"images": np.zeros(3)}), "golden.safetensors"),
        ("normalization.json", b'{"name":"bridge_orig","q01":[],"q99":[]}', "normalization.json"),
        ("report.json", b"[" * 100_000, "report.json"),
        ("report.json", b'{"a":NaN}', "report.json"),
        ("report.json", b'{"a":1,"a":2}', "report.json"),
    ],
)
def test_content_of_another_kind_is_refused_even_when_signed(
    folder: Path, name: str, content: bytes, check: str
):
    replace_signed(folder, name, content)
    assert rejected(folder) == check


def test_files_of_two_bundles_cannot_be_mixed(folder: Path, tmp_path: Path):
    make_bundle(tmp_path / "c", 6)
    for name in ("policy.safetensors", "manifest.json", "manifest.sig"):
        mixed = tmp_path / f"mixed-{name}"
        shutil.copytree(folder, mixed)
        shutil.copy(tmp_path / "c" / name, mixed / name)
        with pytest.raises(BundleRejectedError):
            read_bundle(mixed, KEYRING)


def test_sizes_are_limited_before_anything_is_read(folder: Path):
    assert rejected(folder, limits=BundleLimits(max_policy_gb=1e-9)) == "policy.safetensors size"
    with (folder / "manifest.json").open("r+b") as file:
        file.truncate(1 << 40)  # sparse
    assert rejected(folder) == "manifest.json size"


@pytest.mark.parametrize(
    ("field", "value", "check"),
    [
        ("schema", 2, "manifest.json schema"),
        ("schema", True, "manifest.json schema"),
        ("version", "5", "manifest.json version"),
        ("version", 0, "manifest.json version"),
        ("parent", "../x", "manifest.json parent"),
        ("files", [], "manifest.json files"),
        ("surprise", 1, "manifest.json fields"),
    ],
)
def test_a_manifest_with_a_wrong_field_is_refused_even_when_signed(
    folder: Path, field: str, value: object, check: str
):
    content = json.loads((folder / "manifest.json").read_bytes())
    signed = canonical_json({**content, field: value})
    (folder / "manifest.json").write_bytes(signed)
    (folder / "manifest.sig").write_bytes(TRAINER.sign(signed))
    assert rejected(folder) == check


def test_a_manifest_spelled_another_way_is_refused_even_when_signed(folder: Path):
    signed = json.dumps(json.loads((folder / "manifest.json").read_bytes()), indent=1).encode()
    (folder / "manifest.json").write_bytes(signed)
    (folder / "manifest.sig").write_bytes(TRAINER.sign(signed))
    assert rejected(folder) == "manifest.json"
