"""Bases: the many gigabytes that releases build on, kept once beside a registry, named by hash."""

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

from robot_agent.core.errors import BaseRejectedError, BundleRejectedError, ConfigError
from robot_agent.release.manifest import SETTINGS_NAME
from robot_agent.store.durable import (
    folder_lock,
    make_folder,
    publish_folder,
    require_free_space,
    storage_errors,
    write_durably,
)
from robot_agent.store.strict_json import canonical_json, parse_json_object

BASES = "bases"
"""Folder beside the bundles of a registry."""
LISTING = "base.json"
_TAKEN = (".safetensors", ".json")
"""What is taken in of a published folder: never code, never a pickle."""
_MAX_JSON_BYTES = 64 << 20
_BLOCK = 16 << 20
_NAME = re.compile(r"[0-9a-f]{64}")
_STAGING = ".tmp-"


def take_base(source: Path, releases: Path) -> str:
    """Copy the safetensors and JSON of a published folder beside a registry; return its name.

    The name is the SHA-256 of the listing of every file's size and SHA-256, so that the same
    folder has the same name on every machine. Taken in twice, it is kept once.

    Raises:
        ConfigError: `source` is no folder, or holds no safetensors.
        StorageError: Less space than the copy needs, or the disk refused.
    """
    files = _files_of(source)
    bases = releases / BASES
    staging = bases / f"{_STAGING}{secrets.token_hex(4)}"
    with storage_errors("taking in a base", bases):
        make_folder(bases)
    with storage_errors("taking in a base", bases), folder_lock(bases):
        for leftover in bases.glob(f"{_STAGING}*"):  # of a crash: nobody else holds the lock
            shutil.rmtree(leftover)
        require_free_space(bases, sum(path.stat().st_size for path in files), 1 << 29)
        staging.mkdir()
        try:
            listing = {path.name: _copy(path, staging / path.name) for path in files}
            content = canonical_json({"files": listing})
            write_durably(staging / LISTING, content)
            name = hashlib.sha256(content).hexdigest()
            if not (bases / name).exists():
                publish_folder(staging, bases / name)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return name


def require_base(releases: Path, name: str) -> Path:
    """Return the folder of a base after reading every byte of it.

    Raises:
        BaseRejectedError: It is not here, or a file is missing, foreign, a link, or changed.
    """
    if not _NAME.fullmatch(name):
        raise BaseRejectedError(name[:12], "base", repr(name), "a SHA-256")
    folder = releases / BASES / name
    if not (folder / LISTING).is_file():
        raise BaseRejectedError(
            name[:12],
            "base",
            f"not in {releases / BASES}",
            "taken in here: robot-agent weights import FOLDER --from openvla-oft (or its like)",
        )
    with storage_errors("reading a base", folder):
        content = (folder / LISTING).read_bytes()
        if hashlib.sha256(content).hexdigest() != name:
            raise BaseRejectedError(name[:12], LISTING, "changed", "what its name says")
        listing = _listing(content, name)
        present = {path.name for path in folder.iterdir()} - {LISTING}
        if present != set(listing):
            differing = ", ".join(sorted(present ^ set(listing)))
            raise BaseRejectedError(name[:12], "files of the base", differing, "those listed")
        for file, record in listing.items():
            _require_same(folder / file, record, name)
    return folder


def used_bases(releases: Path) -> set[str]:
    """Return the bases that the bundles of a registry name, whatever their state."""
    with storage_errors("reading the settings of releases", releases):
        return {base_of(path.parent) for path in releases.glob(f"bundles/*/{SETTINGS_NAME}")}


def base_of(bundle: Path) -> str:
    """Return the base that the bundle in a folder names; empty when it stands on none.

    Raises:
        BundleRejectedError: Its settings are no JSON.
    """
    path = bundle / SETTINGS_NAME
    if not path.exists():
        return ""
    try:
        return str(parse_json_object(path.read_bytes()).get("base"))
    except ValueError as error:
        raise BundleRejectedError(bundle.name, path.name, error, "JSON") from error


def collect_bases(releases: Path, used: Collection[str]) -> list[str]:
    """Delete the bases that no release in `used` names; return their names."""
    bases = releases / BASES
    if not bases.is_dir():
        return []
    found = [path for path in sorted(bases.iterdir()) if _NAME.fullmatch(path.name)]
    past = [path for path in found if path.name not in used]
    with storage_errors("deleting bases", bases), folder_lock(bases):
        for path in past:
            shutil.rmtree(path)
    return [path.name for path in past]


def _files_of(source: Path) -> list[Path]:
    if not source.is_dir():
        raise ConfigError(f"{source}: is no folder, must be one of published weights.")
    files = sorted(path for path in source.iterdir() if path.suffix in _TAKEN and path.is_file())
    if not any(path.suffix == ".safetensors" for path in files):
        found = ", ".join(sorted(path.name for path in source.iterdir())[:8]) or "nothing"
        raise ConfigError(
            f"{source}: holds no .safetensors, only {found}. Pickled weights (.bin, .pt) are "
            f"never opened: convert them where you trust them, with safetensors.torch.save_file."
        )
    for path in files:
        size = path.stat().st_size
        if path.suffix == ".json" and size > _MAX_JSON_BYTES:
            raise ConfigError(f"{path}: has {size} bytes, limit {_MAX_JSON_BYTES} for JSON.")
    return files


def _copy(source: Path, target: Path) -> dict[str, Any]:
    """Copy a file durably; return its size and hash as they were written."""
    digest, size = hashlib.sha256(), 0
    with source.open("rb") as read, target.open("wb") as written:
        while block := read.read(_BLOCK):
            digest.update(block)
            written.write(block)
            size += len(block)
        written.flush()
        os.fsync(written.fileno())
    target.chmod(0o444)
    return {"sha256": digest.hexdigest(), "size": size}


def _listing(content: bytes, name: str) -> dict[str, Any]:
    try:
        files = parse_json_object(content)["files"]
        return {str(file): dict(record) for file, record in files.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BaseRejectedError(name[:12], LISTING, error, "a listing of files") from error


def _require_same(path: Path, record: dict[str, Any], name: str) -> None:
    if path.is_symlink() or not path.is_file():
        raise BaseRejectedError(name[:12], path.name, "no plain file", "a plain file")
    size = path.stat().st_size
    if size != record["size"]:
        raise BaseRejectedError(name[:12], f"{path.name} size", size, record["size"])
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 != record["sha256"]:
        raise BaseRejectedError(name[:12], f"{path.name} sha256", sha256, record["sha256"])
