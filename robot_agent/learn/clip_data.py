"""Real clips as training episodes: cut in time, their action lag measured, their state integrated.

Axis letters: B batch, T time, C H W picture, A action, P state.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robot_agent.core.errors import InputError
from robot_agent.core.types import FloatArray, ImageArray
from robot_agent.learn.data import Episodes, Window
from robot_agent.models.scaling import scale_actions, scale_states, to_unit
from robot_agent.models.tiny_world import SIZE_PX
from robot_agent.store.clips import list_clips, load_clip

NOMINAL_START = (0.27, 0.0, 0.13, 0.0, 0.0, 0.0)
"""Where integration begins: tool position [m] and rpy [rad], the middle of Bridge's workspace."""
MIN_FRAMES = 10
"""Fewest frames of a clip: seven to learn from, three to be measured on."""
MAX_LAG_STEPS = 3
_POSE = slice(0, 6)


@dataclass(frozen=True, eq=False)
class RealClip:
    """One clip at the size of the tiny models; action t is the one logged at frame t."""

    name: str
    frames: ImageArray
    """(T, 64, 64, 3) uint8."""
    actions: FloatArray
    """Bridge actions (T, 7) as logged."""
    cut: int
    """Frames before this one are for training; the rest is never trained on."""


def read_clips(folder: Path, train_share: float) -> list[RealClip]:
    """Return every clip of a folder at 64 x 64.

    Raises:
        InputError: The folder is missing or empty, or a clip is too short to be cut.
        EpisodeFormatError: A clip is damaged, or its video and actions differ in length.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder, must hold clips (NNN.mp4 with NNN.npz). Check the path."
        )
    videos = {path.stem for path in folder.glob("*.mp4")}
    alone = sorted(videos - set(list_clips(folder)))
    if alone:
        raise InputError(
            f"{folder}: {alone[0]}.mp4 has no {alone[0]}.npz, every clip must have both. Copy it "
            f"again or leave it out."
        )
    clips = []
    for name in list_clips(folder):
        clip = load_clip(folder, name)
        if len(clip.frames) < MIN_FRAMES:
            raise InputError(
                f"{name}: {len(clip.frames)} frames, must be at least {MIN_FRAMES} to learn from "
                f"the first part and be measured on the rest. Leave it out."
            )
        frames = clip.trajectory((SIZE_PX, SIZE_PX)).frames
        clips.append(RealClip(name, frames, clip.actions, int(train_share * len(frames))))
    return clips


def lag_correlations(clips: Sequence[RealClip]) -> list[float]:
    """Return how picture motion correlates with the speed of the action 0, 1, 2, 3 steps before.

    Only frames before the cut are read. Motion is the mean absolute change of a picture, speed
    the norm of the action's translation; both less their mean over the clip.
    """
    found = []
    for lag in range(MAX_LAG_STEPS + 1):
        motions, speeds = [], []
        for clip in clips:
            pictures = clip.frames[: clip.cut].astype(np.float64)
            motion = np.abs(np.diff(pictures, axis=0)).mean(axis=(1, 2, 3))[MAX_LAG_STEPS:]
            first = MAX_LAG_STEPS - lag
            speed = np.linalg.norm(clip.actions[first : first + len(motion), :3], axis=1)
            motions.append(motion - motion.mean())
            speeds.append(speed - speed.mean())
        m, s = np.concatenate(motions), np.concatenate(speeds)
        size = float(np.linalg.norm(m) * np.linalg.norm(s))
        found.append(float(m @ s) / size if size > 0 else 0.0)
    return found


def measured_lag(clips: Sequence[RealClip]) -> int:
    """Return by how many steps the pictures of clips follow their log, from the seen frames."""
    return int(np.argmax(lag_correlations(clips)))


def delayed_actions(actions: FloatArray, lag_steps: int) -> FloatArray:
    """Return actions (T, 7) as the pictures show them: row t is what was logged at t - lag.

    The rows before the first are at rest with the first gripper.
    """
    rest = np.zeros((lag_steps, actions.shape[1]))
    rest[:, 6] = actions[0, 6]
    return np.concatenate([rest, actions])[: len(actions)]


def integrated_states(actions: FloatArray) -> FloatArray:
    """Return Bridge states (T + 1, 7) of actions (T, 7): there are no joints in a clip.

    Position and rpy are the sums of the deltas from `NOMINAL_START`, for small angles; the
    opening is the one last commanded. The true start is unknown, so only changes mean anything.
    """
    states = np.zeros((len(actions) + 1, 7))
    states[:, _POSE] = NOMINAL_START
    states[1:, _POSE] += np.cumsum(actions[:, _POSE], axis=0)
    states[0, 6], states[1:, 6] = actions[0, 6], actions[:, 6]
    return states


def training_episodes(clips: Sequence[RealClip], lag_steps: int) -> Episodes:
    """Return the frames before the cut of each clip, padded to the longest."""
    longest = max(clip.cut for clip in clips)
    images = np.zeros((len(clips), longest, SIZE_PX, SIZE_PX, 3), np.uint8)
    states, actions = np.zeros((len(clips), longest, 7)), np.zeros((len(clips), longest - 1, 7))
    for row, clip in enumerate(clips):
        shown = delayed_actions(clip.actions, lag_steps)[: clip.cut - 1]
        images[row, : clip.cut] = clip.frames[: clip.cut]
        actions[row, : clip.cut - 1] = shown
        states[row, : clip.cut] = integrated_states(shown)
    return Episodes(
        images_NTHWC=torch.from_numpy(images),
        states_NTP=scale_states(states),
        actions_NTA=scale_actions(actions),
        lengths_N=torch.tensor([clip.cut - 1 for clip in clips]),
    )


def held_out_window(
    clips: Sequence[RealClip], lag_steps: int, horizon: int
) -> tuple[Window, list[str]] | None:
    """Return every window of `horizon` steps whose pictures to predict all lie after the cut.

    The picture that it starts from is the last one of the training part at the earliest.

    Returns:
        The windows with the name of each one's clip, or None when no clip is long enough.
    """
    images, states, actions, names = [], [], [], []
    for clip in clips:
        shown = delayed_actions(clip.actions, lag_steps)
        state_T = integrated_states(shown)
        for start in range(clip.cut - 1, len(clip.frames) - horizon):
            images.append(clip.frames[start : start + horizon + 1])
            states.append(state_T[start : start + horizon + 1])
            actions.append(shown[start - 1 : start + horizon])
            names.append(clip.name)
    if not names:
        return None
    images_BTCHW = to_unit(np.stack(images))
    window = Window(
        images_BTCHW=images_BTCHW,
        first_BCHW=images_BTCHW[:, 0],
        states_BTP=scale_states(np.stack(states)),
        actions_BTA=scale_actions(np.stack(actions)),
    )
    return window, names


def of_another_clip(names: Sequence[str] | NDArray[np.int64], rng: np.random.Generator) -> Tensor:
    """Return for each window the index of one of another clip, or of another window at least.

    Clips are told apart by name or number.
    """
    labels = np.array(names)
    chosen = []
    for index, name in enumerate(names):
        others = np.flatnonzero(labels != name)
        if not len(others):
            others = np.delete(np.arange(len(names)), index)
        chosen.append(int(rng.choice(others)) if len(others) else index)
    return torch.tensor(chosen)
