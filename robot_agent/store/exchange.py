"""Episodes to and from the formats of other tools: what is common to all of them."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from robot_agent.core.bridge_action import bridge_state
from robot_agent.core.config import require_range
from robot_agent.core.errors import EpisodeFormatError, InputError
from robot_agent.core.types import CONTROL_HZ, Episode, FloatArray, ImageArray
from robot_agent.store.arm_states import joints_of_states

ROBOT_TYPE = "wx250s"
AXES = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")
"""Columns of Bridge's action and state."""


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """How pictures are written, where a format leaves a choice."""

    codec: Literal["jpeg", "png"] = "jpeg"
    """Of single pictures; png loses nothing."""
    jpeg_quality: int = 95
    video_crf: int = 18
    """Constant rate factor of H.264: 0 loses least, 51 most."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require_range("jpeg_quality", self.jpeg_quality, 1, 100)
        require_range("video_crf", self.video_crf, 0, 51)


@dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """Conventions of Bridge that a data set needs; every one is off unless asked for.

    Source: Octo and OpenVLA, `oxe/transforms.py` (bridge_orig): the first step is all zeros, the
    gripper is binarised, and actions are relabelled with the states that were reached.
    """

    camera: str = ""
    """Which of several cameras; empty takes the only one."""
    drop_first: bool = False
    """Leave out the first step, whose action Bridge's logger left at zero."""
    binarize_gripper: bool = False
    """Above 0.95 is open, below 0.05 closed, and in between what comes next."""
    relabel: bool = False
    """Take the differences of successive states as actions: what was reached, not commanded."""


@dataclass(frozen=True)
class Exported:
    """What an export wrote."""

    folder: Path
    episodes: int
    steps: int
    lost: tuple[str, ...]
    """In words, what the format cannot carry."""


Exporter = Callable[[Iterable[Episode], Path, ExportOptions], Exported]
Importer = Callable[[Path, ImportOptions], Iterator[Episode]]


def require_new(folder: Path) -> None:
    """Raise InputError unless `folder` is new or empty: an export never mixes with another."""
    if folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder}: is not empty, must be new. Choose another folder.")


def require_same_size(episode: Episode, size: tuple[int, ...] | None) -> tuple[int, ...]:
    """Return the (height, width) of an episode's pictures; InputError where it is another."""
    own = tuple(episode.images.shape[1:3])
    if size is not None and own != size:
        raise InputError(
            f"episode {episode.episode_id}: pictures of {own}, those before are {size}, must be "
            f"of one size in one data set. Export them apart."
        )
    return own


def states_of(episode: Episode) -> FloatArray:
    """Return Bridge's states (T + 1, 7): tool position [m], rpy [rad], opening."""
    pairs = zip(episode.joints_rad, episode.gripper, strict=True)
    return np.stack([bridge_state(joints, float(opening)) for joints, opening in pairs])


def require_rate(hz: float, name: Path) -> None:
    """Raise unless a data set has our control rate; another would change what an action means."""
    if abs(hz - CONTROL_HZ) > 1e-6:
        raise EpisodeFormatError(
            f"{name}: {hz:g} steps per second, must be {CONTROL_HZ:g}: a Bridge action is what "
            f"is moved in {1 / CONTROL_HZ:.1f} s. Resample the data set first."
        )


def foreign_episode(
    name: str,
    instruction: str,
    options: ImportOptions,
    *,
    images: ImageArray,
    actions: FloatArray,
    states: FloatArray,
) -> Episode:
    """Return an episode of another robot's log, of which only Bridge's states are known.

    Args:
        name: Id of the episode.
        instruction: What was asked.
        options: Conventions to apply.
        images: Pictures (T, H, W, 3) uint8.
        actions: Actions (T, 7); the last one leads to no picture and is left out.
        states: Bridge's states (T, 7); joints are solved from them.
    """
    first = 1 if options.drop_first else 0
    images, actions, states = images[first:], actions[first:].copy(), states[first:]
    if len(images) < 2:
        raise EpisodeFormatError(f"{name}: {len(images)} steps, must be at least 2. Leave it out.")
    if options.binarize_gripper:
        actions[:, 6] = binarized(actions[:, 6])
    actions = actions[:-1]
    if options.relabel:
        actions[:, :6] = reached(states)
    steps = len(actions)
    return Episode(
        episode_id=name,
        instruction=instruction,
        images=images,
        actions=actions,
        proposed=actions.copy(),
        joints_rad=joints_of_states(states, name),
        gripper=states[:, 6].astype(np.float64),
        weights_versions=("",) * steps,
        controllers=("operator",) * steps,
    )


def binarized(gripper: FloatArray) -> FloatArray:
    """Return openings (T,) as 0 or 1; values in between take the next decided one."""
    decided = np.where(gripper > 0.95, 1.0, np.where(gripper < 0.05, 0.0, np.nan))
    carry = 1.0 if not len(gripper) else float(gripper[-1] >= 0.5)
    result = np.empty(len(gripper))
    for index in range(len(gripper) - 1, -1, -1):
        carry = carry if np.isnan(decided[index]) else float(decided[index])
        result[index] = carry
    return result


def reached(states: FloatArray) -> FloatArray:
    """Return the differences (T - 1, 6) of successive Bridge states.

    Bridge takes plain differences of Euler angles, which jump by 2 pi where an angle wraps; here
    they are taken back into [-pi, pi), the same everywhere else.
    """
    moved = np.diff(states[:, :6].astype(np.float64), axis=0)
    moved[:, 3:] = (moved[:, 3:] + np.pi) % (2 * np.pi) - np.pi
    return moved


def renamed(episode: Episode, taken: set[str]) -> Episode:
    """Return the episode under an id that is not taken: `name`, else `name-2`, `name-3`, ..."""
    name, number = episode.episode_id, 1
    while name in taken:
        number += 1
        name = f"{episode.episode_id}-{number}"
    taken.add(name)
    return replace(episode, episode_id=name)
