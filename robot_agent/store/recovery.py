"""After a crash: what was left open is salvaged or set aside, and a report says so."""

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robot_agent.core.errors import EpisodeFormatError, InputError, StorageError
from robot_agent.core.types import Observation, Step
from robot_agent.store.durable import storage_errors, try_folder_lock
from robot_agent.store.episode_format import (
    INFO_NAME,
    RECORDING_NAME,
    EpisodeInfo,
    EpisodeStart,
    ForeignEpisodeError,
    info_from_json,
)
from robot_agent.store.episode_store import STAGING_PREFIX, EpisodeStore
from robot_agent.store.images import decode_image
from robot_agent.store.recording import Recording, read_recording


@dataclass(frozen=True)
class Recovered:
    """What became of one folder."""

    folder: str
    action: str
    """salvaged, committed, removed, quarantined, foreign or in use."""
    detail: str


@dataclass(frozen=True)
class RecoveryReport:
    """What `recover` found and did; empty when all was well."""

    entries: tuple[Recovered, ...] = ()

    def __str__(self) -> str:
        """Return one line per folder."""
        lines = [f"{entry.folder}: {entry.action}: {entry.detail}" for entry in self.entries]
        return "\n".join(lines) or "Every episode is whole."


def recover(store: EpisodeStore, *, check_all: bool = False) -> RecoveryReport:
    """Deal with what crashes left in a store; committed episodes that are sound are not touched.

    An open episode whose writer died is committed again as `<id>-salvaged` with outcome `abort`
    and what its recording still held, or removed when that is no complete step. Damaged episodes
    go to the quarantine. Folders that are no episodes of ours are named and left alone.

    Args:
        store: The store.
        check_all: Also hash every recording, which reads the whole store.
    """
    entries = []
    with storage_errors("looking for leftovers", store.folder):
        folders = sorted(path for path in store.folder.iterdir() if path.is_dir())
    for folder in folders:
        if folder.name.startswith(STAGING_PREFIX):
            entries.append(_recover_leftover(store, folder))
        elif not folder.name.startswith("."):
            entry = _check_committed(store, folder, check_all=check_all)
            entries.extend([entry] if entry else [])
    return RecoveryReport(tuple(entries))


def _check_committed(store: EpisodeStore, folder: Path, *, check_all: bool) -> Recovered | None:
    if not (folder / INFO_NAME).exists():
        return Recovered(folder.name, "foreign", f"holds no {INFO_NAME}; move it away")
    try:
        if check_all:
            store.verify(folder.name)
        else:
            _require_size(store.describe(folder.name), folder / RECORDING_NAME)
    except (InputError, ForeignEpisodeError) as error:
        return Recovered(folder.name, "foreign", str(error))
    except EpisodeFormatError as error:
        why = f"{error} {_what_is_left(folder)}"
        place = store.set_aside(folder, why)
        return Recovered(folder.name, "quarantined", f"{why} Now at {place}.")
    return None


def _what_is_left(folder: Path) -> str:
    """Return how much of a damaged recording can still be read, in words."""
    path = folder / RECORDING_NAME
    with storage_errors("reading a damaged episode", path):
        content = path.read_bytes() if path.is_file() else b""
    left = read_recording(content)
    lost = f", the last {left.lost_bytes} of {len(content)} bytes cannot" if left.fault else ""
    return f"{left.num_steps} of its steps can still be read{lost}."


def _require_size(info: EpisodeInfo, path: Path) -> None:
    size = path.stat().st_size if path.is_file() else 0
    if size != info.recording_bytes:
        raise EpisodeFormatError(f"{path}: {size} bytes, must be {info.recording_bytes}.")


def _recover_leftover(store: EpisodeStore, folder: Path) -> Recovered:
    lock = try_folder_lock(folder)
    if lock is None:
        return Recovered(folder.name, "in use", "its writer is alive")
    try:
        path = folder / RECORDING_NAME
        with storage_errors("reading a leftover", path):
            content = path.read_bytes() if path.is_file() else b""
        if _is_complete(folder, content):
            return _finish(store, folder)
        return _salvage(store, folder, read_recording(content))
    finally:
        os.close(lock)


def _is_complete(folder: Path, content: bytes) -> bool:
    """Return whether the crash came after the last byte and before the rename."""
    try:
        info = _staged_info(folder)
    except (OSError, EpisodeFormatError):
        return False
    return hashlib.sha256(content).hexdigest() == info.recording_sha256


def _finish(store: EpisodeStore, folder: Path) -> Recovered:
    info = _staged_info(folder)
    with storage_errors("finishing a commit", folder):
        place = store.publish(folder, info)
    return Recovered(folder.name, "committed", f"was complete but for its name; now {place.name}")


def _staged_info(folder: Path) -> EpisodeInfo:
    name = folder.name.removeprefix(STAGING_PREFIX)
    return info_from_json((folder / INFO_NAME).read_bytes(), name)


def _salvage(store: EpisodeStore, folder: Path, recording: Recording) -> Recovered:
    held = f"{len(recording.pictures)} pictures and {len(recording.sent)} actions"
    if not recording.num_steps or not recording.start:
        shutil.rmtree(folder)
        return Recovered(folder.name, "removed", f"held {held}, less than one complete step")
    lost = f"{len(recording.sent) - recording.num_steps} actions"
    note = f"salvaged after a crash: {recording.num_steps} steps of {held}; lost: {lost}"
    if recording.lost_bytes:
        note += f" and the last {recording.lost_bytes} bytes, which cannot be read"
    try:
        place = _commit_salvaged(store, recording, note)
    except (EpisodeFormatError, InputError, StorageError, KeyError, TypeError) as error:
        aside = store.set_aside(folder, f"could not be salvaged: {error}")
        return Recovered(folder.name, "quarantined", f"{error} Now at {aside}.")
    shutil.rmtree(folder)
    return Recovered(folder.name, "salvaged", f"{note}; now {place.name}")


def _commit_salvaged(store: EpisodeStore, recording: Recording, note: str) -> Path:
    start = _start(recording.start)
    with store.open_episode(start) as writer:
        for index in range(recording.num_steps):
            writer.add_step(_step(recording, index))
        final = _observation(recording, recording.num_steps)
        return writer.commit("abort", "recovery", final, note=note)


def _start(saved: Mapping[str, Any]) -> EpisodeStart:
    return EpisodeStart(**{**saved, "episode_id": f"{saved['episode_id']}-salvaged"})


def _observation(recording: Recording, index: int) -> Observation:
    return Observation(
        image_hwc=decode_image(recording.pictures[index]),
        joints_rad=np.asarray(recording.joints_rad[index], np.float64),
        gripper=recording.gripper[index],
        stamp_ns=recording.stamps_ns[index],
    )


def _step(recording: Recording, index: int) -> Step:
    who = recording.steps[index]
    return Step(
        observation=_observation(recording, index),
        proposed=recording.proposed[index],
        sent=recording.sent[index],
        weights_version=str(who["weights_version"]),
        controller=str(who["controller"]),
        changes=tuple(who["changes"]),
    )
