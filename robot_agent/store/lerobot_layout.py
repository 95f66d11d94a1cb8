"""Names, features and statistics of LeRobotDataset v3.0.

Source of the layout: LeRobot 0.4.4, `lerobot/datasets/utils.py` and `compute_stats.py`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from robot_agent.core.types import CONTROL_HZ
from robot_agent.store.exchange import AXES, ROBOT_TYPE

VERSION = "v3.0"
CAMERA = "observation.images.image_0"
STATE, ACTION = "observation.state", "action"
INFO, STATS, TASKS = "meta/info.json", "meta/stats.json", "meta/tasks.parquet"
EPISODES = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
FPS = round(CONTROL_HZ)
QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
FILES_PER_CHUNK = 1000
DATA_SCHEMA = pa.schema(
    [
        (STATE, pa.list_(pa.float32(), len(AXES))),
        (ACTION, pa.list_(pa.float32(), len(AXES))),
        ("timestamp", pa.float32()),
        ("frame_index", pa.int64()),
        ("episode_index", pa.int64()),
        ("index", pa.int64()),
        ("task_index", pa.int64()),
    ]
)

Stats = dict[str, dict[str, Any]]


def info(size_px: tuple[int, ...], episodes: int, frames: int, tasks: int) -> dict[str, Any]:
    """Return `meta/info.json`."""
    height, width = size_px
    video = {
        "video.height": height,
        "video.width": width,
        "video.codec": "h264",
        "video.pix_fmt": "yuv420p",
        "video.is_depth_map": False,
        "video.fps": FPS,
        "video.channels": 3,
        "has_audio": False,
    }
    columns = {
        CAMERA: {
            "dtype": "video",
            "shape": [height, width, 3],
            "names": ["height", "width", "channels"],
            "info": video,
        },
        STATE: {"dtype": "float32", "shape": [len(AXES)], "names": list(AXES)},
        ACTION: {"dtype": "float32", "shape": [len(AXES)], "names": list(AXES)},
        "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    }
    for name in ("frame_index", "episode_index", "index", "task_index"):
        columns[name] = {"dtype": "int64", "shape": [1], "names": None}
    return {
        "codebase_version": VERSION,
        "robot_type": ROBOT_TYPE,
        "total_episodes": episodes,
        "total_frames": frames,
        "total_tasks": tasks,
        "chunks_size": FILES_PER_CHUNK,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": FPS,
        "splits": {"train": f"0:{episodes}"},
        "data_path": DATA,
        "video_path": VIDEO,
        "features": columns,
    }


def stats_of(columns: Mapping[str, np.ndarray[Any, Any]], images: Any) -> Stats:
    """Return the statistics of columns (T, D) and of pictures (T, H, W, 3), channels in [0, 1]."""
    found = {name: _stats(np.asarray(values, np.float64)) for name, values in columns.items()}
    pixels = np.asarray(images, np.float64).reshape(-1, 3) / 255.0
    picture = _stats(pixels) | {"count": [len(images)]}
    found[CAMERA] = {
        name: value if name == "count" else [[[channel]] for channel in value]
        for name, value in picture.items()
    }
    return found


def merged(parts: Sequence[Stats]) -> Stats:
    """Return the statistics of all episodes: exact moments and extremes, quantiles averaged.

    As LeRobot's own aggregation: quantiles of parts cannot be joined exactly, so they are weighted
    by their counts.
    """
    found: Stats = {}
    for name in parts[0] if parts else ():
        entries = [part[name] for part in parts]
        counts = np.array([entry["count"][0] for entry in entries], np.float64)

        def over(key: str, entries: Any = entries) -> Any:
            return np.array([entry[key] for entry in entries], np.float64)

        share = (counts / counts.sum()).reshape(-1, *[1] * (over("mean").ndim - 1))
        mean = (share * over("mean")).sum(axis=0)
        variance = (share * (over("std") ** 2 + (over("mean") - mean) ** 2)).sum(axis=0)
        joined = {"min": over("min").min(axis=0), "max": over("max").max(axis=0)}
        joined |= {"mean": mean, "std": np.sqrt(variance)}
        joined |= {key: (share * over(key)).sum(axis=0) for key in QUANTILES}
        found[name] = {key: value.tolist() for key, value in joined.items()}
        found[name]["count"] = [int(counts.sum())]
    return found


def tasks_table(tasks: Sequence[str]) -> pa.Table:
    """Return `meta/tasks.parquet`: task_index, with the words as pandas' index."""
    index = "__index_level_0__"
    described = {
        "index_columns": [index],
        "column_indexes": [],
        "columns": [
            {"name": "task_index", "field_name": "task_index", "pandas_type": "int64",
             "numpy_type": "int64", "metadata": None},
            {"name": None, "field_name": index, "pandas_type": "unicode",
             "numpy_type": "object", "metadata": None},
        ],
    }  # fmt: skip
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), index: list(tasks)})
    return table.replace_schema_metadata({"pandas": json.dumps(described)})


def _stats(values: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Return the statistics of (T, D) along the first axis."""
    rows = values.reshape(len(values), -1)
    found = {
        "min": rows.min(axis=0),
        "max": rows.max(axis=0),
        "mean": rows.mean(axis=0),
        "std": rows.std(axis=0),
    }
    found |= {key: np.quantile(rows, share, axis=0) for key, share in QUANTILES.items()}
    return {key: value.tolist() for key, value in found.items()} | {"count": [len(rows)]}
