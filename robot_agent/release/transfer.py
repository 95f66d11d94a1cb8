"""Releases on the move: one file out of a registry, and into another after every check."""

import io
import os
import secrets
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from robot_agent.core.errors import BundleRejectedError, InputError
from robot_agent.release.adapter import ADAPTER_NAME, apply_adapter, read_adapter, write_adapter
from robot_agent.release.bundle_reader import BundleLimits, named, read_manifest
from robot_agent.release.delta import (
    DELTA_NAME,
    apply_delta,
    read_header,
    word_of,
    write_delta,
)
from robot_agent.release.manifest import (
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    POLICY_NAME,
    SIGNATURE_BYTES,
    SIGNATURE_NAME,
    Manifest,
)
from robot_agent.release.registry import Registry
from robot_agent.release.signing import Keyring
from robot_agent.release.tensors import Tensors
from robot_agent.store.durable import make_folder, storage_errors, sync_folder, write_durably

_STAGING = ".tmp-import-"
_CHANGES = (DELTA_NAME, ADAPTER_NAME)
"""What stands for the weights where a base is named."""
_DELTA_OVERHEAD = 1 << 16
"""Bytes by which a delta of weights that have nothing in common may exceed them."""


def export_release(
    registry: Registry,
    label: str,
    target: Path,
    base: str = "",
    adapter: tuple[Tensors, float] | None = None,
) -> int:
    """Write a release as one file, a plain tar; return its bytes.

    With the label of a `base`, the weights travel as a delta that only a registry with this base
    can read; with matrices and alpha too, as an adapter. The file appears by one atomic rename.

    Raises:
        BundleRejectedError: The release, or the base, is damaged here.
        InputError: `target` exists, the base has another layout, or the adapter gives other
            weights.
        StorageError: The disk refused.
    """
    with storage_errors("exporting a release", target):
        exists = target.exists()
    if exists:
        raise InputError(f"{target}: exists, must be new. Choose another file.")
    manifest = registry.load(label).manifest
    folder, staging = registry.path(label), target.with_name(f".tmp-{target.name}")
    with storage_errors("exporting a release", target):
        make_folder(target.parent)
        try:
            with staging.open("wb") as file, tarfile.open(fileobj=file, mode="w:") as archive:
                for name in (MANIFEST_NAME, SIGNATURE_NAME, *sorted(manifest.files)):
                    if name == POLICY_NAME and base and adapter is not None:
                        _add_adapter(archive, registry, label, base, adapter)
                    elif name == POLICY_NAME and base:
                        _add_delta(archive, registry, label, base)
                    else:
                        with (folder / name).open("rb") as content:
                            _add(archive, name, content)
            with staging.open("rb") as written:
                os.fsync(written.fileno())
            staging.rename(target)
            sync_folder(target.parent)
            return target.stat().st_size
        finally:
            staging.unlink(missing_ok=True)


def import_release(
    registry: Registry, source: Path, keyring: Keyring, *, is_factory: bool = False
) -> str:
    """Take in an exported file, or the folder of a bundle; return the label.

    The signature is checked before anything large is copied; a delta is rebuilt on the release
    here that it names, and then all checks of `publish` follow. What is taken in is VERIFIED, no
    more: it acts only after the gate, unless an operator signed it and asks for the factory slot.

    Raises:
        BundleRejectedError: Names the file, the check, the value and the limit.
        StorageError: The disk refused.
    """
    install = registry.install_factory if is_factory else registry.publish
    if source.is_dir():
        return install(source)
    staging = registry.folder / f"{_STAGING}{secrets.token_hex(3)}"
    with storage_errors("importing a release", source), named(source.name):
        staging.mkdir(parents=True)
        try:
            manifest = _unpack(source, staging, keyring)
            if (staging / DELTA_NAME).exists():
                _rebuild(registry, staging, manifest)
            elif (staging / ADAPTER_NAME).exists():
                _merge(registry, staging, manifest)
            return install(staging)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _add_delta(archive: tarfile.TarFile, registry: Registry, label: str, base: str) -> None:
    base_hash = registry.load(base).manifest.hash
    with ExitStack() as stack:
        old, new = (
            stack.enter_context((registry.path(name) / POLICY_NAME).open("rb"))
            for name in (base, label)
        )
        word = word_of(registry.path(label) / POLICY_NAME)
        delta = io.BytesIO()
        write_delta(old, new, delta, base_hash=base_hash, word=word)
        _add(archive, DELTA_NAME, delta)


def _add_adapter(
    archive: tarfile.TarFile,
    registry: Registry,
    label: str,
    base: str,
    adapter: tuple[Tensors, float],
) -> None:
    old, new = registry.load(base), registry.load(label)
    matrices, alpha = adapter
    content = write_adapter(
        old.policy_bytes, new.policy_bytes, matrices, base_hash=old.manifest.hash, alpha=alpha
    )
    _add(archive, ADAPTER_NAME, io.BytesIO(content))


def _add(archive: tarfile.TarFile, name: str, content: BinaryIO) -> None:
    """Add a file without times or owners: the same release gives the same archive."""
    entry = tarfile.TarInfo(name)
    entry.size = content.seek(0, 2)
    content.seek(0)
    archive.addfile(entry, content)


def _unpack(source: Path, staging: Path, keyring: Keyring) -> Manifest:
    """Copy the plain files of an archive; the signed manifest comes first and limits the rest."""
    manifest: Manifest | None = None
    with _members(source) as members:
        for number, (entry, content) in enumerate(members):
            if number < 2:
                wanted = (MANIFEST_NAME, SIGNATURE_NAME)[number]
                limit = (MAX_MANIFEST_BYTES, SIGNATURE_BYTES)[number]
                if entry.name != wanted:
                    raise BundleRejectedError(source.name, "archive order", entry.name, wanted)
            else:
                limit = _limit(source, entry.name, cast("Manifest", manifest))
            if (staging / entry.name).exists():
                raise BundleRejectedError(source.name, "archive", f"{entry.name} twice", "once")
            if entry.size > limit:
                value = f"at most {limit} bytes"
                raise BundleRejectedError(source.name, f"{entry.name} size", entry.size, value)
            with (staging / entry.name).open("xb") as file:
                shutil.copyfileobj(content, file, 1 << 20)
            if number == 1:
                manifest, _ = read_manifest(staging, keyring)
    if manifest is None:
        raise BundleRejectedError(source.name, "archive", "without a manifest", "an export")
    present = {POLICY_NAME if path.name in _CHANGES else path.name for path in staging.iterdir()}
    if missing := sorted(set(manifest.files) - present):
        raise BundleRejectedError(source.name, "file set", f"without {missing}", "complete")
    return manifest


def _limit(source: Path, name: str, manifest: Manifest) -> int:
    record = manifest.files.get(POLICY_NAME if name in _CHANGES else name)
    if record is None:
        raise BundleRejectedError(source.name, "archive", name, sorted(manifest.files))
    if name in _CHANGES:
        return record.size + record.size // 1000 + _DELTA_OVERHEAD
    return min(record.size, BundleLimits().max_bytes(name))


@contextmanager
def _members(source: Path) -> Iterator[Iterator[tuple[tarfile.TarInfo, BinaryIO]]]:
    """Yield the plain files of a tar; BundleRejectedError for anything else."""
    limit = "plain files only"

    def plain(archive: tarfile.TarFile) -> Iterator[tuple[tarfile.TarInfo, BinaryIO]]:
        for entry in archive:
            content = archive.extractfile(entry) if entry.isreg() else None
            if content is None or entry.issparse() or entry.pax_headers:
                raise BundleRejectedError(source.name, "archive", f"{entry.name!r}", limit)
            yield entry, cast("BinaryIO", content)

    try:
        with tarfile.open(source, "r:") as archive:
            yield plain(archive)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise BundleRejectedError(source.name, "archive", error, "a plain tar") from error


def _rebuild(registry: Registry, staging: Path, manifest: Manifest) -> None:
    """Replace the delta in `staging` by the weights that it leads to."""
    with (staging / DELTA_NAME).open("rb") as delta:
        header = read_header(delta, manifest.label)
        base = _base(registry, header.base, manifest.label, DELTA_NAME)
        delta.seek(0)
        wanted = manifest.files[POLICY_NAME]
        with (
            (registry.path(base) / POLICY_NAME).open("rb") as old,
            (staging / POLICY_NAME).open("xb") as target,
        ):
            apply_delta(old, delta, target, wanted, manifest.label)
    (staging / DELTA_NAME).unlink()


def _merge(registry: Registry, staging: Path, manifest: Manifest) -> None:
    """Replace the adapter in `staging` by the weights that it leads to."""
    content = (staging / ADAPTER_NAME).read_bytes()
    header, _ = read_adapter(content, manifest.label)
    base = registry.load(_base(registry, header.base, manifest.label, ADAPTER_NAME))
    wanted = manifest.files[POLICY_NAME]
    whole = apply_adapter(base.policy_bytes, content, wanted, manifest.label)
    write_durably(staging / POLICY_NAME, whole)
    (staging / ADAPTER_NAME).unlink()


def _base(registry: Registry, manifest_hash: str, bundle: str, file: str) -> str:
    """Return the label of the base that a file names; BundleRejectedError when it is not here."""
    hashes = registry.releases().hashes
    base = next((label for label, found in hashes.items() if found == manifest_hash), "")
    if not base or not registry.path(base).is_dir():
        limit = f"a release that is here: {', '.join(hashes) or 'none'}"
        raise BundleRejectedError(bundle, f"{file} base", manifest_hash, limit)
    return base
