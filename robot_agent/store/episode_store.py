"""The folder of committed episodes: append, load, list, check, quarantine, relabel."""

import dataclasses
import hashlib
import secrets
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from robot_agent.core.clock import wall_stamp
from robot_agent.core.errors import EpisodeFormatError, InputError, StorageError
from robot_agent.core.types import CONTROL_HZ, Episode, Observation, Step
from robot_agent.store.durable import (
    folder_lock,
    make_folder,
    publish_folder,
    replace_file,
    storage_errors,
    sync_folder,
    write_durably,
)
from robot_agent.store.episode_format import (
    INFO_NAME,
    RECORDING_NAME,
    EpisodeInfo,
    EpisodeStart,
    info_from_json,
    info_to_json,
    require_episode_id,
    require_outcome,
)
from robot_agent.store.episode_writer import EpisodeWriter, RecordingConfig
from robot_agent.store.images import decode_image
from robot_agent.store.recording import Recording, read_recording

STAGING_PREFIX = ".tmp-"
QUARANTINE_NAME = ".quarantine"
_PERIOD_NS = round(1e9 / CONTROL_HZ)


class EpisodeStore:
    """Episodes in one folder. Any number of processes may read and write it at once."""

    def __init__(self, folder: Path, config: RecordingConfig | None = None) -> None:
        """Use `folder`, made when it is missing."""
        self.folder = folder
        self._config = config or RecordingConfig()
        self._orders: dict[str, int] = {}
        with storage_errors("making the episode folder", folder):
            make_folder(folder)

    def open_episode(self, start: EpisodeStart) -> EpisodeWriter:
        """Return a writer of a new episode.

        Raises:
            InputError: The id is unsafe, or an episode of this id exists or is being written.
            StorageError: The disk refused or has too little space.
        """
        episode_id = start.episode_id or f"{wall_stamp()}-{secrets.token_hex(3)}"
        require_episode_id(episode_id)
        self._require_budget()
        staging = self.folder / f"{STAGING_PREFIX}{episode_id}"
        with storage_errors("opening an episode", staging):
            exists = (self.folder / episode_id).exists() or staging.exists()
        if exists:
            raise InputError(
                f"episode {episode_id}: exists or is being written, must be new. "
                f"Choose another id; after a crash run: robot-agent episodes check"
            )
        start = dataclasses.replace(start, episode_id=episode_id)
        return EpisodeWriter(staging, start, self._config, self.publish)

    def size_bytes(self) -> int:
        """Return what all files below the folder take, caches and quarantine included."""
        with storage_errors("measuring the store", self.folder):
            return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def _require_budget(self) -> None:
        budget = self._config.budget_gb * 1e9
        if budget and (size := self.size_bytes()) > budget:
            raise StorageError(
                f"{self.folder}: holds {size / 1e9:.2f} GB, budget {budget / 1e9:.2f} GB. No new "
                f"episode begins; nothing was deleted. Raise the budget, or: robot-agent episodes "
                f"prune --budget-gb {0.9 * budget / 1e9:.2f}"
            )

    def append(self, episode: Episode) -> Path:
        """Make a finished episode visible whole, or not at all; return its folder."""
        start = EpisodeStart(
            instruction=episode.instruction, episode_id=episode.episode_id, scene=episode.scene
        )
        with self.open_episode(start) as writer:
            for index in range(episode.num_steps):
                writer.add_step(_step(episode, index))
            return writer.commit(
                episode.outcome,
                episode.judged_by,
                _observation(episode, episode.num_steps),
                has_stamps=len(episode.stamps_ns) > 0,
            )

    def load(self, episode_id: str) -> Episode:
        """Read one episode back after checking its schema, checksums and lengths.

        Raises:
            EpisodeFormatError: It is missing, foreign, damaged or of a newer schema.
            StorageError: The disk cannot be read.
        """
        info, recording = self._read(episode_id)
        steps = info.num_steps
        try:
            images = np.stack([decode_image(p) for p in recording.pictures[: steps + 1]])
        except ValueError as error:
            raise EpisodeFormatError(f"{episode_id}: {error}. Quarantine it.") from error
        stamps = np.array(recording.stamps_ns[: steps + 1], np.int64)
        return Episode(
            episode_id=info.id,
            instruction=info.instruction,
            images=images,
            actions=np.stack(recording.sent[:steps]),
            proposed=np.stack(recording.proposed[:steps]),
            joints_rad=np.stack(recording.joints_rad[: steps + 1]),
            gripper=np.array(recording.gripper[: steps + 1]),
            weights_versions=info.weights_versions,
            controllers=info.controllers,
            outcome=info.outcome,
            judged_by=info.judged_by,
            scene=info.scene,
            stamps_ns=stamps if info.has_stamps else np.zeros(0, np.int64),
        )

    def describe(self, episode_id: str) -> EpisodeInfo:
        """Return what `episode.json` says, without reading the pictures."""
        path = self.folder / require_episode_id(episode_id) / INFO_NAME
        with storage_errors("reading an episode", path):
            if not path.is_file():
                raise EpisodeFormatError(
                    f"{path}: is missing, so {episode_id} is no episode of this store. "
                    f"List them with: robot-agent episodes list"
                )
            return info_from_json(path.read_bytes(), episode_id)

    def list(self) -> Sequence[str]:
        """Return the ids of committed episodes, oldest first; foreign folders are left out."""
        with storage_errors("listing episodes", self.folder):
            names = [path.parent.name for path in self.folder.glob(f"[!.]*/{INFO_NAME}")]
        self._orders = {name: self._order(name) for name in names}
        readable = [name for name in names if self._orders[name] >= 0]
        return sorted(readable, key=lambda name: (self._orders[name], name))

    def verify(self, episode_id: str) -> EpisodeInfo:
        """Check everything `load` checks but the pictures' pixels; return what it says."""
        return self._read(episode_id)[0]

    def relabel(self, episode_id: str, outcome: str, judged_by: str) -> None:
        """Replace the outcome and who judged it, by one atomic rename."""
        require_outcome(outcome)
        info = dataclasses.replace(self.describe(episode_id), outcome=outcome, judged_by=judged_by)
        path = self.folder / episode_id / INFO_NAME
        with storage_errors("relabelling an episode", path), folder_lock(self.folder):
            replace_file(path, info_to_json(info))

    def publish(self, staging: Path, info: EpisodeInfo) -> Path:
        """Give a finished staging folder its number and make it visible; for writers only."""
        final = self.folder / info.id
        with folder_lock(self.folder):
            self.list()
            info = dataclasses.replace(info, order=max([0, *self._orders.values()]) + 1)
            write_durably(staging / INFO_NAME, info_to_json(info))
            publish_folder(staging, final)
        return final

    def quarantine(self, episode_id: str, reason: str) -> Path:
        """Move an episode out of sight of `list`, with the reason beside it; return its place."""
        source = self.folder / require_episode_id(episode_id)
        return self.set_aside(source, reason)

    def set_aside(self, source: Path, reason: str) -> Path:
        """Move any folder of the store to the quarantine, with the reason beside it."""
        shelf = self.folder / QUARANTINE_NAME
        place = shelf / f"{source.name.removeprefix(STAGING_PREFIX)}-{secrets.token_hex(3)}"
        with storage_errors("moving to quarantine", source):
            make_folder(shelf)  # before anything is moved there: a lost shelf loses what it holds
            write_durably(shelf / f"{place.name}.txt", f"{reason}\n".encode())
            source.rename(place)
            sync_folder(shelf)
            sync_folder(self.folder)
        return place

    def _order(self, name: str) -> int:
        if name in self._orders:
            return self._orders[name]
        try:
            return self.describe(name).order
        except (EpisodeFormatError, InputError):
            return -1

    def _read(self, episode_id: str) -> tuple[EpisodeInfo, Recording]:
        info = self.describe(episode_id)
        path = self.folder / episode_id / RECORDING_NAME
        with storage_errors("reading an episode", path):
            if not path.is_file():
                raise EpisodeFormatError(f"{path}: is missing. Quarantine this episode.")
            content = path.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        if sha256 != info.recording_sha256:
            raise EpisodeFormatError(
                f"{path}: {len(content)} bytes with sha256 {sha256[:12]}, must be "
                f"{info.recording_bytes} bytes with {info.recording_sha256[:12]}. The file was "
                f"cut or damaged: quarantine this episode."
            )
        recording = read_recording(content)
        who = [(str(s["weights_version"]), str(s["controller"])) for s in recording.steps]
        expected = list(zip(info.weights_versions, info.controllers, strict=True))
        if (
            recording.fault
            or recording.num_steps < info.num_steps
            or who[: len(expected)] != expected
        ):
            raise EpisodeFormatError(
                f"{path}: holds {recording.num_steps} steps ({recording.fault or 'whole'}), "
                f"must be {info.num_steps} as {INFO_NAME} says. Quarantine this episode."
            )
        return info, recording


def _observation(episode: Episode, index: int) -> Observation:
    has_stamps = len(episode.stamps_ns) > 0
    return Observation(
        image_hwc=episode.images[index],
        joints_rad=episode.joints_rad[index],
        gripper=float(episode.gripper[index]),
        stamp_ns=int(episode.stamps_ns[index]) if has_stamps else index * _PERIOD_NS,
    )


def _step(episode: Episode, index: int) -> Step:
    return Step(
        observation=_observation(episode, index),
        proposed=episode.proposed[index],
        sent=episode.actions[index],
        weights_version=episode.weights_versions[index],
        controller=episode.controllers[index],
    )
