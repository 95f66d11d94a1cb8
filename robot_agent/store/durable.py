"""Files that appear whole or not at all: fsync, atomic rename, and errors a person can act on."""

import errno
import fcntl
import io
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from robot_agent.core.errors import StorageError

_REMEDIES = {
    errno.ENOSPC: "The disk is full: free space, then try again; nothing committed was touched.",
    errno.EDQUOT: "The disk quota is used up: free space, then try again.",
    errno.EFBIG: "The file passed the size limit of this process: raise it (ulimit -f).",
    errno.EROFS: "The file system is read-only: remount it, look for disk errors in dmesg.",
    errno.EIO: "The disk is failing: look at dmesg and replace it.",
    errno.EMFILE: "Too many open files: raise the limit (ulimit -n).",
    errno.EACCES: "No permission: check the owner of the folder.",
}
_PIECE = 1 << 20
"""Bytes; what the kernel copies in 0.1 to 0.3 ms."""


@contextmanager
def storage_errors(what: str, path: Path) -> Iterator[None]:
    """Turn an OSError inside the block into a StorageError that says `what` failed where."""
    try:
        yield
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "Check the path and the disk.")
        raise StorageError(
            f"{path}: {what} failed ({error.strerror or error}). {remedy}"
        ) from error


def require_free_space(folder: Path, needed_bytes: int, floor_bytes: int) -> None:
    """Raise StorageError unless `needed_bytes` fit and `floor_bytes` stay free."""
    with storage_errors("reading the free space", folder):
        free = shutil.disk_usage(folder).free
    if free - needed_bytes < floor_bytes:
        raise StorageError(
            f"{folder}: {free / 1e9:.3f} GB free, must be at least "
            f"{(needed_bytes + floor_bytes) / 1e9:.3f} GB. Free space or move the folder to a "
            f"larger disk; nothing committed was touched."
        )


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder with its parents, and make their names durable.

    The folder's own name is made durable also where it exists: whoever made it may have been
    killed before. Where its parent may not be read, it was made by somebody else.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in missing:
        sync_folder(path.parent)
    if not missing:
        with suppress(PermissionError):
            sync_folder(folder.parent)


def read_in_pieces(
    file: io.FileIO, size: int, take: Callable[[memoryview], None] = lambda _: None
) -> bytes:
    """Return a file that should hold `size` bytes, one more where it is longer; `take` sees all.

    Piece by piece: one call for everything would copy tens of megabytes in the kernel before even
    a real-time thread may have the processor back (measured: 4 to 10 ms for each large file).
    """
    content, count = io.BytesIO(), 0
    content.seek(size)
    content.write(b"\0")
    with content.getbuffer() as buffer:
        while got := file.readinto(buffer[count : count + _PIECE]):
            take(buffer[count : count + got])
            count += got
    content.truncate(count)
    return content.getvalue()


def write_durably(path: Path, content: bytes) -> None:
    """Write a new file and make its bytes durable; its name needs `sync_folder`."""
    view = memoryview(content)
    with path.open("wb") as file:
        for start in range(0, len(content), _PIECE):  # as in `read_in_pieces`
            file.write(view[start : start + _PIECE])
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file by one atomic rename: readers see the old bytes or the new ones."""
    staged = path.with_name(f".tmp-{path.name}")
    write_durably(staged, content)
    staged.replace(path)
    sync_folder(path.parent)


def publish_folder(staging: Path, final: Path) -> None:
    """Make a finished folder visible under `final` by one atomic rename.

    The files must be durable already. A folder that exists and is not empty is never replaced.
    """
    sync_folder(staging)
    staging.rename(final)
    sync_folder(final.parent)


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold the folder's exclusive lock; it ends with the process, so a crash leaves none."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def try_folder_lock(folder: Path) -> int | None:
    """Return a descriptor that holds the folder's lock until closed, or None when it is held."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
