"""Start frames: what the robot saw in a scene before it did anything, to imagine from."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robot_agent.core.errors import EpisodeFormatError
from robot_agent.core.types import NUM_JOINTS, FloatArray, ImageArray
from robot_agent.store.durable import make_folder, publish_folder, storage_errors, write_durably
from robot_agent.store.episode_format import require_episode_id
from robot_agent.store.images import decode_image, encode_image
from robot_agent.store.strict_json import canonical_json, parse_json_object

_SCHEMA = 1
_FACTS, _PICTURE = "frame.json", "frame.png"


@dataclass(frozen=True, eq=False)
class StartFrame:
    """One view of a scene and a task that can be started from it."""

    scene: str
    instruction: str
    image_hwc: ImageArray
    joints_rad: FloatArray
    """Joint positions (6,) [rad]."""
    gripper: float
    """1 = open, 0 = closed."""


def keep_start_frame(folder: Path, name: str, frame: StartFrame) -> Path:
    """Write a start frame to `folder`/SCENE/`name`, which appears whole; return that folder.

    Raises:
        InputError: The scene's name is none for a folder.
        StorageError: The disk refuses.
    """
    final = folder / require_episode_id(frame.scene) / name
    staging = final.with_name(f".tmp-{name}")
    facts = {
        "schema": _SCHEMA,
        "scene": frame.scene,
        "instruction": frame.instruction,
        "joints_rad": frame.joints_rad.tolist(),
        "gripper": frame.gripper,
    }
    with storage_errors("writing a start frame", staging):
        make_folder(staging)
        write_durably(staging / _PICTURE, encode_image(frame.image_hwc, "png", 0))
        write_durably(staging / _FACTS, canonical_json(facts))
        publish_folder(staging, final)
    return final


def load_start_frames(folder: Path, scene: str) -> list[StartFrame]:
    """Return the start frames of a scene, oldest first; none where nothing was captured.

    Raises:
        EpisodeFormatError: One of them is damaged or of a newer schema.
    """
    places = (folder / require_episode_id(scene)).glob("[!.]*")
    return [_load(path) for path in sorted(places) if path.is_dir()]


def _load(path: Path) -> StartFrame:
    try:
        facts = parse_json_object((path / _FACTS).read_bytes())
        joints_rad = np.asarray(facts["joints_rad"], np.float64)
        frame = StartFrame(
            scene=str(facts["scene"]),
            instruction=str(facts["instruction"]),
            image_hwc=decode_image((path / _PICTURE).read_bytes()),
            joints_rad=joints_rad,
            gripper=float(facts["gripper"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EpisodeFormatError(
            f"{path}: is no start frame ({error!r}). Delete the folder and capture the scene anew."
        ) from error
    if facts["schema"] != _SCHEMA or joints_rad.shape != (NUM_JOINTS,):
        raise EpisodeFormatError(
            f"{path}: schema {facts['schema']} with {joints_rad.shape} joints, must be schema "
            f"{_SCHEMA} with {NUM_JOINTS}. Update robot_agent, or capture the scene anew."
        )
    return frame
