"""One open episode: pictures, joints and actions as they come, then commit or discard."""

import contextlib
import dataclasses
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from robot_agent.core.clock import wall_stamp
from robot_agent.core.config import require_range
from robot_agent.core.errors import InputError, StorageError
from robot_agent.core.types import ACTION_DIM, ImageArray, Observation, Step, require_array
from robot_agent.store.durable import (
    require_free_space,
    storage_errors,
    try_folder_lock,
)
from robot_agent.store.episode_format import (
    RECORDING_NAME,
    EpisodeInfo,
    EpisodeStart,
    require_outcome,
)
from robot_agent.store.images import Codec, encode_image
from robot_agent.store.recording import RecordingWriter

Publish = Callable[[Path, EpisodeInfo], Path]
"""Makes a finished staging folder visible, given what its `episode.json` shall say."""


@dataclass(frozen=True, kw_only=True)
class RecordingConfig:
    """How pictures are stored and how much disk stays free."""

    image_codec: Codec = "jpeg"
    """`jpeg` (full chroma) or `png`, which is lossless and 3 to 5 times larger."""
    jpeg_quality: int = 95
    """1 to 100."""
    stream_jpeg_quality: int = 90
    """1 to 100, half chroma: of the pictures between the steps, where they are recorded."""
    min_free_gb: float = 1.0
    """Recording stops when less than this would stay free on the disk [GB]."""
    budget_gb: float = 0.0
    """No new episode begins while the store holds more [GB]; 0 sets no limit."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require_range("jpeg_quality", self.jpeg_quality, 1, 100)
        require_range("stream_jpeg_quality", self.stream_jpeg_quality, 1, 100)
        require_range("budget_gb", self.budget_gb, 0.0, 1e6, "GB")
        require_range("min_free_gb", self.min_free_gb, 0.0, 1e6, "GB")

    @property
    def min_free_bytes(self) -> int:
        """The floor in bytes."""
        return round(self.min_free_gb * 1e9)


class EpisodeWriter:
    """Streams one episode to a hidden folder; `commit` makes it visible by one rename.

    Used by one thread. A killed process loses the open episode at most; recovery salvages it.
    """

    def __init__(
        self, staging: Path, start: EpisodeStart, config: RecordingConfig, publish: Publish
    ) -> None:
        """Create the hidden folder `staging`; StorageError when the disk refuses."""
        self._staging, self._start, self._config, self._publish = staging, start, config, publish
        self._who: list[tuple[str, str]] = []
        self._newest: Observation | None = None
        self._has_final = False
        require_free_space(staging.parent, 0, config.min_free_bytes)
        with storage_errors("opening an episode", staging):
            staging.mkdir()
            self._lock = try_folder_lock(staging)
            self._recording = self._begin_recording()
        self._is_open = True

    def _begin_recording(self) -> RecordingWriter:
        try:
            return RecordingWriter(self._staging / RECORDING_NAME, dataclasses.asdict(self._start))
        except OSError:
            shutil.rmtree(self._staging, ignore_errors=True)
            raise

    @property
    def episode_id(self) -> str:
        """The id under which the episode will appear."""
        return self._start.episode_id

    @property
    def num_steps(self) -> int:
        """Actions whose next picture has come."""
        return len(self._who) - (0 if self._has_final or not self._who else 1)

    def add_step(self, step: Step) -> None:
        """Write the picture and joints of one moment and the action that was taken from them.

        Raises:
            InputError: Another picture size, a stamp that does not increase, an action that is
                not seven finite numbers.
            StorageError: The disk refused; the episode is closed and can only be discarded.
        """
        proposed = require_array("step.proposed", step.proposed, (ACTION_DIM,), finite=False)
        sent = require_array("step.sent", step.sent, (ACTION_DIM,))
        self._add_observation(step.observation)
        who = {
            "index": len(self._who),
            "controller": step.controller,
            "weights_version": step.weights_version,
            "changes": list(step.changes),
            "accepted_ns": step.accepted_ns,
        }
        with self._closing_on_error():
            self._recording.add_action(step.observation.stamp_ns, proposed, sent, who)
        self._who.append((step.weights_version, step.controller))

    def encode_stream(self, image_hwc: ImageArray) -> bytes:
        """Return the JPEG of a picture of the stream; touches nothing, so any thread may."""
        quality = self._config.stream_jpeg_quality
        return encode_image(image_hwc, "jpeg", quality, is_stream=True)

    def add_stream(self, stamp_ns: int, *, jpeg: bytes = b"", joints: bytes = b"") -> None:
        """Write a picture or a serialised sensor_msgs/JointState between the steps.

        Raises:
            StorageError: The disk refused; the episode is closed and can only be discarded.
        """
        self._require_open()
        require_free_space(self._staging, len(jpeg), self._config.min_free_bytes)
        with self._closing_on_error():
            if jpeg:
                self._recording.add_stream_image(stamp_ns, jpeg)
            if joints:
                self._recording.add_stream_joints(stamp_ns, joints)

    def commit(
        self,
        outcome: str,
        judged_by: str,
        final: Observation | None = None,
        *,
        note: str = "",
        has_stamps: bool = True,
    ) -> Path:
        """Make the episode durable and visible; return its folder.

        Args:
            outcome: success, failure, abort or unknown.
            judged_by: Who says so.
            final: What the last action led to; without it that action is left out.
            note: A remark for people.
            has_stamps: False when the source measured none.

        Raises:
            InputError: No complete step, or an unknown outcome; the episode stays open.
            StorageError: The disk refused; nothing became visible.
        """
        require_outcome(outcome)
        if final is not None:
            self._add_observation(final)
            self._has_final = True
        self._require_open()
        if not self.num_steps:
            raise InputError(
                f"episode {self.episode_id}: {len(self._who)} actions and no picture after the "
                f"last, must hold a complete step. Discard it."
            )
        with self._closing_on_error():
            sha256, size = self._recording.finish()
            info = dataclasses.replace(
                self._info(outcome, judged_by), recording_sha256=sha256, recording_bytes=size
            )
            folder = self._publish(
                self._staging, dataclasses.replace(info, note=note, has_stamps=has_stamps)
            )
        self._close()
        return folder

    def discard(self) -> None:
        """Forget the episode; harmless when it was committed."""
        self._close()
        shutil.rmtree(self._staging, ignore_errors=True)

    def __enter__(self) -> Self:
        """Return the writer; leaving without `commit` discards."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Discard what was not committed."""
        self.discard()

    def _add_observation(self, observation: Observation) -> None:
        self._require_open()
        self._require_next(observation)
        codec = self._config.image_codec
        content = encode_image(observation.image_hwc, codec, self._config.jpeg_quality)
        require_free_space(self._staging, len(content), self._config.min_free_bytes)
        with self._closing_on_error():
            self._recording.add_observation(observation, codec, content)
        self._newest = observation

    def _require_next(self, observation: Observation) -> None:
        newest = self._newest
        if newest is None:
            return
        if observation.image_hwc.shape != newest.image_hwc.shape:
            raise InputError(
                f"episode {self.episode_id}: picture {observation.image_hwc.shape}, must be "
                f"{newest.image_hwc.shape} like the first. Begin a new episode."
            )
        if observation.stamp_ns <= newest.stamp_ns:
            raise InputError(
                f"episode {self.episode_id}: stamp {observation.stamp_ns} ns, must be after "
                f"{newest.stamp_ns} ns. Is the camera repeating frames?"
            )

    def _require_open(self) -> None:
        if not self._is_open:
            raise StorageError(
                f"episode {self.episode_id}: is closed, must be open. Begin a new episode."
            )

    @contextlib.contextmanager
    def _closing_on_error(self) -> Iterator[None]:
        try:
            with storage_errors("writing an episode", self._staging):
                yield
        except StorageError:
            self._close()
            raise

    def _close(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        with contextlib.suppress(OSError):
            self._recording.close()
        if self._lock is not None:
            with contextlib.suppress(OSError):  # it is closed, whatever the kernel says
                os.close(self._lock)

    def _info(self, outcome: str, judged_by: str) -> EpisodeInfo:
        who = self._who[: self.num_steps]
        shape = (0, 0) if self._newest is None else self._newest.image_hwc.shape
        codec = self._config.image_codec
        return EpisodeInfo(
            id=self.episode_id,
            instruction=self._start.instruction,
            scene=self._start.scene,
            outcome=outcome,
            judged_by=judged_by,
            num_steps=len(who),
            image_size=(shape[0], shape[1]),
            image_codec=codec,
            jpeg_quality=self._config.jpeg_quality if codec == "jpeg" else 0,
            weights_versions=tuple(version for version, _ in who),
            controllers=tuple(controller for _, controller in who),
            created=wall_stamp(),
            action_space=self._start.action_space,
            calibration_hash=self._start.calibration_hash,
            config=self._start.config,
        )
