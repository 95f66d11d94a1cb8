"""Episodes as training reads them: resized once, kept as plain arrays on disk, mapped not read.

A recording is pictures to be decoded; a window of a few frames needs all of them decoded, since a
picture's place in the file is not known. So each episode is decoded once a size and lies as two
arrays in a hidden folder of the store. The arrays are mapped: a window touches its own pages, and
what the machine has no room for it drops again, so memory stays flat however many are drawn.
"""

import secrets
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from robot_agent.core.errors import EpisodeFormatError
from robot_agent.core.types import ACTION_DIM, ImageArray
from robot_agent.store.durable import (
    make_folder,
    publish_folder,
    storage_errors,
    write_durably,
)
from robot_agent.store.episode_format import EpisodeInfo
from robot_agent.store.episode_store import EpisodeStore
from robot_agent.store.strict_json import canonical_json, parse_json_object
from robot_agent.store.windows import Trajectory, trajectory_from_episode

CACHE_NAME = ".windows"
_FORMAT = 1
_FRAMES, _NUMBERS, _ABOUT = "frames.u8", "numbers.f8", "about.json"


class WindowCache:
    """Trajectories of one size from one store. Several processes may use it at once.

    What it holds follows from the recordings, so it may be deleted at any time. An entry is named
    after its recording's SHA-256 and holds checksums: one that is damaged is made anew.
    """

    def __init__(self, store: EpisodeStore, size_px: tuple[int, int]) -> None:
        """Cache pictures of `store` at (height, width)."""
        self._store, self._size_px = store, size_px
        self._folder = store.folder / CACHE_NAME

    def trajectories(self, ids: Sequence[str] | None = None) -> list[Trajectory]:
        """Return the trajectories of the named episodes, by default of all, oldest first."""
        return [self.trajectory(name) for name in (self._store.list() if ids is None else ids)]

    def trajectory(self, episode_id: str) -> Trajectory:
        """Return an episode with its frames mapped from disk; decoded only the first time.

        Raises:
            EpisodeFormatError: The episode is missing, foreign or damaged.
            StorageError: The disk refused.
        """
        info = self._store.describe(episode_id)
        height, width = self._size_px
        place = self._folder / f"{info.recording_sha256}-{height}x{width}"
        with storage_errors("reading cached windows", place):
            found = _read(place, info)
        if found is not None:
            return found
        made = trajectory_from_episode(self._store.load(episode_id), self._size_px)
        with storage_errors("caching windows", place):
            self._write(place, made)
            return _read(place, info) or made

    def prune(self) -> int:
        """Delete entries of recordings that the store no longer has; return how many."""
        kept = {self._store.describe(name).recording_sha256 for name in self._store.list()}
        with storage_errors("pruning cached windows", self._folder):
            stale = [p for p in self._entries() if p.name.partition("-")[0] not in kept]
            for path in stale:
                shutil.rmtree(path)
        return len(stale)

    def _entries(self) -> list[Path]:
        return sorted(self._folder.iterdir()) if self._folder.is_dir() else []

    def _write(self, place: Path, made: Trajectory) -> None:
        """Write an entry that appears whole; another process may have been faster."""
        shutil.rmtree(place, ignore_errors=True)
        make_folder(self._folder)
        staging = self._folder / f"tmp-{secrets.token_hex(4)}"
        staging.mkdir()
        frames = np.ascontiguousarray(made.frames).tobytes()
        numbers = np.concatenate([made.actions.ravel(), made.proprio.ravel()]).astype("<f8")
        about = {
            "format": _FORMAT,
            "shape": list(made.frames.shape),
            "proprio": made.proprio.shape[1],
            "crc32": [zlib.crc32(frames), zlib.crc32(numbers.tobytes())],
        }
        write_durably(staging / _FRAMES, frames)
        write_durably(staging / _NUMBERS, numbers.tobytes())
        write_durably(staging / _ABOUT, canonical_json(about))
        try:
            publish_folder(staging, place)
        except OSError:
            shutil.rmtree(staging, ignore_errors=True)
            if not place.is_dir():
                raise


def _read(place: Path, info: EpisodeInfo) -> Trajectory | None:
    """Return what an entry holds; None when there is none that is whole."""
    try:
        about = parse_json_object((place / _ABOUT).read_bytes())
        if about["format"] != _FORMAT:
            return None
        steps, (shape, width) = info.num_steps, (tuple(about["shape"]), int(about["proprio"]))
        frames: ImageArray = np.memmap(place / _FRAMES, np.uint8, "r", shape=shape)
        content = (place / _NUMBERS).read_bytes()
        if [zlib.crc32(frames.data), zlib.crc32(content)] != about["crc32"]:
            return None
        numbers = np.frombuffer(content, "<f8").astype(np.float64)
        return Trajectory(
            frames=frames,
            actions=numbers[: steps * ACTION_DIM].reshape(steps, ACTION_DIM),
            proprio=numbers[steps * ACTION_DIM :].reshape(steps + 1, width),
            instruction=info.instruction,
            name=info.id,
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, EpisodeFormatError):
        return None
