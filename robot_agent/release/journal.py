"""An append-only, hash-chained, fsynced list of records: the one truth of the registry."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robot_agent.core.clock import wall_stamp
from robot_agent.core.errors import StorageError
from robot_agent.store.durable import storage_errors, sync_folder
from robot_agent.store.strict_json import canonical_json, parse_json_object

_FIRST = "0" * 64


class Journal:
    """Records in one file, one a line, each holding its own hash and that of the line before.

    A record counts once its line is whole; what a crash left of a line is cut off before the next
    append. A changed or missing line in the middle is refused, never repaired in silence.
    Callers hold the folder's lock around `append`.
    """

    def __init__(self, path: Path) -> None:
        """Use the file at `path`; it is made by the first append."""
        self._path = path

    def read(self) -> list[dict[str, Any]]:
        """Return every whole record, oldest first; StorageError when the chain is broken."""
        return [record for record, _ in self._read_lines()[0]]

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a record and make it durable before returning."""
        lines, whole_bytes = self._read_lines()
        previous = lines[-1][1] if lines else _FIRST
        content = {**record, "n": len(lines), "previous": previous, "at": wall_stamp()}
        content["sha256"] = _hash(content)
        with storage_errors("appending to the journal", self._path):
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                os.ftruncate(descriptor, whole_bytes)
                _write_at(descriptor, canonical_json(content) + b"\n", whole_bytes)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            # Always: whoever began the file may have been killed before its name was durable.
            sync_folder(self._path.parent)

    def _read_lines(self) -> tuple[list[tuple[dict[str, Any], str]], int]:
        """Return (record, its hash) of every whole line, and the bytes they take."""
        with storage_errors("reading the journal", self._path):
            content = self._path.read_bytes() if self._path.exists() else b""
        whole_bytes = content.rfind(b"\n") + 1
        lines: list[tuple[dict[str, Any], str]] = []
        previous = _FIRST
        for number, line in enumerate(content[:whole_bytes].split(b"\n")[:-1]):
            record = self._parse(line, number, previous)
            previous = record["sha256"]
            lines.append((record, previous))
        return lines, whole_bytes

    def _parse(self, line: bytes, number: int, previous: str) -> dict[str, Any]:
        try:
            record = parse_json_object(line)
        except ValueError as error:
            raise self._broken(number, str(error)) from error
        if record.get("sha256") != _hash(record) or canonical_json(record) != line:
            raise self._broken(number, "its hash does not match")
        if record.get("n") != number or record.get("previous") != previous:
            raise self._broken(number, "does not follow the line before")
        return record

    def _broken(self, number: int, why: str) -> StorageError:
        return StorageError(
            f"{self._path}: line {number + 1} is damaged ({why}), must be chained to the line "
            f"before. Restore the file from a backup, or begin a new registry with the factory "
            f"release."
        )


def _write_at(descriptor: int, content: bytes, offset: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _hash(record: Mapping[str, Any]) -> str:
    plain = {key: value for key, value in record.items() if key != "sha256"}
    return hashlib.sha256(canonical_json(plain)).hexdigest()
