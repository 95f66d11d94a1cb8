"""The clip layout of the published world model: NNN.mp4 beside NNN.npz with scaled actions.

Source: the training set layout of WorldGym / World-Gymnast (arXiv 2506.00613, 2602.02454).
Columns: `[dx dy dz droll dpitch dyaw gripper base_x base_y base_yaw]`, metres x 35, radians x 5.6,
gripper -1 = open and +1 = closed, the last three 0. Row t is the action taken from frame t.
"""

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robot_agent.core.errors import EpisodeFormatError, InputError
from robot_agent.core.types import ACTION_DIM, FloatArray, ImageArray, require_array
from robot_agent.store.durable import storage_errors
from robot_agent.store.images import resize_images
from robot_agent.store.video import read_video, write_video
from robot_agent.store.windows import Trajectory

SCALE_PER_M, SCALE_PER_RAD = 35.0, 5.6
NUM_COLUMNS = 10
_LIMIT_M, _LIMIT_RAD = 1.74, 1.39
"""Clips of the scaled columns; a value beyond them by more than rounding is no clip of ours."""
_SLACK = 0.02
_FPS = 5


@dataclass(frozen=True, eq=False)
class Clip:
    """A clip in our own units; the last row of actions leads to no frame."""

    name: str
    frames: ImageArray
    """(T, H, W, 3) uint8."""
    actions: FloatArray
    """Bridge actions (T, 7): metres, radians, gripper 1 = open."""

    def trajectory(self, size_px: tuple[int, int], instruction: str = "") -> Trajectory:
        """Return the clip resized, without the last action."""
        frames = resize_images(self.frames, size_px)
        return Trajectory(frames, self.actions[:-1], instruction=instruction, name=self.name)


def list_clips(folder: Path) -> Sequence[str]:
    """Return the names of the clips in a folder, sorted; InputError when there is none."""
    names = sorted(path.stem for path in folder.glob("*.npz"))
    if not names:
        raise InputError(f"{folder}: holds no clip (NNN.mp4 with NNN.npz). Check the path.")
    return names


def load_clip(folder: Path, name: str) -> Clip:
    """Read one clip.

    Raises:
        EpisodeFormatError: A file is missing, cut, of other columns or lengths, or holds numbers
            out of range.
    """
    actions = actions_from_columns(_read_columns(folder / f"{name}.npz"), name)
    frames = read_video(folder / f"{name}.mp4")
    if len(frames) != len(actions):
        raise EpisodeFormatError(
            f"{name}: {len(frames)} frames and {len(actions)} rows of actions, must be equal. "
            f"The clip was cut: copy it again or leave it out."
        )
    return Clip(name, frames, actions)


def save_clip(folder: Path, clip: Clip, crf: int = 18) -> None:
    """Write a clip; the video is H.264 and therefore not exact, the actions are float32."""
    columns = columns_from_actions(clip.actions)
    with storage_errors("writing a clip", folder):
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / f"{clip.name}.npz", columns)
        write_video(folder / f"{clip.name}.mp4", clip.frames, _FPS, crf)


def split_by_time(names: Sequence[str], share: float = 0.7) -> tuple[list[str], list[str]]:
    """Return the first `share` of the clips for training and the rest for testing."""
    ordered = sorted(names)
    cut = max(1, min(len(ordered) - 1, round(share * len(ordered))))
    return ordered[:cut], ordered[cut:]


def actions_from_columns(columns: NDArray[np.float32], name: str) -> FloatArray:
    """Return Bridge actions (T, 7) of scaled columns (T, 10)."""
    if columns.ndim != 2 or columns.shape[1] != NUM_COLUMNS:
        raise EpisodeFormatError(
            f"{name}: action columns {columns.shape}, must be (T, {NUM_COLUMNS}). "
            f"Is this the layout of another robot?"
        )
    wide = columns.astype(np.float64)
    limits = np.array([_LIMIT_M] * 3 + [_LIMIT_RAD] * 3 + [1.0] + [0.0] * 3) + _SLACK
    if not np.isfinite(wide).all() or (np.abs(wide) > limits).any():
        excess = np.abs(np.where(np.isfinite(wide), wide, np.inf)).max(axis=0) - limits
        worst = int(np.argmax(excess))
        raise EpisodeFormatError(
            f"{name}: column {worst} reaches {np.abs(wide[:, worst]).max():.3f}, must be finite "
            f"and at most {limits[worst]:.2f}. Are the actions scaled?"
        )
    actions = np.empty((len(wide), ACTION_DIM))
    actions[:, :3] = wide[:, :3] / SCALE_PER_M
    actions[:, 3:6] = wide[:, 3:6] / SCALE_PER_RAD
    actions[:, 6] = (1.0 - wide[:, 6]) / 2.0
    return actions


def columns_from_actions(actions: FloatArray) -> NDArray[np.float32]:
    """Return scaled columns (T, 10) of Bridge actions (T, 7), clipped as the data set clips."""
    actions = require_array("clip actions", actions, (None, ACTION_DIM))
    columns = np.zeros((len(actions), NUM_COLUMNS), np.float32)
    columns[:, :3] = np.clip(actions[:, :3] * SCALE_PER_M, -_LIMIT_M, _LIMIT_M)
    columns[:, 3:6] = np.clip(actions[:, 3:6] * SCALE_PER_RAD, -_LIMIT_RAD, _LIMIT_RAD)
    columns[:, 6] = 1.0 - 2.0 * actions[:, 6]
    return columns


def _read_columns(path: Path) -> NDArray[np.float32]:
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
            return np.asarray(archive["arr_0"], np.float32)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise EpisodeFormatError(
            f"{path}: no readable action file ({error}). Copy it again or leave it out."
        ) from error
