"""A delta leads to the very bytes that were signed, or nowhere."""

import dataclasses
import hashlib
import io
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest

from robot_agent.core.errors import BundleRejectedError, InputError
from robot_agent.release.delta import (
    BLOCK_WORDS,
    DELTA_NAME,
    apply_delta,
    read_header,
    word_of,
    write_delta,
)
from robot_agent.release.manifest import FileRecord
from robot_agent.release.registry import Registry
from robot_agent.release.registry_config import RegistryConfig
from robot_agent.release.transfer import export_release, import_release
from tests.release.bundles import KEYRING, OPERATOR, STRANGER, make_bundle, weights

BASE_HASH = "ab" * 32


def packed(base: bytes, new: bytes, word: int = 2) -> tuple[bytes, FileRecord]:
    target = io.BytesIO()
    write_delta(io.BytesIO(base), io.BytesIO(new), target, base_hash=BASE_HASH, word=word)
    return target.getvalue(), FileRecord(hashlib.sha256(new).hexdigest(), len(new))


def rebuilt(base: bytes, delta: bytes, wanted: FileRecord) -> bytes:
    target = io.BytesIO()
    apply_delta(io.BytesIO(base), io.BytesIO(delta), target, wanted, "v2")
    return target.getvalue()


def changed(base: bytes, share: float, rng: np.random.Generator, size: int = 1) -> bytes:
    """Move a share of the 16-bit words by up to `size` in either direction."""
    words = np.frombuffer(base, "<u2").copy()
    count = round(share * len(words))
    places = rng.choice(len(words), count, replace=False)
    words[places] += rng.integers(-size, size + 1, count).astype(np.uint16)
    return words.tobytes()


@pytest.mark.parametrize("word", [2, 4])
@pytest.mark.parametrize("share", [0.0, 1e-5, 1e-3, 0.05, 0.2, 1.0])
def test_any_change_comes_back_bit_for_bit(rng, word, share):
    base = rng.bytes(600_000)
    new = changed(base, share, rng, size=30_000)
    delta, wanted = packed(base, new, word)
    assert rebuilt(base, delta, wanted) == new


@pytest.mark.parametrize("length", [1, 2, 3, 5, 2 * BLOCK_WORDS - 1, 2 * BLOCK_WORDS + 1])
@pytest.mark.parametrize("word", [2, 4])
def test_files_of_any_length_come_back(rng, word, length):
    base, new = rng.bytes(length), bytearray(rng.bytes(length))
    new[: length // 2] = base[: length // 2]
    delta, wanted = packed(base, bytes(new), word)
    assert rebuilt(base, delta, wanted) == new


def test_every_distance_and_every_gap_comes_back():
    words = np.arange(1 << 16, dtype="<u2")
    for change in (1, 0x7FFF, 0x8000, 0xFFFF):
        base = words.tobytes()
        new = (words + np.uint16(change)).tobytes()
        delta, wanted = packed(base, new)
        assert rebuilt(base, delta, wanted) == new
    for gap in (253, 254, 255, 256, 509, 510, 511, 5000):
        base = np.zeros(20_000, "<u2")
        new = base.copy()
        new[gap :: gap + 1] = 7
        delta, wanted = packed(base.tobytes(), new.tobytes())
        assert rebuilt(base.tobytes(), delta, wanted) == new.tobytes()


@pytest.mark.parametrize(("share", "times"), [(0.001, 500), (0.01, 100), (0.05, 28), (0.08, 20)])
def test_rare_changes_to_a_neighbour_cost_few_bytes(rng, share, times):
    base = rng.bytes(4 << 20)
    delta, wanted = packed(base, changed(base, share, rng))
    assert wanted.size / len(delta) > times


def refused(base: bytes, delta: bytes, wanted: FileRecord) -> str:
    with pytest.raises(BundleRejectedError) as refusal:
        rebuilt(base, delta, wanted)
    assert "must be" in str(refusal.value)
    return refusal.value.check


@pytest.fixture
def case(rng) -> tuple[bytes, bytes, FileRecord]:
    base = rng.bytes(3000)
    return (base, *packed(base, changed(base, 0.05, rng)))


def test_every_cut_and_every_flipped_bit_of_a_delta_is_refused(case):
    base, delta, wanted = case
    for length in range(len(delta)):
        refused(base, delta[:length], wanted)
    for bit in range(8 * len(delta)):
        broken = bytearray(delta)
        broken[bit // 8] ^= 1 << bit % 8
        try:
            whole = rebuilt(base, bytes(broken), wanted)
        except BundleRejectedError:
            continue
        # deflate has bits of no meaning, and the header names a base that is only looked up
        assert hashlib.sha256(whole).hexdigest() == wanted.sha256


def test_another_base_is_refused(case, rng):
    base, delta, wanted = case
    assert refused(rng.bytes(3000), delta, wanted) == "policy.delta base"
    assert refused(base[:-2], delta, wanted) == "policy.delta base"


def test_a_delta_to_other_weights_than_were_signed_is_refused(case):
    base, delta, wanted = case
    other = dataclasses.replace(wanted, sha256="0" * 64)
    assert refused(base, delta, other) == "policy.delta result"
    longer = dataclasses.replace(wanted, size=wanted.size + 1)
    assert refused(base, delta, longer) == "policy.delta result"


def test_more_after_the_end_is_refused(case):
    base, delta, wanted = case
    assert refused(base, delta + b"\0", wanted) == "policy.delta end"


def test_a_bomb_is_not_inflated(case):
    import zlib

    base, delta, wanted = case
    start = len(delta) - len(delta[14:])
    (length,) = struct.unpack("<I", delta[start : start + 4])
    head = delta[: start + 4 + length]
    bomb = zlib.compress(bytes(50_000_000), 9)[:6000]
    block = struct.pack("<BII", 2, 0, len(bomb)) + bomb
    assert refused(base, head + block, wanted) == "policy.delta block 0"


@pytest.mark.parametrize("change", [{"word": 3}, {"word": 2.0}, {"schema": 2}, {"extra": 1}])
def test_a_header_of_another_kind_is_refused(case, change):
    import json

    _, delta, _ = case
    (length,) = struct.unpack("<I", delta[14:18])
    fields = json.loads(delta[18 : 18 + length]) | change
    spelled = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
    forged = delta[:14] + struct.pack("<I", len(spelled)) + spelled + delta[18 + length :]
    with pytest.raises(BundleRejectedError, match=r"policy\.delta header"):
        read_header(io.BytesIO(forged), "v2")
    forged = delta[:14] + struct.pack("<I", 1 << 30)
    with pytest.raises(BundleRejectedError, match="at most 4096 bytes"):
        read_header(io.BytesIO(forged), "v2")


def test_weights_of_another_size_have_no_delta():
    with pytest.raises(InputError, match="Send the whole weights"):
        packed(b"1234", b"12")


# --- one file out of a registry, and into another ------------------------------------------------


def registry_at(folder: Path) -> Registry:
    return Registry(folder, KEYRING, RegistryConfig(min_free_gb=0.0))


@pytest.fixture
def two(tmp_path) -> tuple[Registry, str, str]:
    """A registry with its factory release and a child."""
    registry = registry_at(tmp_path / "ours")
    first = make_bundle(tmp_path / "b1", 1, key=OPERATOR)
    registry.install_factory(tmp_path / "b1")
    make_bundle(tmp_path / "b2", 2, first.hash, policy=weights(1) | {"scale": weights(2)["scale"]})
    return registry, first.label, registry.publish(tmp_path / "b2")


def test_a_release_travels_whole_and_as_a_delta(two, tmp_path):
    registry, first, second = two
    theirs = registry_at(tmp_path / "theirs")
    export_release(registry, first, tmp_path / "first.tar")
    label = import_release(theirs, tmp_path / "first.tar", KEYRING, is_factory=True)
    assert (label, theirs.current()) == (first, first)
    size = export_release(registry, second, tmp_path / "second.tar", base=first)
    assert size == (tmp_path / "second.tar").stat().st_size
    with tarfile.open(tmp_path / "second.tar") as archive:
        assert DELTA_NAME in archive.getnames()
        assert "policy.safetensors" not in archive.getnames()
    assert import_release(theirs, tmp_path / "second.tar", KEYRING) == second
    assert theirs.load(second).policy_bytes == registry.load(second).policy_bytes
    assert theirs.releases().states[second] == "VERIFIED"  # and no more
    assert not list(theirs.folder.glob(".tmp*"))


def test_the_same_release_gives_the_same_file(two, tmp_path):
    registry, _, second = two
    for name in "ab":
        export_release(registry, second, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with pytest.raises(InputError, match="exists, must be new"):
        export_release(registry, second, tmp_path / "a")


def test_a_delta_without_its_base_is_refused(two, tmp_path):
    registry, first, second = two
    export_release(registry, second, tmp_path / "second.tar", base=first)
    with pytest.raises(BundleRejectedError, match=r"policy\.delta base is .* must be a release"):
        import_release(registry_at(tmp_path / "empty"), tmp_path / "second.tar", KEYRING)


def rewritten(source: Path, target: Path, edit) -> Path:
    """Write an archive again with members that `edit` changed, added or left out."""
    with tarfile.open(source) as old, tarfile.open(target, "w:") as new:
        members = [(entry, old.extractfile(entry).read()) for entry in old]
        for entry, content in edit(members):
            entry.size = len(content)
            new.addfile(entry, io.BytesIO(content))
    return target


def entry(name: str, **fields) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(made, key, value)
    return made


@pytest.mark.parametrize(
    ("edit", "check"),
    [
        (lambda m: m[1:], "archive order"),
        (lambda m: [], "archive"),
        (lambda m: [*m, (entry("../x"), b"1")], "archive"),
        (lambda m: [*m, (entry("/tmp/x"), b"1")], "archive"),
        (lambda m: [*m, (entry("notes.txt"), b"1")], "archive"),
        (lambda m: [*m, m[-1]], "archive"),
        (lambda m: [*m[:-1], (entry(m[-1][0].name, type=b"2", linkname="/etc/passwd"), b"")],
         "archive"),
        (lambda m: [*m[:-1], (m[-1][0], m[-1][1] + b"1")], "report.json size"),
        (lambda m: m[:-1], "file set"),
        (lambda m: [m[0], (m[1][0], bytes(64)), *m[2:]], "signature"),
        (lambda m: [(m[0][0], bytes(1 << 21)), *m[1:]], "manifest.json size"),
    ],
)  # fmt: skip
def test_an_archive_that_is_no_export_is_refused(two, tmp_path, edit, check):
    registry, first, _ = two
    export_release(registry, first, tmp_path / "good.tar")
    bad = rewritten(tmp_path / "good.tar", tmp_path / "bad.tar", edit)
    theirs = registry_at(tmp_path / "theirs")
    before = sorted(p.name for p in tmp_path.iterdir())
    with pytest.raises(BundleRejectedError) as refusal:
        import_release(theirs, bad, KEYRING)
    assert refusal.value.check == check
    assert theirs.releases().states == {}
    assert not list(theirs.folder.glob(".tmp*"))
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def test_a_file_of_noise_and_a_foreign_signature_are_refused(tmp_path, rng):
    theirs = registry_at(tmp_path / "theirs")
    (tmp_path / "noise").write_bytes(rng.bytes(5000))
    with pytest.raises(BundleRejectedError, match="must be a plain tar"):
        import_release(theirs, tmp_path / "noise", KEYRING)
    make_bundle(tmp_path / "foreign", key=STRANGER)
    with tarfile.open(tmp_path / "foreign.tar", "w:", format=tarfile.USTAR_FORMAT) as archive:
        for name in ("manifest.json", "manifest.sig"):
            archive.add(tmp_path / "foreign" / name, name)
    with pytest.raises(BundleRejectedError, match=r"^foreign\.tar: signature key is"):
        import_release(theirs, tmp_path / "foreign.tar", KEYRING)
    with pytest.raises(BundleRejectedError, match="signature key"):
        import_release(theirs, tmp_path / "foreign", KEYRING)


def test_the_word_is_that_of_most_weights(tmp_path):
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(9, np.float16), "b": np.zeros(2, np.float32)}, tmp_path / "h")
    save_file({"a": np.zeros(2, np.float16), "b": np.zeros(9, np.float32)}, tmp_path / "f")
    assert (word_of(tmp_path / "h"), word_of(tmp_path / "f")) == (2, 4)
