"""Which episodes stay: pins, the disk budget, and what may go when it is passed.

Nothing here runs by itself. Recording stops at the budget and never deletes; a person prunes.
"""

import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from robot_agent.core.config import require_range
from robot_agent.core.errors import InputError
from robot_agent.store.durable import (
    folder_lock,
    make_folder,
    replace_file,
    storage_errors,
    sync_folder,
)
from robot_agent.store.episode_store import EpisodeStore

PINS_NAME = ".pins"
_REMOVED_PREFIX = ".removed-"


@dataclass(frozen=True)
class Pruned:
    """What a prune did, or would do."""

    removed: tuple[str, ...]
    """Ids, oldest first."""
    kept: Mapping[str, str]
    """Episodes that would have gone but stay, with the reason."""
    bytes_before: int
    bytes_after: int


def pin(store: EpisodeStore, episode_id: str, reason: str) -> None:
    """Keep an episode whatever the budget says, until it is unpinned; the reason is kept too.

    Raises:
        EpisodeFormatError: There is no such episode.
        InputError: No reason is given.
    """
    store.describe(episode_id)
    if not reason.strip():
        raise InputError(f"pin {episode_id}: needs a reason, for whoever wonders later.")
    folder = store.folder / PINS_NAME
    with storage_errors("pinning an episode", folder):
        make_folder(folder)
        replace_file(folder / episode_id, f"{reason.strip()}\n".encode())


def unpin(store: EpisodeStore, episode_id: str) -> None:
    """Let an episode go with the others; InputError when it is not pinned."""
    path = store.folder / PINS_NAME / episode_id
    with storage_errors("unpinning an episode", path):
        if episode_id not in pins(store):
            raise InputError(f"unpin {episode_id}: is not pinned. See: robot-agent episodes list")
        path.unlink()
        sync_folder(path.parent)


def pins(store: EpisodeStore) -> dict[str, str]:
    """Return the pinned ids with their reasons."""
    folder = store.folder / PINS_NAME
    with storage_errors("reading pins", folder):
        found = sorted(folder.glob("[!.]*")) if folder.is_dir() else []
        return {path.name: path.read_text(encoding="utf-8").strip() for path in found}


def prune(
    store: EpisodeStore, budget_gb: float, needed: Mapping[str, str], *, is_dry: bool = False
) -> Pruned:
    """Delete the oldest episodes until the store fits its budget.

    Pinned ones and those that `needed` names (id: reason, such as the release that learned from
    it) stay, also when the budget cannot be met then. Each episode disappears by one rename.

    Raises:
        ValueError: The budget is not sensible.
        StorageError: The disk refused; what was removed before is gone, the rest is whole.
    """
    require_range("budget_gb", budget_gb, 0.0, 1e6, "GB")
    stays = {**needed, **{name: f"pinned: {why}" for name, why in pins(store).items()}}
    removed: list[str] = []
    kept: dict[str, str] = {}
    with storage_errors("pruning episodes", store.folder):
        before = left = store.size_bytes()
        for name in store.list():
            if left <= budget_gb * 1e9:
                break
            if name in stays:
                kept[name] = stays[name]
                continue
            left -= sum(path.stat().st_size for path in (store.folder / name).iterdir())
            removed.append(name)
        if not is_dry:
            _remove(store.folder, removed)
    return Pruned(tuple(removed), kept, before, left)


def _remove(folder: Path, names: list[str]) -> None:
    """Delete episodes; a crash leaves each whole or out of sight, to be deleted next time."""
    with folder_lock(folder):
        for name in names:
            (folder / name).rename(folder / f"{_REMOVED_PREFIX}{name}-{secrets.token_hex(3)}")
        sync_folder(folder)
        for path in folder.glob(f"{_REMOVED_PREFIX}*"):
            shutil.rmtree(path)
