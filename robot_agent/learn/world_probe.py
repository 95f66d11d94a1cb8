"""What a world model is measured by: errors by step, edited actions, disagreement.

Axis letters: B windows, T steps, H W C picture, A action (7).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from robot_agent.core.protocols import WorldModel
from robot_agent.core.types import FloatArray, ImageArray, Observation
from robot_agent.learn.axis_sweep import AXES, roll_out
from robot_agent.learn.clip_data import of_another_clip
from robot_agent.learn.picture_scores import psnr_each, sharpness, ssim
from robot_agent.learn.real_windows import RealWindows
from robot_agent.models.scaling import resize_squashed, to_unit

Lpips = Callable[[torch.Tensor, torch.Tensor], float]
"""Perceptual distance of pictures (B, 3, H, W) in [0, 1]."""


@dataclass(frozen=True, eq=False)
class ErrorsByStep:
    """PSNR [dB] of every window at every step (B, T) by method, and means by step of the rest."""

    psnr: Mapping[str, FloatArray]
    ssim: Mapping[str, list[float]]
    lpips: Mapping[str, list[float]]
    sharpness: list[float]
    """Of our pictures beside the real ones; 1 is as sharp."""
    frames: ImageArray
    """Ours (B, T + 1, H, W, 3)."""
    real: ImageArray
    """The real ones at the same size."""


def errors_by_step(
    world: WorldModel, windows: RealWindows, rng: np.random.Generator, lpips: Lpips | None = None
) -> ErrorsByStep:
    """Hold `ours`, `repeat_last` and `shuffled` against the real pictures.

    `shuffled` is the model itself under the actions of another episode.
    """
    ours = roll_out(world, windows.starts, windows.actions_BTA).frames_BTHWC
    foreign = windows.actions_BTA[of_another_clip(windows.episode_B, rng).numpy()]
    real = at_size(windows.frames_BTHWC, ours.shape[-2])
    methods = {
        "ours": ours,
        "repeat_last": np.repeat(real[:, :1], real.shape[1], axis=1),
        "shuffled": roll_out(world, windows.starts, foreign).frames_BTHWC,
    }
    steps = range(1, real.shape[1])
    return ErrorsByStep(
        psnr={name: psnr_by_step(frames, real) for name, frames in methods.items()},
        ssim={
            name: [ssim(to_unit(frames[:, t]), to_unit(real[:, t])) for t in steps]
            for name, frames in methods.items()
        },
        lpips={}
        if lpips is None
        else {
            name: [lpips(to_unit(frames[:, t]), to_unit(real[:, t])) for t in steps]
            for name, frames in methods.items()
        },
        sharpness=[sharpness(to_unit(ours[:, t]), to_unit(real[:, t])) for t in steps],
        frames=ours,
        real=real,
    )


def psnr_by_step(frames_BTHWC: ImageArray, real_BTHWC: ImageArray) -> FloatArray:
    """Return PSNR [dB] (B, T) of all frames after the first."""
    columns = [
        psnr_each(to_unit(frames_BTHWC[:, t]), to_unit(real_BTHWC[:, t])).double().numpy()
        for t in range(1, real_BTHWC.shape[1])
    ]
    return np.stack(columns, axis=1)


def at_size(frames_BTHWC: ImageArray, size_px: int) -> ImageArray:
    """Return pictures squashed to the size of the model's."""
    if frames_BTHWC.shape[2:4] == (size_px, size_px):
        return frames_BTHWC
    flat = frames_BTHWC.reshape(-1, *frames_BTHWC.shape[2:])
    small = np.stack([resize_squashed(frame, size_px) for frame in flat])
    return small.reshape(*frames_BTHWC.shape[:2], size_px, size_px, 3)


@dataclass(frozen=True)
class EditEffect:
    """How much worse the real pictures agree when the actions are edited, paired by window."""

    worse_db: float
    """Mean PSNR lost; positive for a model that means what the robot means."""
    error_db: float
    """Standard error of that mean."""

    @property
    def in_errors(self) -> float:
        """The mean in standard errors."""
        return self.worse_db / self.error_db if self.error_db > 0 else 0.0


def edit_effects(world: WorldModel, windows: RealWindows) -> dict[str, EditEffect]:
    """Imagine real windows under edited actions; return by edit how much worse it gets.

    Edits: `mirror X` for every axis (commands negated, the gripper swapped), `rest` (no motion),
    `late` and `early` (each step gets the action of the step before or after).
    """
    true = windows.actions_BTA
    imagined = roll_out(world, windows.starts, true).frames_BTHWC
    real = at_size(windows.frames_BTHWC, imagined.shape[-2])
    right = psnr_by_step(imagined, real).mean(axis=1)
    found = {}
    for name, actions in _edits(true).items():
        frames = roll_out(world, windows.starts, actions).frames_BTHWC
        worse = right - psnr_by_step(frames, real).mean(axis=1)
        error = float(worse.std(ddof=1) / np.sqrt(len(worse))) if len(worse) > 1 else 0.0
        found[name] = EditEffect(float(worse.mean()), error)
    return found


def _edits(actions_BTA: FloatArray) -> dict[str, FloatArray]:
    rest = actions_BTA.copy()
    rest[..., :6] = 0.0
    edits = {
        "rest": rest,
        "late": np.concatenate([rest[:, :1], actions_BTA[:, :-1]], axis=1),
        "early": np.concatenate([actions_BTA[:, 1:], rest[:, -1:]], axis=1),
    }
    for axis, name in enumerate(AXES):
        mirrored = actions_BTA.copy()
        mirrored[..., axis] = -mirrored[..., axis] if axis < 6 else 1.0 - mirrored[..., axis]
        edits[f"mirror {name}"] = mirrored
    return edits


def disagreement_by_step(
    world: WorldModel, other: WorldModel | None, windows: RealWindows, rng: np.random.Generator
) -> list[float]:
    """Return by step how far two imaginations are apart, over how far the real picture moved.

    The other is a second member; or, without one, the same from start frames that differ by one
    grey level of noise: what a model does of its own accord, it does differently then.
    """
    starts, second = list(windows.starts), other
    if second is None:
        second, starts = world, [_with_grain(start, rng) for start in starts]
    one = roll_out(world, windows.starts, windows.actions_BTA).frames_BTHWC.astype(np.float64)
    two = roll_out(second, starts, windows.actions_BTA).frames_BTHWC.astype(np.float64)
    real = at_size(windows.frames_BTHWC, one.shape[-2]).astype(np.float64)
    apart = np.sqrt(((one - two) ** 2).mean(axis=(0, 2, 3, 4)))[1:]
    moved = np.sqrt(((real - real[:, :1]) ** 2).mean(axis=(0, 2, 3, 4)))[1:]
    return [float(a / max(m, 1e-6)) for a, m in zip(apart, moved, strict=True)]


def _with_grain(start: Observation, rng: np.random.Generator) -> Observation:
    grain = rng.integers(-1, 2, start.image_hwc.shape)
    image = np.clip(start.image_hwc.astype(np.int64) + grain, 0, 255).astype(np.uint8)
    return Observation(
        image_hwc=image, joints_rad=start.joints_rad, gripper=start.gripper, stamp_ns=0
    )
