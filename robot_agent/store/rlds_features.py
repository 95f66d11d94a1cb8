"""What TFDS wants to know of a data set: the types of its features and the sizes of its shards.

Source of the layout: TensorFlow Datasets, `core/proto/{feature,dataset_info}.proto`, as JSON.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from robot_agent.core.errors import EpisodeFormatError

_CORE = "tensorflow_datasets.core.features."


def features(size_px: tuple[int, ...], codec: str) -> dict[str, Any]:
    """Return `features.json` for pictures of (height, width), JPEG or PNG."""
    height, width = size_px
    image = {
        "pythonClassName": f"{_CORE}image_feature.Image",
        "image": {
            "shape": {"dimensions": [str(height), str(width), "3"]},
            "dtype": "uint8",
            "encodingFormat": codec,
        },
    }
    step = {
        "observation": _record({"image_0": image, "state": _tensor((7,))}),
        "action": _tensor((7,)),
        "language_instruction": _text(),
        "is_first": _scalar("bool"),
        "is_last": _scalar("bool"),
        "is_terminal": _scalar("bool"),
        "reward": _scalar("float32"),
        "discount": _scalar("float32"),
    }
    steps = {
        "pythonClassName": f"{_CORE}dataset_feature.Dataset",
        "sequence": {"feature": _record(step), "length": "-1"},
    }
    return _record(
        {
            "steps": steps,
            "episode_metadata": _record({"file_path": _text(), "outcome": _text()}),
        }
    )


def dataset_info(
    name: str, version: str, split: str, counts: Sequence[int], sizes: Sequence[int]
) -> dict[str, Any]:
    """Return `dataset_info.json` for shards of so many episodes and bytes."""
    return {
        "description": "Episodes of a WidowX 250s: Bridge's actions and states.",
        "fileFormat": "tfrecord",
        "name": name,
        "splits": [
            {
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                "name": split,
                "numBytes": str(sum(sizes)),
                "shardLengths": [str(count) for count in counts],
            }
        ],
        "version": version,
    }


def split_sizes(path: Path, split: str) -> list[int]:
    """Return the number of episodes in each shard of a split.

    Raises:
        EpisodeFormatError: The file is missing or says nothing of this split.
    """
    try:
        splits = json.loads(path.read_text(encoding="utf-8"))["splits"]
        found = next(entry for entry in splits if entry["name"] == split)
        return [int(length) for length in found["shardLengths"]]
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise EpisodeFormatError(
            f"{path}: cannot be read or has no split '{split}' ({error!r}). "
            f"Name the folder of one version, such as bridge_dataset/1.0.0."
        ) from error


def _record(inner: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "pythonClassName": f"{_CORE}features_dict.FeaturesDict",
        "featuresDict": {"features": dict(inner)},
    }


def _tensor(shape: tuple[int, ...]) -> dict[str, Any]:
    return {
        "pythonClassName": f"{_CORE}tensor_feature.Tensor",
        "tensor": {
            "shape": {"dimensions": [str(length) for length in shape]},
            "dtype": "float32",
            "encoding": "none",
        },
    }


def _scalar(dtype: str) -> dict[str, Any]:
    return {
        "pythonClassName": f"{_CORE}scalar.Scalar",
        "tensor": {"shape": {}, "dtype": dtype, "encoding": "none"},
    }


def _text() -> dict[str, Any]:
    return {"pythonClassName": f"{_CORE}text_feature.Text", "text": {}}
