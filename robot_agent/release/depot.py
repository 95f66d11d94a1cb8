"""The bundles of a registry on disk: copied whole, verified as copied, removed whole."""

import io
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from robot_agent.core.errors import BundleRejectedError
from robot_agent.release.bundle import Bundle
from robot_agent.release.bundle_reader import named, read_bundle
from robot_agent.release.manifest import (
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    SIGNATURE_NAME,
    Manifest,
)
from robot_agent.release.signing import Keyring
from robot_agent.store.durable import (
    folder_lock,
    make_folder,
    publish_folder,
    read_in_pieces,
    require_free_space,
    storage_errors,
    sync_folder,
    try_folder_lock,
    write_durably,
)

_STAGING = ".tmp-"


class Depot:
    """Bundles by label. Which of them count is the journal's business, not this folder's."""

    def __init__(self, folder: Path, keyring: Keyring) -> None:
        """Use `folder`, made when it is missing."""
        self._folder, self._keyring = folder, keyring
        with storage_errors("making the registry", folder):
            make_folder(folder)

    def path(self, label: str) -> Path:
        """Return the folder of a bundle."""
        return self._folder / label

    def load(self, label: str, manifest_hash: str) -> Bundle:
        """Read and check a bundle; it must be the one that the journal knows by its hash."""
        bundle = read_bundle(self.path(label), self._keyring, allow_retired=True)
        if bundle.manifest.hash != manifest_hash:
            raise BundleRejectedError(
                label, "manifest.json sha256", bundle.manifest.hash, manifest_hash
            )
        return bundle

    def is_sound(self, label: str, hashes: Mapping[str, str]) -> bool:
        """Return whether a bundle is there and passes every check."""
        if not label:
            return False
        try:
            self.load(label, hashes[label])
        except BundleRejectedError:
            return False
        return True

    def first_sound(self, labels: Sequence[str], hashes: Mapping[str, str]) -> str:
        """Return the first sound bundle of `labels`, or ""."""
        return next((label for label in labels if self.is_sound(label, hashes)), "")

    @contextmanager
    def staged(self, source: Path, manifest: Manifest, floor_bytes: int) -> Iterator[Path]:
        """Copy what the signed manifest names to a hidden folder and verify the copy.

        The folder is locked inside the block and gone after it, unless it was shelved.

        Raises:
            BundleRejectedError: The copy fails a check.
            StorageError: Less space than two copies need above the floor, or the disk refused.
        """
        size = sum(record.size for record in manifest.files.values())
        require_free_space(self._folder, 2 * size, floor_bytes)
        staging = self._folder / f"{_STAGING}{manifest.label}-{secrets.token_hex(3)}"
        with storage_errors("copying a bundle", staging):
            staging.mkdir()
        try:
            with storage_errors("copying a bundle", staging), folder_lock(staging):
                for name in (*manifest.files, MANIFEST_NAME, SIGNATURE_NAME):
                    write_durably(staging / name, _read_bounded(source / name, manifest))
                with named(source.name):
                    copied = read_bundle(staging, self._keyring).manifest
                if copied != manifest:
                    raise BundleRejectedError(source.name, "manifest.json", "changing", "at rest")
                yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def shelve(self, staging: Path, label: str) -> None:
        """Make a staged bundle visible; replaces what a crash left there without a record."""
        self.remove(label)
        publish_folder(staging, self.path(label))

    def remove(self, label: str) -> bool:
        """Delete a bundle, out of sight first; return whether it was there."""
        if not self.path(label).exists():
            return False
        hidden = self._folder / f"{_STAGING}removed-{label}-{secrets.token_hex(3)}"
        self.path(label).rename(hidden)
        sync_folder(self._folder)
        shutil.rmtree(hidden)
        return True

    def sweep(self) -> int:
        """Delete the hidden folders that crashes left, never one in use; return how many."""
        swept = 0
        for leftover in self._folder.glob(f"{_STAGING}*"):
            lock = try_folder_lock(leftover)
            if lock is not None:
                shutil.rmtree(leftover, ignore_errors=True)
                os.close(lock)
                swept += 1
        return swept


def _read_bounded(path: Path, manifest: Manifest) -> bytes:
    record = manifest.files.get(path.name)
    limit = record.size if record else MAX_MANIFEST_BYTES
    with io.FileIO(path, "rb") as file:
        content = read_in_pieces(file, min(os.fstat(file.fileno()).st_size, limit))
    if len(content) > limit:
        raise BundleRejectedError(manifest.label, f"{path.name} size", f"above {limit}", limit)
    return content
