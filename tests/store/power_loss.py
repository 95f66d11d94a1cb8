"""Every disk that a loss of power could leave: what was not synced is dropped, reordered, torn.

The model is pessimistic, as POSIX permits: the bytes of a file are safe after an fsync of the
file, its name after an fsync of its folder, a rename after an fsync of both folders; anything else
may or may not be there, each change alone. Kernel and disk may be kinder. Method: Pillai et al.,
"All File Systems Are Not Created Equal" (OSDI 2014).
"""

from __future__ import annotations

import itertools
import random
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.store.system_calls import Op

_PIECES = 8
"""A torn write ends after 0 to 7 eighths of its bytes ..."""
_ZEROS = -1
"""... or has its length and none of its bytes."""
_WHOLE = _PIECES

Tree = tuple[tuple[str, bytes | None], ...]
"""Paths with their contents, None for a folder; a folder comes before what is in it."""


@dataclass
class _Effect:
    """One change of one object: independent of where that object lies."""

    kind: str
    """enter, leave, move, write or cut."""
    node: int
    """The folder, or the file whose bytes change."""
    name: str = ""
    child: int = 0
    to_node: int = 0
    to_name: str = ""
    offset: int = 0
    content: bytes = b""
    unsynced: set[int] = field(default_factory=set)
    """Objects that must still be synced."""
    durable_at: int | None = None


@dataclass(frozen=True)
class Crash:
    """A disk after the loss of power, and what the program had reported by then."""

    tree: Tree
    acks: tuple[str, ...]


class Recorded:
    """A run of a program as effects, each with the moment from which it is safe."""

    def __init__(self, ops: Sequence[Op]) -> None:
        """Follow `ops` from an empty folder."""
        self._effects: list[_Effect] = []
        self._entries: dict[int, dict[str, int]] = {0: {}}
        self._next = itertools.count(1)
        self._after: list[tuple[int, tuple[str, ...]]] = [(0, ())]
        self._contents: dict[tuple[int, tuple[tuple[int, int], ...]], bytes] = {}
        for number, op in enumerate(ops, 1):
            self._take(op, number)
            acks = self._after[-1][1] + ((op.path,) if op.kind == "ack" else ())
            self._after.append((len(self._effects), acks))

    def crashes(self, seed: int, every: int = 12, samples: int = 64) -> Iterator[Crash]:
        """Yield the disks that a loss of power after each operation could leave.

        All subsets of up to `every` unsynced changes are tried; of more, the empty and the full
        one, each change alone and missing, each beginning, and `samples` drawn at random. Each
        unsynced write also comes cut at several places, and as zeros. Disks repeat.
        """
        chance = random.Random(seed)
        for number, (count, acks) in enumerate(self._after):
            effects = range(count)
            pending = [e for e in effects if not self._is_safe(e, number)]
            safe = set(effects) - set(pending)
            for chosen in _subsets(pending, chance, every, samples):
                yield Crash(self._tree(safe | set(chosen), {}), acks)
            for torn in (e for e in pending if self._effects[e].kind == "write"):
                for how, others in itertools.product(range(_ZEROS, _PIECES), (pending, [])):
                    yield Crash(self._tree(safe | {torn, *others}, {torn: how}), acks)

    def _is_safe(self, effect: int, number: int) -> bool:
        durable_at = self._effects[effect].durable_at
        return durable_at is not None and durable_at <= number

    def _take(self, op: Op, number: int) -> None:
        if op.kind == "sync":
            self._sync(self._find(op.path), number)
        elif op.kind in ("folder", "file"):
            folder, name = self._parent(op.path)
            child = next(self._next)
            if op.kind == "folder":
                self._entries[child] = {}
            self._entries[folder][name] = child
            self._add(_Effect("enter", folder, name, child))
        elif op.kind == "remove":
            folder, name = self._parent(op.path)
            del self._entries[folder][name]
            self._add(_Effect("leave", folder, name))
        elif op.kind == "rename":
            folder, name = self._parent(op.path)
            to_node, to_name = self._parent(op.target)
            self._entries[to_node][to_name] = self._entries[folder].pop(name)
            self._add(_Effect("move", folder, name, to_node=to_node, to_name=to_name))
        elif op.kind in ("write", "cut"):
            node = self._find(op.path)
            self._add(_Effect(op.kind, node, offset=op.offset, content=op.content))

    def _add(self, effect: _Effect) -> None:
        effect.unsynced = {effect.node, effect.to_node if effect.kind == "move" else effect.node}
        self._effects.append(effect)

    def _sync(self, node: int, number: int) -> None:
        for effect in self._effects:
            effect.unsynced.discard(node)
            if not effect.unsynced and effect.durable_at is None:
                effect.durable_at = number

    def _parent(self, path: str) -> tuple[int, str]:
        folder, _, name = path.rpartition("/")
        return self._find(folder), name

    def _find(self, path: str) -> int:
        node = 0
        for name in path.split("/") if path else ():
            node = self._entries[node][name]
        return node

    def _tree(self, applied: Collection[int], torn: dict[int, int]) -> Tree:
        entries: dict[int, dict[str, int]] = {node: {} for node in self._entries}
        changes: dict[int, list[tuple[int, int]]] = {}
        for number in sorted(applied):
            effect = self._effects[number]
            if effect.kind == "enter":
                entries[effect.node][effect.name] = effect.child
            elif effect.kind == "leave":
                entries[effect.node].pop(effect.name, None)
            elif effect.kind == "move":
                child = entries[effect.node].pop(effect.name, None)
                if child is not None:
                    entries[effect.to_node][effect.to_name] = child
            else:
                changes.setdefault(effect.node, []).append((number, torn.get(number, _WHOLE)))
        return tuple(self._walk(0, "", entries, changes))

    def _walk(
        self,
        node: int,
        path: str,
        entries: dict[int, dict[str, int]],
        changes: dict[int, list[tuple[int, int]]],
    ) -> Iterator[tuple[str, bytes | None]]:
        for name, child in sorted(entries[node].items()):
            inner = f"{path}/{name}" if path else name
            if child in entries:
                yield inner, None
                yield from self._walk(child, inner, entries, changes)
            else:
                yield inner, self._content(child, tuple(changes.get(child, ())))

    def _content(self, node: int, numbers: tuple[tuple[int, int], ...]) -> bytes:
        if (node, numbers) not in self._contents:
            content = bytearray()
            for number, how in numbers:
                effect = self._effects[number]
                if effect.kind == "cut":
                    del content[effect.offset :]
                    continue
                written = effect.content
                cut = written[: len(written) * how // _PIECES]
                written = bytes(len(written)) if how == _ZEROS else cut
                content.extend(bytes(max(0, effect.offset - len(content))))
                content[effect.offset : effect.offset + len(written)] = written
            self._contents[node, numbers] = bytes(content)
        return self._contents[node, numbers]


def _subsets(
    pending: Sequence[int], chance: random.Random, every: int, samples: int
) -> Iterator[Iterable[int]]:
    if len(pending) <= every:
        for size in range(len(pending) + 1):
            yield from itertools.combinations(pending, size)
        return
    yield from (pending[:size] for size in range(len(pending) + 1))
    for one in pending:
        yield [one]
        yield [other for other in pending if other != one]
    for _ in range(samples):
        yield [one for one in pending if chance.random() < 0.5]


def write_tree(tree: Tree, folder: Path) -> None:
    """Make a disk real in an empty folder."""
    for path, content in tree:
        if content is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(content)


def without_syncs(ops: Iterable[Op], *, folders_only: bool) -> list[Op]:
    """Return what a program that forgot to sync (only its folders) would have done."""
    known = list(ops)
    files = {op.path for op in known if op.kind in ("file", "write", "cut")}
    files |= {op.target for op in known if op.kind == "rename" and op.path in files}
    return [op for op in known if op.kind != "sync" or (folders_only and op.path in files)]


Check = Callable[[Path, Sequence[str]], list[str]]
"""Returns what is broken on a disk, given what the program had reported."""


def replay(
    ops: Sequence[Op], check: Check, disk: Path, share: int
) -> tuple[int, int, list[tuple[tuple[str, ...], str]]]:
    """Check every `share`-th different disk; return crashes, different disks, what broke."""
    seen: dict[Crash, None] = {}
    crashes = 0
    for crash in Recorded(ops).crashes(seed=5):
        crashes += 1
        seen.setdefault(crash)
    bad = [(c.acks, problem) for c in list(seen)[::share] for problem in _found(c, check, disk)]
    return crashes, len(seen), bad


def breaks(ops: Sequence[Op], check: Check, disk: Path, share: int = 10) -> bool:
    """Return whether one of every `share` crashes breaks something; ends at the first."""
    crashes = Recorded(ops).crashes(seed=5, every=4, samples=4)
    return any(_found(crash, check, disk) for crash in itertools.islice(crashes, 0, None, share))


def _found(crash: Crash, check: Check, disk: Path) -> list[str]:
    disk.mkdir()
    write_tree(crash.tree, disk)
    try:
        return check(disk, crash.acks)
    finally:
        shutil.rmtree(disk)
