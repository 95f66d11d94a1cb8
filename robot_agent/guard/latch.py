"""Keeps the latched causes on disk, so that a guard that restarts comes up stopped.

The node calls `save` when `GuardState.latched` changes, before it sends the next command, and
`load` once at the start. The pure step function knows nothing of this.
"""

import json
import os
from pathlib import Path

from robot_agent.core.errors import StorageError
from robot_agent.guard.reactions import REACTIONS

SCHEMA_VERSION = 1
UNREADABLE = ("unclean_exit",)
"""What a damaged or foreign file stands for: somebody must look at the arm."""


def save(path: Path, latched: tuple[str, ...]) -> None:
    """Write the latched causes so that they survive a crash and a power loss.

    Temporary file, fsync, rename, fsync of the folder: a reader sees the old causes or the new
    ones, never half.

    Raises:
        StorageError: The disk refused; the guard must stay stopped then.
    """
    content = json.dumps({"schema_version": SCHEMA_VERSION, "latched": list(latched)})
    staging = path.with_name(path.name + ".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with staging.open("w", encoding="utf-8") as file:
            file.write(content + "\n")
            file.flush()
            os.fsync(file.fileno())
        staging.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise StorageError(
            f"{path}: the latch could not be written ({error.strerror}); it must survive a "
            f"restart. Free space or mount the disk writable; the arm stays stopped."
        ) from error


def load(path: Path) -> tuple[str, ...]:
    """Return the latched causes of the last run; empty when there was none.

    A file that cannot be understood counts as a stop, never as no stop.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError):
        return UNREADABLE
    if not isinstance(content, dict) or content.get("schema_version") != SCHEMA_VERSION:
        return UNREADABLE
    latched = content.get("latched")
    if not isinstance(latched, list) or not all(_is_stop(cause) for cause in latched):
        return UNREADABLE
    return tuple(latched)


def _is_stop(cause: object) -> bool:
    return isinstance(cause, str) and cause in REACTIONS and REACTIONS[cause].kind == "stop"


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
