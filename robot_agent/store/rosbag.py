"""Episodes as rosbag2 folders: the recording itself with the `metadata.yaml` that bags have.

Source of the layout: rosbag2, `rosbag2_storage/bag_metadata.hpp`, version 9 (Jazzy).
"""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from mcap.reader import make_reader

from robot_agent.core.errors import EpisodeFormatError
from robot_agent.core.types import Episode
from robot_agent.store.durable import storage_errors
from robot_agent.store.episode_format import RECORDING_NAME, EpisodeInfo
from robot_agent.store.episode_store import EpisodeStore
from robot_agent.store.exchange import Exported, ImportOptions, require_new
from robot_agent.store.images import decode_image
from robot_agent.store.recording import IMAGE_TOPIC, SENT_TOPIC, read_recording

_METADATA = "metadata.yaml"
_KEY = "rosbag2_bagfile_information"
_KEPT = ("id", "instruction", "outcome", "judged_by", "scene")


def export_bags(store: EpisodeStore, ids: Sequence[str], folder: Path) -> Exported:
    """Write each episode as a bag of its own below `folder`, byte for byte its recording.

    Raises:
        InputError: The folder is not empty.
        EpisodeFormatError: An episode is damaged.
        StorageError: The disk refused.
    """
    require_new(folder)
    steps = 0
    for episode_id in ids:
        info = store.verify(episode_id)
        place = folder / episode_id
        with storage_errors("writing a bag", place):
            place.mkdir(parents=True)
            shutil.copyfile(
                store.folder / episode_id / RECORDING_NAME, place / f"{episode_id}.mcap"
            )
            content = yaml.safe_dump({_KEY: _metadata(place / f"{episode_id}.mcap", info)})
            (place / _METADATA).write_text(content, encoding="utf-8")
        steps += info.num_steps
    return Exported(folder, len(ids), steps, ())


def import_bags(folder: Path, options: ImportOptions) -> Iterator[Episode]:
    """Yield the episodes of a bag, a recording, or a folder of bags that this program recorded.

    Raises:
        EpisodeFormatError: A recording is cut, or has other topics.
    """
    del options
    files = [folder] if folder.is_file() else sorted(folder.rglob("*.mcap"))
    if not files:
        raise EpisodeFormatError(f"{folder}: holds no recording (*.mcap). Check the path.")
    for path in files:
        yield _episode(path)


def _episode(path: Path) -> Episode:
    with storage_errors("reading a bag", path):
        recording = read_recording(path.read_bytes())
    steps = recording.num_steps
    if recording.fault or not steps:
        why = recording.fault or f"no messages on {IMAGE_TOPIC} and {SENT_TOPIC}"
        raise EpisodeFormatError(
            f"{path}: is no whole episode of ours: {why}. Export it again, or record with "
            f"robot_agent's topics."
        )
    kept = _custom(path.parent / _METADATA)
    who = recording.steps[:steps]
    return Episode(
        episode_id=kept.get("id") or str(recording.start.get("episode_id") or path.stem),
        instruction=kept.get("instruction") or str(recording.start.get("instruction", "")),
        images=np.stack([decode_image(content) for content in recording.pictures[: steps + 1]]),
        actions=np.stack(recording.sent[:steps]),
        proposed=np.stack(recording.proposed[:steps]),
        joints_rad=np.stack(recording.joints_rad[: steps + 1]),
        gripper=np.array(recording.gripper[: steps + 1]),
        weights_versions=tuple(str(step["weights_version"]) for step in who),
        controllers=tuple(str(step["controller"]) for step in who),
        outcome=kept.get("outcome") or "unknown",
        judged_by=kept.get("judged_by", ""),
        scene=kept.get("scene") or str(recording.start.get("scene", "")),
        stamps_ns=np.array(recording.stamps_ns[: steps + 1], np.int64),
    )


def _metadata(path: Path, info: EpisodeInfo) -> dict[str, Any]:
    with path.open("rb") as file:
        summary = make_reader(file).get_summary()
    if summary is None or summary.statistics is None:
        raise EpisodeFormatError(f"{path}: has no summary. Run: robot-agent episodes check --all")
    counted = summary.statistics
    span = {
        "duration": {"nanoseconds": counted.message_end_time - counted.message_start_time},
        "starting_time": {"nanoseconds_since_epoch": counted.message_start_time},
        "message_count": counted.message_count,
    }
    topics = [
        {
            "topic_metadata": {
                "name": channel.topic,
                "type": summary.schemas[channel.schema_id].name,
                "serialization_format": channel.message_encoding,
                "offered_qos_profiles": [],
                "type_description_hash": "",
            },
            "message_count": counted.channel_message_counts.get(channel.id, 0),
        }
        for channel in summary.channels.values()
    ]
    return {
        "version": 9,
        "storage_identifier": "mcap",
        **span,
        "topics_with_message_count": topics,
        "compression_format": "",
        "compression_mode": "",
        "relative_file_paths": [path.name],
        "files": [{"path": path.name, **span}],
        "custom_data": {"episode": json.dumps({name: getattr(info, name) for name in _KEPT})},
        "ros_distro": "jazzy",
    }


def _custom(path: Path) -> dict[str, str]:
    """Return what an export of ours noted beside a bag; nothing where it did not."""
    try:
        custom = yaml.safe_load(path.read_text(encoding="utf-8"))[_KEY]["custom_data"]
        kept = json.loads(custom["episode"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return {}
    return {name: str(kept.get(name, "")) for name in _KEPT}
