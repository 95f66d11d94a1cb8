"""Reading a bundle: every check before the first tensor is used, on the very bytes it will use."""

import hashlib
import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robot_agent.core.bridge_action import Normalization
from robot_agent.core.config import require_range
from robot_agent.core.errors import BundleRejectedError, InputError
from robot_agent.core.types import ACTION_DIM
from robot_agent.release.bundle import Bundle, GoldenSet
from robot_agent.release.manifest import (
    GOLDEN_NAME,
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    NORMALIZATION_NAME,
    ONNX_NAME,
    OPTIONAL_FILES,
    POLICY_NAME,
    REPORT_NAME,
    REQUIRED_FILES,
    SETTINGS_NAME,
    SIGNATURE_BYTES,
    SIGNATURE_NAME,
    Manifest,
    parse_manifest,
)
from robot_agent.release.signing import Keyring
from robot_agent.release.tensors import first_not_finite, load_tensors, summarize
from robot_agent.store.durable import read_in_pieces, storage_errors
from robot_agent.store.strict_json import parse_json_object

_KNOWN_FILES = REQUIRED_FILES | OPTIONAL_FILES | {MANIFEST_NAME, SIGNATURE_NAME}


@dataclass(frozen=True, kw_only=True)
class BundleLimits:
    """Largest sizes that are read at all; a hostile peer cannot fill the memory."""

    max_policy_gb: float = 40.0
    max_golden_mb: float = 256.0
    max_json_mb: float = 8.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        require_range("max_policy_gb", self.max_policy_gb, 0.0, 1000.0, "GB")
        require_range("max_golden_mb", self.max_golden_mb, 0.0, 1e5, "MB")
        require_range("max_json_mb", self.max_json_mb, 0.0, 1000.0, "MB")

    def max_bytes(self, name: str) -> int:
        """Return the largest size of a file."""
        if name in (POLICY_NAME, ONNX_NAME):
            return round(self.max_policy_gb * 1e9)
        if name == GOLDEN_NAME:
            return round(self.max_golden_mb * 1e6)
        return round(self.max_json_mb * 1e6)


def read_bundle(
    folder: Path,
    keyring: Keyring,
    *,
    min_version: int = 1,
    limits: BundleLimits | None = None,
    allow_retired: bool = False,
) -> Bundle:
    """Return the bundle in `folder` after checking all of it.

    With `allow_retired` a key that is no longer in use counts too: for releases that were taken
    in while it was.

    Order: folder, exact set of plain files, signature over the manifest by a trusted key, schema
    and fields, version, sizes, hashes, tensors, finite numbers. Each file is opened once and the
    bytes that were hashed are the bytes that are used.

    Raises:
        BundleRejectedError: Names the file, the check, the value and the limit.
        StorageError: The disk cannot be read.
    """
    name = folder.name
    limits = limits or BundleLimits()
    manifest, role = read_manifest(folder, keyring, allow_retired=allow_retired)
    if manifest.version < min_version:
        raise BundleRejectedError(name, "version", manifest.version, f"{min_version} or more")
    with storage_errors("reading a bundle", folder):
        present = _list_files(folder)
        wanted = set(manifest.files) | {MANIFEST_NAME, SIGNATURE_NAME}
        if present != wanted:
            raise BundleRejectedError(name, "file set", sorted(present), sorted(wanted))
        contents = {
            file: _read_checked(folder, file, manifest, limits.max_bytes(file))
            for file in sorted(manifest.files)
        }
    return _decode(manifest, contents, role)


@contextmanager
def named(bundle: str) -> Iterator[None]:
    """Say of `bundle` what is wrong with a copy of it that nobody knows by name."""
    try:
        yield
    except BundleRejectedError as error:
        raise BundleRejectedError(bundle, error.check, error.value, error.limit) from error


def read_manifest(
    folder: Path, keyring: Keyring, *, allow_retired: bool = False
) -> tuple[Manifest, str]:
    """Return the manifest of a bundle and the role of the trusted key that signed it.

    Raises:
        BundleRejectedError: A file is foreign, no plain file or too long, or the signature is not
            by a trusted key.
    """
    name = folder.name
    with storage_errors("reading a bundle", folder):
        present = _list_files(folder)
        for file in (MANIFEST_NAME, SIGNATURE_NAME):
            if file not in present:
                raise BundleRejectedError(name, "file set", f"without {file}", f"with {file}")
        signed = _read_plain(folder, MANIFEST_NAME, MAX_MANIFEST_BYTES)
        signature = _read_plain(folder, SIGNATURE_NAME, SIGNATURE_BYTES)
    return verify_manifest(signed, signature, keyring, name, allow_retired=allow_retired)


def verify_manifest(
    signed: bytes, signature: bytes, keyring: Keyring, bundle: str, *, allow_retired: bool = False
) -> tuple[Manifest, str]:
    """Return the manifest that `signed` spells and the role of the trusted key that signed it.

    Raises:
        BundleRejectedError: It is spelled wrong, or not signed by a trusted key.
    """
    manifest = parse_manifest(signed, bundle)
    key = keyring.get(manifest.key_id)
    if key is None:
        raise BundleRejectedError(bundle, "signature key", manifest.key_id, "a trusted key")
    if key.is_retired and not allow_retired:
        raise BundleRejectedError(bundle, "signature key", f"{manifest.key_id}, retired", "in use")
    if not key.has_signed(signed, signature):
        raise BundleRejectedError(bundle, "signature", "invalid", f"by key {manifest.key_id}")
    return manifest, key.role


def _list_files(folder: Path) -> set[str]:
    if folder.is_symlink() or not folder.is_dir():
        raise BundleRejectedError(folder.name, "folder", "a link or missing", "a plain folder")
    present = set()
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name not in _KNOWN_FILES:
                raise BundleRejectedError(
                    folder.name, "file set", f"with {entry.name!r}", sorted(_KNOWN_FILES)
                )
            if not entry.is_file(follow_symlinks=False):
                raise BundleRejectedError(folder.name, entry.name, "no plain file", "a plain file")
            present.add(entry.name)
    return present


@contextmanager
def _open_plain(folder: Path, file: str, max_bytes: int) -> Iterator[io.FileIO]:
    """Open a plain file of at most `max_bytes`; never follows a link or waits for a pipe."""
    descriptor = os.open(folder / file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with io.FileIO(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise BundleRejectedError(folder.name, file, "no plain file", "a plain file")
        if status.st_size > max_bytes:
            limit = f"at most {max_bytes} bytes"
            raise BundleRejectedError(folder.name, f"{file} size", status.st_size, limit)
        yield stream


def _read_plain(folder: Path, file: str, max_bytes: int) -> bytes:
    with _open_plain(folder, file, max_bytes) as stream:
        return stream.read(max_bytes + 1)


def _read_checked(folder: Path, file: str, manifest: Manifest, max_bytes: int) -> bytes:
    record, digest = manifest.files[file], hashlib.sha256()
    if record.size > max_bytes:
        limit = f"at most {max_bytes} bytes"
        raise BundleRejectedError(folder.name, f"{file} size", record.size, limit)
    with _open_plain(folder, file, record.size) as stream:
        present = os.fstat(stream.fileno()).st_size
        content = read_in_pieces(stream, present, digest.update)
    if len(content) != record.size:
        raise BundleRejectedError(folder.name, f"{file} size", len(content), record.size)
    if digest.hexdigest() != record.sha256:
        raise BundleRejectedError(folder.name, f"{file} sha256", digest.hexdigest(), record.sha256)
    return content


def _decode(manifest: Manifest, contents: dict[str, bytes], role: str) -> Bundle:
    name = manifest.label
    try:
        summaries = summarize(contents[POLICY_NAME])
    except ValueError as error:
        raise BundleRejectedError(name, POLICY_NAME, error, "known tensor types") from error
    broken = first_not_finite(summaries)
    if broken is not None:
        raise BundleRejectedError(name, f"{POLICY_NAME} {broken}", "not finite", "finite")
    settings = contents.get(SETTINGS_NAME)
    return Bundle(
        manifest=manifest,
        policy_bytes=contents[POLICY_NAME],
        golden=_golden(contents[GOLDEN_NAME], name),
        normalization=_normalization(contents[NORMALIZATION_NAME], manifest),
        report=_json(contents[REPORT_NAME], REPORT_NAME, name),
        onnx=contents.get(ONNX_NAME),
        settings=None if settings is None else _json(settings, SETTINGS_NAME, name),
        summaries=summaries,
        signed_by=role,
    )


def _golden(content: bytes, name: str) -> GoldenSet:
    try:
        tensors = load_tensors(content)
        return GoldenSet(
            images_nhwc=tensors["images"],
            instruction_ids=tensors["instruction_ids"],
            actions=tensors["actions"],
            proprio=tensors["proprio"],
        )
    except (ValueError, KeyError, InputError) as error:
        raise BundleRejectedError(name, GOLDEN_NAME, error, "a golden set") from error


def _normalization(content: bytes, manifest: Manifest) -> Normalization:
    values = _json(content, NORMALIZATION_NAME, manifest.label)
    q01, q99 = values.get("q01"), values.get("q99")
    numbers = [*q01, *q99] if isinstance(q01, list) and isinstance(q99, list) else []
    fits = (
        set(values) == {"name", "q01", "q99"}
        and values["name"] == manifest.normalization
        and all(type(number) is float for number in numbers)
        and len(q01 or ()) == len(q99 or ()) == ACTION_DIM
        and all(low < high for low, high in zip(q01 or (), q99 or (), strict=True))
    )
    if not fits:
        limit = f"name {manifest.normalization!r} and {ACTION_DIM} times q01 < q99"
        raise BundleRejectedError(manifest.label, NORMALIZATION_NAME, values, limit)
    return Normalization(tuple(q01 or ()), tuple(q99 or ()), manifest.normalization)


def _json(content: bytes, file: str, name: str) -> dict[str, Any]:
    try:
        return parse_json_object(content, len(content))
    except ValueError as error:
        raise BundleRejectedError(name, file, error, "a JSON object") from error
