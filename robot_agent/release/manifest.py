"""The manifest of a bundle: what is in it, where it comes from, and its one spelling."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from robot_agent.core.errors import BundleRejectedError
from robot_agent.store.strict_json import canonical_json, parse_json_object

SCHEMA = 1
"""Version of the bundle format; readers refuse newer."""
MANIFEST_NAME, SIGNATURE_NAME = "manifest.json", "manifest.sig"
POLICY_NAME, GOLDEN_NAME = "policy.safetensors", "golden.safetensors"
NORMALIZATION_NAME, REPORT_NAME, ONNX_NAME = "normalization.json", "report.json", "policy.onnx"
REQUIRED_FILES = frozenset({POLICY_NAME, GOLDEN_NAME, NORMALIZATION_NAME, REPORT_NAME})
SETTINGS_NAME = "policy.json"
OPTIONAL_FILES = frozenset({ONNX_NAME, SETTINGS_NAME})
SIGNATURE_BYTES = 64
MAX_MANIFEST_BYTES = 1 << 20

_HASH = re.compile(r"[0-9a-f]{64}")
_FIELDS: dict[str, type] = {
    "schema": int,
    "version": int,
    "parent": str,
    "architecture": str,
    "action_space": str,
    "normalization": str,
    "key_id": str,
    "created": str,
    "provenance": dict,
    "files": dict,
}


@dataclass(frozen=True)
class FileRecord:
    """Size and hash of one file."""

    sha256: str
    size: int


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The signed part of a bundle."""

    version: int
    """Grows with every release of a robot; 1 or more."""
    parent: str
    """Hash of the manifest that these weights were trained from; empty for a first release."""
    architecture: str
    action_space: str
    normalization: str
    key_id: str
    created: str
    """Wall-clock time, UTC; for people only."""
    provenance: Mapping[str, Any]
    """Data, seeds, code and configuration that made the weights."""
    files: Mapping[str, FileRecord] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Return the one spelling, over which the signature goes."""
        files = {name: {"sha256": f.sha256, "size": f.size} for name, f in self.files.items()}
        plain = {name: getattr(self, name) for name in _FIELDS if name not in ("schema", "files")}
        return canonical_json({**plain, "schema": SCHEMA, "files": files})

    @property
    def hash(self) -> str:
        """SHA-256 of the manifest: the name of exactly these weights."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @property
    def label(self) -> str:
        """Short name for folders, logs and the version stamped on every action."""
        return f"v{self.version:04d}-{self.hash[:8]}"


def parse_manifest(content: bytes, bundle: str) -> Manifest:
    """Return the manifest that `content` spells; BundleRejectedError names what is wrong."""
    try:
        fields = parse_json_object(content, MAX_MANIFEST_BYTES)
        is_canonical = canonical_json(fields) == content
    except ValueError as error:
        raise BundleRejectedError(bundle, "manifest.json", error, "canonical JSON") from error
    if not is_canonical:
        raise BundleRejectedError(bundle, "manifest.json", "spelled freely", "canonical JSON")
    schema = fields.get("schema")
    if type(schema) is not int or schema != SCHEMA:
        raise BundleRejectedError(bundle, "manifest.json schema", schema, SCHEMA)
    if set(fields) != set(_FIELDS):
        differing = ", ".join(sorted(set(fields) ^ set(_FIELDS)))
        raise BundleRejectedError(bundle, "manifest.json fields", differing, "the known set")
    for name, kind in _FIELDS.items():
        if type(fields[name]) is not kind:
            got = type(fields[name]).__name__
            raise BundleRejectedError(bundle, f"manifest.json {name}", got, kind.__name__)
    _require_sane(fields, bundle)
    plain = {name: fields[name] for name in _FIELDS if name not in ("schema", "files")}
    return Manifest(**plain, files=_file_records(fields["files"], bundle))


def _require_sane(fields: Mapping[str, Any], bundle: str) -> None:
    if fields["version"] < 1:
        raise BundleRejectedError(bundle, "manifest.json version", fields["version"], "1 or more")
    if fields["parent"] and not _HASH.fullmatch(fields["parent"]):
        raise BundleRejectedError(bundle, "manifest.json parent", fields["parent"], "a SHA-256")


def _file_records(files: Mapping[str, Any], bundle: str) -> dict[str, FileRecord]:
    names = set(files)
    if not REQUIRED_FILES <= names <= REQUIRED_FILES | OPTIONAL_FILES:
        needed, allowed = (", ".join(sorted(part)) for part in (REQUIRED_FILES, OPTIONAL_FILES))
        wanted = f"{needed} and at most {allowed}"
        raise BundleRejectedError(bundle, "manifest.json files", sorted(names), wanted)
    records = {}
    for name, entry in files.items():
        fits = isinstance(entry, dict) and set(entry) == {"sha256", "size"}
        if not fits or type(entry["size"]) is not int or entry["size"] < 0:
            raise BundleRejectedError(bundle, f"manifest.json {name}", entry, "sha256 and size")
        if not isinstance(entry["sha256"], str) or not _HASH.fullmatch(entry["sha256"]):
            raise BundleRejectedError(bundle, f"manifest.json {name}", entry, "a SHA-256")
        records[name] = FileRecord(entry["sha256"], entry["size"])
    return records
