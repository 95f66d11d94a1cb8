"""RLDS data sets: TFRecord shards with the `features.json` and `dataset_info.json` of TFDS.

A step holds an observation and the action taken from it; the last step of an episode has no action
(`is_last`). Source: RLDS (Ramos et al. 2021); Bridge's and OpenVLA's names of features.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from robot_agent.core.errors import EpisodeFormatError
from robot_agent.core.types import ACTION_DIM, Episode, FloatArray, ImageArray
from robot_agent.store.durable import storage_errors
from robot_agent.store.exact_frames import ExactFrames, ExactWriter, read_exact
from robot_agent.store.exchange import (
    Exported,
    ExportOptions,
    ImportOptions,
    foreign_episode,
    require_new,
    require_same_size,
    states_of,
)
from robot_agent.store.images import decode_image, encode_image
from robot_agent.store.rlds_features import dataset_info, features, split_sizes
from robot_agent.store.tfrecord import Values, read_records, write_records

_NAME, _VERSION, _SPLIT = "bridge_dataset", "1.0.0", "train"
_PER_SHARD = 100
_CAMERA = "image_0"
_LOST = (
    "the action after the last picture is no action: zeros and the gripper held",
    "actions and states are float32 for other readers; exact ones lie in robot_agent/",
)


def export_rlds(episodes: Iterable[Episode], folder: Path, options: ExportOptions) -> Exported:
    """Write episodes as `bridge_dataset/1.0.0` below `folder`, 100 to a shard.

    Raises:
        InputError: The folder is not empty, or pictures differ in size.
        StorageError: The disk refused.
    """
    require_new(folder)
    place = folder / _NAME / _VERSION
    with storage_errors("making a data set", place):
        place.mkdir(parents=True)
    exact, size, steps = ExactWriter(place), None, 0
    shards: list[tuple[Path, int, int]] = []
    pending: list[Mapping[str, Values]] = []

    def flush() -> None:
        path = place / f"shard-{len(shards):05d}"
        shards.append((path, len(pending), sum(write_records(path, pending))))
        pending.clear()

    for episode in episodes:
        size = require_same_size(episode, size)
        pending.append(_example(episode, options))
        exact.add(episode)
        steps += episode.num_steps
        if len(pending) == _PER_SHARD:
            flush()
    if pending or not shards:
        flush()
    for index, (path, _, _) in enumerate(shards):
        path.rename(place / _shard_name(index, len(shards)))
    exact.close()
    _write_json(place / "features.json", features(size or (0, 0), options.codec))
    counts, sizes = [entry[1] for entry in shards], [entry[2] for entry in shards]
    _write_json(place / "dataset_info.json", dataset_info(_NAME, _VERSION, _SPLIT, counts, sizes))
    lossy = (f"pictures are JPEG of quality {options.jpeg_quality}",)
    return Exported(place, sum(counts), steps, _LOST + (lossy if options.codec == "jpeg" else ()))


def import_rlds(folder: Path, options: ImportOptions) -> Iterator[Episode]:
    """Yield the episodes of a data set: the folder that holds `features.json`.

    Raises:
        EpisodeFormatError: A file is missing or damaged, or holds no Bridge actions and states.
    """
    counts = split_sizes(folder / "dataset_info.json", _SPLIT)
    own = read_exact(folder)
    index = 0
    for shard in range(len(counts)):
        for record in read_records(_shard_path(folder, shard, len(counts))):
            yield _episode(folder, record, index, own[index] if own else None, options)
            index += 1
    if index != sum(counts):
        raise EpisodeFormatError(
            f"{folder}: holds {index} episodes, dataset_info.json says {sum(counts)}. "
            f"A shard was cut: copy it again."
        )


def _example(episode: Episode, options: ExportOptions) -> dict[str, Values]:
    frames = episode.num_steps + 1
    stay = np.zeros((1, ACTION_DIM))
    stay[0, 6] = episode.actions[-1, 6] if episode.num_steps else 1.0
    ends = np.arange(frames) == frames - 1
    pictures = [encode_image(p, options.codec, options.jpeg_quality) for p in episode.images]
    success = episode.outcome == "success"
    return {
        f"steps/observation/{_CAMERA}": pictures,
        "steps/observation/state": states_of(episode),
        "steps/action": np.concatenate([episode.actions, stay]),
        "steps/language_instruction": [episode.instruction.encode()] * frames,
        "steps/is_first": (np.arange(frames) == 0).astype(np.int64),
        "steps/is_last": ends.astype(np.int64),
        "steps/is_terminal": (ends & success).astype(np.int64),
        "steps/reward": (ends & success).astype(np.float32),
        "steps/discount": np.ones(frames, np.float32),
        "episode_metadata/file_path": [episode.episode_id.encode()],
        "episode_metadata/outcome": [episode.outcome.encode()],
    }


def _episode(
    folder: Path,
    record: Mapping[str, Values],
    index: int,
    own: ExactFrames | None,
    options: ImportOptions,
) -> Episode:
    where = f"{_name(folder)}-{index:06d}"
    images = _pictures(record, options.camera, where)
    actions = _rows(record, "steps/action", len(images), where)
    if own is not None and own.matches(actions):
        return own.episode(images)
    states = _rows(record, "steps/observation/state", len(images), where)
    words = cast("list[bytes]", record.get("steps/language_instruction", [b""]))[0]
    return foreign_episode(
        where,
        words.decode(errors="replace"),
        options,
        images=images,
        actions=actions,
        states=states,
    )


def _pictures(record: Mapping[str, Values], camera: str, where: str) -> ImageArray:
    prefix = "steps/observation/"
    cameras = sorted(
        name.removeprefix(prefix)
        for name, values in record.items()
        if name.startswith(prefix) and isinstance(values, list)
    )
    wanted = camera or (_CAMERA if _CAMERA in cameras else "")
    if wanted not in cameras:
        raise EpisodeFormatError(
            f"{where}: no camera '{camera}'. Choose one with --camera: {', '.join(cameras)}."
        )
    return np.stack([decode_image(content) for content in cast("Any", record[prefix + wanted])])


def _rows(record: Mapping[str, Values], name: str, steps: int, where: str) -> FloatArray:
    values = record.get(name)
    if not isinstance(values, np.ndarray) or values.size != steps * ACTION_DIM:
        size = values.size if isinstance(values, np.ndarray) else 0
        raise EpisodeFormatError(
            f"{where}: '{name}' holds {size} numbers, must be {steps} x {ACTION_DIM} of Bridge. "
            f"Leave the episode out."
        )
    rows: FloatArray = values.reshape(steps, ACTION_DIM).astype(np.float64)
    if not np.isfinite(rows).all():
        raise EpisodeFormatError(f"{where}: '{name}' is not finite. Leave the episode out.")
    return rows


def _name(folder: Path) -> str:
    """Return the name of a data set, whose versions are folders below it."""
    return folder.parent.name if folder.name[:1].isdigit() else folder.name


def _shard_name(index: int, count: int) -> str:
    return f"{_NAME}-{_SPLIT}.tfrecord-{index:05d}-of-{count:05d}"


def _shard_path(folder: Path, index: int, count: int) -> Path:
    found = sorted(folder.glob(f"*-{_SPLIT}.tfrecord-{index:05d}-of-{count:05d}"))
    if not found:
        raise EpisodeFormatError(
            f"{folder}: shard {index} of {count} is missing. Copy the data set again."
        )
    return found[0]


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    with storage_errors("writing a data set", path):
        path.write_text(json.dumps(content, indent=2), encoding="utf-8")
