"""Writes LeRobotDataset v3.0: parquet of the numbers, H.264 of the pictures."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from robot_agent.core.types import Episode
from robot_agent.store import lerobot_layout as layout
from robot_agent.store.durable import storage_errors
from robot_agent.store.exact_frames import ExactWriter
from robot_agent.store.exchange import (
    Exported,
    ExportOptions,
    require_new,
    require_same_size,
    states_of,
)
from robot_agent.store.video import VideoWriter

_PER_FILE = 100
"""Episodes in one pair of files."""
_PICTURES_FOR_STATS = 20
"""Pictures of an episode, evenly spaced, that stand for all in its statistics."""
_LOST = (
    "pictures are H.264 with halved colours",
    "stamps become the regular ones of 5 Hz, actions and states float32; the exact numbers lie in "
    "robot_agent/",
)


def export_lerobot(episodes: Iterable[Episode], folder: Path, options: ExportOptions) -> Exported:
    """Write episodes as one data set.

    Each episode's video has one picture more than its rows: the one after its last action. Other
    readers seek by the rows' times and never see it.

    Raises:
        InputError: The folder is not empty, or pictures differ in size or have odd sides.
        StorageError: The disk refused.
    """
    require_new(folder)
    with storage_errors("writing a data set", folder):
        writer = _Writer(folder, options)
        for episode in episodes:
            writer.add(episode)
        return writer.close()


class _Writer:
    """One pair of files at a time; memory holds the numbers of one and the statistics of all."""

    def __init__(self, folder: Path, options: ExportOptions) -> None:
        self._folder, self._options = folder, options
        self._exact = ExactWriter(folder)
        self._size: tuple[int, ...] | None = None
        self._tasks: dict[str, int] = {}
        self._entries: list[dict[str, Any]] = []
        self._stats: list[layout.Stats] = []
        self._tables: list[pa.Table] = []
        self._video: VideoWriter | None = None
        self._rows = self._frames_in_file = 0

    def add(self, episode: Episode) -> None:
        """Append one episode."""
        self._size = require_same_size(episode, self._size)
        if len(self._entries) % _PER_FILE == 0:
            self._finish_files()
        place = self._place()
        if self._video is None:
            path = self._path(layout.VIDEO, video_key=layout.CAMERA, **place)
            self._video = VideoWriter(path, self._size, layout.FPS, self._options.video_crf)
            self._frames_in_file = 0
        table, entry = self._table(episode), self._entry(episode, place)
        for image in episode.images:
            self._video.add(image)
        self._tables.append(table)
        self._entries.append(entry)
        self._exact.add(episode)
        self._rows += episode.num_steps
        self._frames_in_file += episode.num_steps + 1

    def close(self) -> Exported:
        """Write what describes the whole."""
        self._finish_files()
        count = len(self._entries)
        meta = layout.info(self._size or (0, 0), count, self._rows, len(self._tasks))
        self._json(layout.INFO, meta)
        self._json(layout.STATS, layout.merged(self._stats))
        pq.write_table(layout.tasks_table(list(self._tasks)), self._path(layout.TASKS))
        path = self._path(layout.EPISODES, chunk_index=0, file_index=0)
        pq.write_table(pa.Table.from_pylist(self._entries), path)
        self._exact.close()
        return Exported(self._folder, count, self._rows, _LOST)

    def _table(self, episode: Episode) -> pa.Table:
        steps = episode.num_steps
        task = self._tasks.setdefault(episode.instruction, len(self._tasks))
        frame = np.arange(steps)
        columns: dict[str, np.ndarray[Any, Any]] = {
            layout.STATE: states_of(episode)[:-1].astype(np.float32),
            layout.ACTION: episode.actions.astype(np.float32),
            "timestamp": (frame / layout.FPS).astype(np.float32),
            "frame_index": frame,
            "episode_index": np.full(steps, len(self._entries)),
            "index": self._rows + frame,
            "task_index": np.full(steps, task),
        }
        some = np.linspace(0, steps, min(_PICTURES_FOR_STATS, steps + 1)).astype(int)
        self._stats.append(layout.stats_of(columns, episode.images[some]))
        rows = {name: list(values) for name, values in columns.items()}
        return pa.table(rows, schema=layout.DATA_SCHEMA)

    def _entry(self, episode: Episode, place: dict[str, int]) -> dict[str, Any]:
        begin_s = self._frames_in_file / layout.FPS
        video = f"videos/{layout.CAMERA}"
        entry: dict[str, Any] = {
            "episode_index": len(self._entries),
            "tasks": [episode.instruction],
            "length": episode.num_steps,
            "data/chunk_index": place["chunk_index"],
            "data/file_index": place["file_index"],
            "dataset_from_index": self._rows,
            "dataset_to_index": self._rows + episode.num_steps,
            f"{video}/chunk_index": place["chunk_index"],
            f"{video}/file_index": place["file_index"],
            f"{video}/from_timestamp": begin_s,
            f"{video}/to_timestamp": begin_s + episode.num_steps / layout.FPS,
            "meta/episodes/chunk_index": 0,
            "meta/episodes/file_index": 0,
        }
        for feature, values in self._stats[-1].items():
            entry |= {f"stats/{feature}/{name}": value for name, value in values.items()}
        return entry

    def _place(self) -> dict[str, int]:
        number = len(self._entries) // _PER_FILE
        chunk, file = divmod(number, layout.FILES_PER_CHUNK)
        return {"chunk_index": chunk, "file_index": file}

    def _finish_files(self) -> None:
        if self._video is not None:
            self._video.__exit__(None, None, None)
            self._video = None
        if self._tables:
            last = (len(self._entries) - 1) // _PER_FILE
            chunk, file = divmod(last, layout.FILES_PER_CHUNK)
            path = self._path(layout.DATA, chunk_index=chunk, file_index=file)
            pq.write_table(pa.concat_tables(self._tables), path)
            self._tables = []

    def _path(self, pattern: str, **place: Any) -> Path:
        path = self._folder / pattern.format(**place)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _json(self, name: str, content: Any) -> None:
        self._path(name).write_text(json.dumps(content, indent=4), encoding="utf-8")
