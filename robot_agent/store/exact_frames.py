"""What other formats cannot hold, in a file beside them: `robot_agent/` in a data set's folder.

Other readers do not look there. Our own importers take the numbers from it, so that a round trip
is exact, but only while they agree with what the data set itself says.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from robot_agent.core.errors import EpisodeFormatError
from robot_agent.core.types import ACTION_DIM, NUM_JOINTS, Episode, FloatArray, ImageArray
from robot_agent.store.durable import storage_errors
from robot_agent.store.strict_json import canonical_json, parse_json_object

FOLDER = "robot_agent"
_EPISODES, _FRAMES = "episodes.json", "frames.parquet"
_TEXTS = ("episode_id", "instruction", "outcome", "judged_by", "scene")
_SCHEMA = pa.schema(
    [
        ("episode_index", pa.int64()),
        ("frame_index", pa.int64()),
        ("stamp_ns", pa.int64()),
        ("joints_rad", pa.list_(pa.float64(), NUM_JOINTS)),
        ("gripper", pa.float64()),
        ("action", pa.list_(pa.float64(), ACTION_DIM)),
        ("proposed", pa.list_(pa.float64(), ACTION_DIM)),
        ("weights_version", pa.string()),
        ("controller", pa.string()),
    ]
)
"""One row a frame; the last frame of an episode has no action, stamps may be missing."""


@dataclass(frozen=True, eq=False)
class ExactFrames:
    """Everything of an episode but its pictures."""

    texts: Mapping[str, str]
    rows: Mapping[str, Sequence[Any]]

    def matches(self, actions: FloatArray) -> bool:
        """Whether the data set still says the same actions (T or more rows, 7) in float32."""
        wanted = np.array(self.rows["action"][:-1], np.float64).astype(np.float32)
        return bool(np.array_equal(actions[: len(wanted)].astype(np.float32), wanted))

    def episode(self, images: ImageArray) -> Episode:
        """Return the episode with these pictures (T + 1, H, W, 3)."""
        stamps = self.rows["stamp_ns"]
        has_stamps = all(stamp is not None for stamp in stamps)
        return Episode(
            **dict(self.texts),
            images=images,
            actions=np.array(self.rows["action"][:-1], np.float64),
            proposed=np.array(self.rows["proposed"][:-1], np.float64),
            joints_rad=np.array(self.rows["joints_rad"], np.float64),
            gripper=np.array(self.rows["gripper"], np.float64),
            weights_versions=tuple(self.rows["weights_version"][:-1]),
            controllers=tuple(self.rows["controller"][:-1]),
            stamps_ns=np.array(stamps if has_stamps else [], np.int64),
        )


class ExactWriter:
    """Collects episodes and writes the two files at the end; numbers only, so memory is small."""

    def __init__(self, folder: Path) -> None:
        """Write below `folder`, the folder of the data set."""
        self._folder = folder / FOLDER
        self._texts: list[dict[str, str]] = []
        self._tables: list[pa.Table] = []

    def add(self, episode: Episode) -> None:
        """Take the next episode."""
        frames, index = episode.num_steps + 1, len(self._texts)
        columns = {
            "episode_index": [index] * frames,
            "frame_index": list(range(frames)),
            "stamp_ns": episode.stamps_ns.tolist() or [None] * frames,
            "joints_rad": episode.joints_rad.tolist(),
            "gripper": episode.gripper.tolist(),
            "action": [*episode.actions.tolist(), None],
            "proposed": [*episode.proposed.tolist(), None],
            "weights_version": [*episode.weights_versions, None],
            "controller": [*episode.controllers, None],
        }
        self._tables.append(pa.table(columns, schema=_SCHEMA))
        self._texts.append({name: str(getattr(episode, name)) for name in _TEXTS})

    def close(self) -> None:
        """Write what was collected."""
        with storage_errors("writing exact frames", self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            pq.write_table(
                pa.concat_tables(self._tables) if self._tables else _SCHEMA.empty_table(),
                self._folder / _FRAMES,
            )
            content = canonical_json({"schema": 1, "episodes": self._texts})
            (self._folder / _EPISODES).write_bytes(content)


def read_exact(folder: Path) -> list[ExactFrames]:
    """Return the exact frames of a data set's episodes in order; none where it has no such files.

    Raises:
        EpisodeFormatError: The files are damaged or do not fit together.
    """
    path = folder / FOLDER
    if not (path / _EPISODES).is_file():
        return []
    try:
        texts = parse_json_object((path / _EPISODES).read_bytes())["episodes"]
        table = pq.read_table(path / _FRAMES, schema=_SCHEMA)
        wanted = list(range(len(texts)))
        if sorted(set(table["episode_index"].to_pylist())) != wanted:
            raise ValueError(f"{len(texts)} episodes, and frames of others")
        if any(sorted(entry) != sorted(_TEXTS) for entry in texts):
            raise ValueError(f"episodes must have {', '.join(_TEXTS)}")
    except (OSError, KeyError, ValueError, TypeError, pa.ArrowException) as error:
        raise EpisodeFormatError(
            f"{path}: cannot be read ({error}). Remove the folder to import what the data set "
            f"itself says."
        ) from error
    found = []
    for index, entry in enumerate(texts):
        rows = table.filter(pc.equal(table["episode_index"], index)).to_pydict()
        found.append(ExactFrames(entry, rows))
    return found
