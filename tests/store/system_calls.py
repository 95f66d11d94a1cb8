"""What a program really asked of the disk: its system calls, recorded by strace."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MISSING = (
    "NOT PROVEN HERE: strace is missing, so what a crash does at each system call was not tried. "
    "Install it: sudo apt install strace"
)
_FOLDERS = ("mkdir", "mkdirat")
_REMOVALS = ("unlink", "unlinkat", "rmdir")
_RENAMES = ("rename", "renameat", "renameat2")
_SYNCS = ("fsync", "fdatasync")
_UNMODELLED = (
    "truncate", "creat", "link", "linkat", "symlink", "symlinkat", "writev", "pwritev", "pwritev2",
    "copy_file_range", "sendfile", "fallocate", "sync_file_range",
)  # fmt: skip
_TRACED = (
    "open", "openat", "close", "lseek", "write", "pwrite64", "ftruncate",
    *_FOLDERS, *_REMOVALS, *_RENAMES, *_SYNCS, *_UNMODELLED,
)  # fmt: skip
_LINE = re.compile(r"\d+\s+(\w+)\((.*)\)\s+= (-?\d+)(<[^>]*>)?")
_PATH = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_DESCRIPTOR = re.compile(r"^(\d+|AT_FDCWD)<((?:\\x[0-9a-f]{2})*)>")


@dataclass(frozen=True)
class Op:
    """One change, sync or acknowledgement, in the order in which the kernel saw them."""

    kind: str
    """folder, file, cut, write, rename, remove, sync or ack."""
    path: str
    """Relative to the recorded folder."""
    target: str = ""
    """Where a rename leads."""
    offset: int = 0
    content: bytes = b""


@dataclass
class _Parser:
    root: str
    acks: str
    positions: dict[int, int] = field(default_factory=dict)
    existing: set[str] = field(default_factory=set)

    def take(self, line: str) -> Iterator[Op]:
        found = _LINE.match(line)
        if found is None:
            if "unfinished" in line or "resumed" in line:
                raise ValueError(f"two threads at once, must be one: {line[:200]}")
            return
        name, words, result = found[1], found[2], int(found[3])
        if result < 0:
            return
        if name in ("open", "openat"):
            yield from self._opened(words, result)
        elif name in ("write", "pwrite64"):
            yield from self._wrote(name, words, result)
        elif name == "ftruncate":
            path = self._inside(_descriptor_path(words))
            size = int(words.rsplit(", ", 1)[1])
            yield from [Op("cut", path, offset=size)] if path is not None else []
        elif name == "lseek":
            self.positions[int(words.split("<")[0])] = result
        else:
            yield from self._named(name, words)

    def _opened(self, words: str, descriptor: int) -> Iterator[Op]:
        self.positions[descriptor] = 0
        path = self._inside(_named_path(words, 0))
        if path is None:
            return
        if "O_APPEND" in words:
            raise ValueError(f"{path}: O_APPEND is not modelled")
        if "O_CREAT" in words and path not in self.existing:
            self.existing.add(path)
            yield Op("file", path)
        elif "O_TRUNC" in words:
            yield Op("cut", path)

    def _wrote(self, name: str, words: str, count: int) -> Iterator[Op]:
        full = _descriptor_path(words)
        texts = _PATH.findall(words)
        content = _unhex(texts[-1])[:count]
        if full == self.acks:
            yield Op("ack", content.decode().strip())
            return
        path = self._inside(full)
        descriptor = int(words.split("<", maxsplit=1)[0])
        offset = int(words.rsplit(", ", 1)[1]) if name == "pwrite64" else 0
        if name == "write":
            offset = self.positions[descriptor] if path is not None else 0
            self.positions[descriptor] = offset + count
        if path is not None:
            if len(content) != count:
                raise ValueError(f"{path}: strace kept {len(content)} of {count} bytes")
            yield Op("write", path, offset=offset, content=content)

    def _named(self, name: str, words: str) -> Iterator[Op]:
        if name in _SYNCS:
            path = self._inside(_descriptor_path(words))
            yield from [Op("sync", path)] if path is not None else []
        elif name in _FOLDERS and (path := self._inside(_named_path(words, 0))) is not None:
            yield Op("folder", path)
        elif name in _REMOVALS and (path := self._inside(_named_path(words, 0))) is not None:
            self.existing.discard(path)
            yield Op("remove", path)
        elif name in _RENAMES and (path := self._inside(_named_path(words, 0))) is not None:
            target = self._inside(_named_path(words, 1))
            if target is None:
                raise ValueError(f"{path}: leaves the recorded folder")
            self._move(path, target)
            yield Op("rename", path, target)
        elif name in _UNMODELLED and self.root in _all_paths(words):
            raise ValueError(f"{name} is not modelled: {words[:200]}")

    def _move(self, path: str, target: str) -> None:
        moved = {p for p in self.existing if p == path or p.startswith(f"{path}/")}
        self.existing -= moved
        self.existing |= {target + p[len(path) :] for p in moved}

    def _inside(self, path: str) -> str | None:
        if path == self.root:
            return ""
        return path[len(self.root) + 1 :] if path.startswith(f"{self.root}/") else None


def record(arguments: Sequence[str], root: Path, acks: Path) -> list[Op]:
    """Run a module of the tests under strace; return what it did to the empty folder `root`."""
    require_strace()
    log = acks.with_name("strace.log")
    words = ["strace", "-f", "-y", "-xx", "-s", str(1 << 24), "-e", f"trace={','.join(_TRACED)}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run(
        [*words, "-o", str(log), sys.executable, "-m", *arguments],
        cwd=ROOT, env=environment, check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    parser = _Parser(os.path.realpath(root), os.path.realpath(acks))
    with log.open() as lines:
        return [op for line in lines for op in parser.take(line)]


def require_strace() -> None:
    """Skip with a reason that the summary of the tests repeats."""
    if shutil.which("strace") is None:
        pytest.skip(MISSING)


def _descriptor_path(words: str) -> str:
    found = _DESCRIPTOR.match(words)
    return _unhex(found[2]).decode() if found else ""


def _named_path(words: str, index: int) -> str:
    """Return the index-th path of a call, resolved against the descriptor before it."""
    parts = words.split(", ")
    texts = [number for number, part in enumerate(parts) if _PATH.fullmatch(part)]
    if len(texts) <= index:
        return ""
    number = texts[index]
    path = _unhex(parts[number][1:-1]).decode()
    base = _descriptor_path(parts[number - 1]) if number else ""
    return os.path.normpath(Path(base, path) if base else path)


def _all_paths(words: str) -> str:
    return _unhex("".join(re.findall(r"(?:\\x[0-9a-f]{2})+", words))).decode(errors="replace")


def _unhex(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))
