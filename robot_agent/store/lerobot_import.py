"""Reads LeRobotDataset v3.0 whose states and actions are Bridge's."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from robot_agent.core.errors import EpisodeFormatError
from robot_agent.core.types import ACTION_DIM, Episode, FloatArray, ImageArray
from robot_agent.store import lerobot_layout as layout
from robot_agent.store.exact_frames import read_exact
from robot_agent.store.exchange import ImportOptions, foreign_episode, require_rate
from robot_agent.store.images import decode_image
from robot_agent.store.video import iterate_video


def import_lerobot(folder: Path, options: ImportOptions) -> Iterator[Episode]:
    """Yield the episodes of a data set.

    Raises:
        EpisodeFormatError: It is of another version, rate or robot, or a file is missing or cut.
    """
    info = _info(folder)
    require_rate(float(info["fps"]), folder)
    camera = _camera(folder, info["features"], options.camera)
    own, video, table = read_exact(folder), _Video(camera), _Table()
    for entry in _entries(folder):
        index = int(entry["episode_index"])
        exact = own[index] if index < len(own) else None
        rows = table.rows(folder, info, entry)
        if f"videos/{camera}/file_index" in entry:
            count = len(rows) + (exact is not None)  # ours has the picture after the last action
            pictures = video.take(folder, info, entry, count)
        else:
            pictures = _pictures(rows, camera)
        name = f"{folder.name}-{index:06d}"
        actions = _numbers(rows, layout.ACTION, name)
        if exact is not None and exact.matches(actions):
            yield exact.episode(pictures)
            continue
        yield foreign_episode(
            name,
            str(entry["tasks"][0]) if entry["tasks"] else "",
            options,
            images=pictures[: len(rows)],
            actions=actions,
            states=_numbers(rows, layout.STATE, name),
        )


class _Video:
    """Reads files forward, picture by picture, so that one episode is in memory at a time."""

    def __init__(self, camera: str) -> None:
        self._camera, self._path, self._position = camera, Path(), 0
        self._frames: Iterator[ImageArray] = iter(())

    def take(
        self, folder: Path, info: Mapping[str, Any], entry: Mapping[str, Any], count: int
    ) -> ImageArray:
        """Return the first `count` pictures of an episode."""
        about = f"videos/{self._camera}"
        first = round(entry[f"{about}/from_timestamp"] * info["fps"])
        path = folder / info["video_path"].format(
            video_key=self._camera,
            chunk_index=entry[f"{about}/chunk_index"],
            file_index=entry[f"{about}/file_index"],
        )
        if path != self._path or first < self._position:
            self._path, self._position, self._frames = path, 0, iterate_video(path)
        for _ in range(first - self._position):
            next(self._frames, None)
        taken = [image for _, image in zip(range(count), self._frames, strict=False)]
        self._position = first + len(taken)
        if len(taken) != count:
            raise EpisodeFormatError(
                f"{path}: {len(taken)} pictures from {first} on, must be {count}. "
                f"The file was cut or belongs to another data set: copy it again."
            )
        return np.stack(taken)


class _Table:
    """The parquet file of the present episode."""

    def __init__(self) -> None:
        self._path, self._table = Path(), pa.table({"episode_index": pa.array([], pa.int64())})

    def rows(self, folder: Path, info: Mapping[str, Any], entry: Mapping[str, Any]) -> pa.Table:
        """Return the rows of an episode in order."""
        path = folder / info["data_path"].format(
            chunk_index=entry["data/chunk_index"], file_index=entry["data/file_index"]
        )
        if path != self._path:
            self._path, self._table = path, _read(path)
        found = self._table.filter(pc.equal(self._table["episode_index"], entry["episode_index"]))
        if len(found) != entry["length"]:
            raise EpisodeFormatError(
                f"{path}: {len(found)} rows of episode {entry['episode_index']}, must be "
                f"{entry['length']}. The file was cut: copy it again."
            )
        return found.sort_by("frame_index")


def _numbers(rows: pa.Table, column: str, name: str) -> FloatArray:
    values = np.array(rows[column].to_pylist() if column in rows.column_names else [], np.float64)
    if values.shape != (len(rows), ACTION_DIM) or not np.isfinite(values).all():
        raise EpisodeFormatError(
            f"{name}: '{column}' is {values.shape}, must be finite numbers "
            f"({len(rows)}, {ACTION_DIM}) of Bridge. Is it the log of another robot?"
        )
    return values


def _pictures(rows: pa.Table, camera: str) -> ImageArray:
    return np.stack([decode_image(entry["bytes"]) for entry in rows[camera].to_pylist()])


def _camera(folder: Path, features: Mapping[str, Any], wanted: str) -> str:
    cameras = [name for name, kind in features.items() if kind["dtype"] in {"video", "image"}]
    chosen = [name for name in cameras if not wanted or name.rsplit(".", 1)[-1] == wanted]
    if len(chosen) != 1:
        names = ", ".join(name.rsplit(".", 1)[-1] for name in cameras)
        raise EpisodeFormatError(
            f"{folder}: {len(chosen)} cameras fit '{wanted}', must be one. "
            f"Choose one with --camera: {names}."
        )
    return chosen[0]


def _info(folder: Path) -> dict[str, Any]:
    path = folder / layout.INFO
    try:
        info: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = str(info["codebase_version"])
        missing = {"fps", "features", "data_path"} - set(info)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EpisodeFormatError(
            f"{path}: cannot be read ({error!r}). Name the root folder of a LeRobotDataset."
        ) from error
    if not version.startswith("v3.") or missing:
        raise EpisodeFormatError(
            f"{path}: version {version}, missing {sorted(missing)}, must be v3. "
            f"Convert it with LeRobot's own tool first."
        )
    return info


def _entries(folder: Path) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    for path in sorted((folder / "meta/episodes").glob("chunk-*/file-*.parquet")):
        table = _read(path)
        wanted = [name for name in table.column_names if not name.startswith("stats/")]
        entries += table.select(wanted).to_pylist()
    return sorted(entries, key=lambda entry: int(entry["episode_index"]))


def _read(path: Path) -> pa.Table:
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise EpisodeFormatError(
            f"{path}: cannot be read ({error}). The file is missing or cut: copy it again."
        ) from error
