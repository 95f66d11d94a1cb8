"""Real episodes as a world model is held against them, whatever they were recorded as.

Axis letters: B windows, T steps, H W C picture, A action (7), P Bridge state (7).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robot_agent.core import wx250s
from robot_agent.core.bridge_action import Normalization, bridge_state
from robot_agent.core.errors import InputError
from robot_agent.core.geometry import pose, rotation_from_rpy
from robot_agent.core.types import Episode, FloatArray, ImageArray, Observation
from robot_agent.learn.clip_data import (
    MIN_FRAMES,
    delayed_actions,
    integrated_states,
    measured_lag,
    read_clips,
)
from robot_agent.learn.data import Episodes, subset
from robot_agent.learn.sources import read_recording
from robot_agent.models.scaling import unscale_states
from robot_agent.store.clips import load_clip

_SEED_RAD = np.array([0.0, -0.6, 0.4, 0.0, 1.7, 0.0])
"""Above the table, pointing down: where inverse kinematics begins."""


@dataclass(frozen=True, eq=False)
class RealEpisode:
    """One episode: action t leads from frame t to frame t + 1."""

    name: str
    frames: ImageArray
    """(T + 1, H, W, 3) uint8."""
    actions: FloatArray
    """Executed Bridge actions (T, 7)."""
    joints_rad: FloatArray
    """(T + 1, 6)."""
    openings: FloatArray
    """(T + 1,)."""
    instruction: str = ""
    outcome: str = "unknown"

    @cached_property
    def states(self) -> FloatArray:
        """Bridge states (T + 1, 7)."""
        pairs = zip(self.joints_rad, self.openings, strict=True)
        return np.stack([bridge_state(joints, float(opening)) for joints, opening in pairs])

    def observation(self, step: int) -> Observation:
        """Return what was seen at a step."""
        return Observation(
            image_hwc=self.frames[step],
            joints_rad=self.joints_rad[step],
            gripper=float(self.openings[step]),
            stamp_ns=0,
        )


@dataclass(frozen=True, eq=False)
class RealWindows:
    """Windows of T steps, cut out of real episodes."""

    starts: list[Observation]
    frames_BTHWC: ImageArray
    """(B, T + 1, H, W, 3) uint8."""
    actions_BTA: FloatArray
    states_BTP: FloatArray
    """(B, T + 1, 7)."""
    episode_B: NDArray[np.int64]
    """Which episode each is from."""


def of_store(episodes: Sequence[Episode]) -> list[RealEpisode]:
    """Return recorded episodes."""
    return [
        RealEpisode(
            name=episode.episode_id,
            frames=episode.images,
            actions=episode.actions,
            joints_rad=episode.joints_rad,
            openings=episode.gripper,
            instruction=episode.instruction,
            outcome=episode.outcome,
        )
        for episode in episodes
    ]


def of_training(episodes: Episodes) -> list[RealEpisode]:
    """Return episodes of training data, without their padding."""
    actions = Normalization().unnormalize(episodes.actions_NTA.double().numpy())
    states, images = unscale_states(episodes.states_NTP), episodes.images_NTHWC.numpy()
    return [
        RealEpisode(
            name=f"episode {index}",
            frames=images[index, : steps + 1],
            actions=actions[index, :steps],
            joints_rad=joints_of(states[index, : steps + 1]),
            openings=states[index, : steps + 1, 6],
        )
        for index, steps in enumerate(episodes.lengths_N.tolist())
    ]


def of_recording(path: Path, count: int) -> list[RealEpisode]:
    """Return the first episodes of a recording of `demos collect`.

    Raises:
        InputError: The file is no recording.
    """
    recorded = read_recording(path)
    return of_training(subset(recorded, range(min(count, len(recorded)))))


def of_clips(folder: Path, train_share: float, lag_steps: int | None = None) -> list[RealEpisode]:
    """Return the part of each clip that finetuning leaves out, at its full size.

    Logged actions are shifted by the lag, measured on the first parts when it is None. Clips
    have no joints: the states are the sums of the actions from a nominal start.

    Raises:
        InputError: No clip has a step left to be measured on.
        EpisodeFormatError: A clip is damaged.
    """
    small = read_clips(folder, train_share)
    lag = measured_lag(small) if lag_steps is None else lag_steps
    found = []
    for clip in small:
        frames, first = load_clip(folder, clip.name).frames, max(0, clip.cut - 1)
        shown = delayed_actions(clip.actions, lag)
        states = integrated_states(shown[:-1])
        part = RealEpisode(
            name=clip.name,
            frames=frames[first:],
            actions=shown[first:-1],
            joints_rad=joints_of(states[first:]),
            openings=states[first:, 6],
        )
        if len(part.actions):
            found.append(part)
    if not found:
        raise InputError(
            f"{folder}: no clip has a frame after {train_share:.0%} of it, must have one. "
            f"Lower train_share or add clips of at least {MIN_FRAMES} frames."
        )
    return found


def joints_of(states: FloatArray) -> FloatArray:
    """Return joints (T, 6) [rad] that reach Bridge states (T, 7), each found from the one before.

    A state out of reach keeps the joints before it: what is out of reach was summed, not measured.
    """
    joints = [_SEED_RAD]
    for state in states:
        target = pose(rotation_from_rpy(state[3:6]) @ wx250s.GRIPPER_DOWN, state[:3])
        reached = wx250s.inverse(target, joints[-1])
        joints.append(joints[-1] if reached is None else reached)
    return np.stack(joints[1:])


def cut_windows(
    episodes: Sequence[RealEpisode], steps: int, count: int, rng: np.random.Generator
) -> RealWindows:
    """Return at most `count` windows of `steps` steps, spread over the episodes in turn.

    Raises:
        InputError: No episode is that long.
    """
    places = [
        (index, start)
        for index, episode in enumerate(episodes)
        for start in range(len(episode.actions) - steps + 1)
    ]
    if not places:
        longest = max((len(episode.actions) for episode in episodes), default=0)
        raise InputError(
            f"windows of {steps} steps: the longest of {len(episodes)} episodes has {longest}, "
            f"must have at least {steps}. Record longer episodes or ask for a shorter horizon."
        )
    order = rng.permutation(len(places))[:count]
    chosen = sorted(places[i] for i in order)
    picked = [(episodes[index], start) for index, start in chosen]
    return RealWindows(
        starts=[episode.observation(start) for episode, start in picked],
        frames_BTHWC=np.stack([e.frames[s : s + steps + 1] for e, s in picked]),
        actions_BTA=np.stack([e.actions[s : s + steps] for e, s in picked]),
        states_BTP=np.stack([e.states[s : s + steps + 1] for e, s in picked]),
        episode_B=np.array([index for index, _ in chosen]),
    )
