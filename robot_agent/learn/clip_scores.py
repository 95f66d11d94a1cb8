"""How well a world model predicts the held-out part of real clips, and in words what that means.

Axis letters: B windows, T time, C H W picture, A action, P state.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from robot_agent.learn.clip_data import RealClip, held_out_window, of_another_clip
from robot_agent.learn.data import Window
from robot_agent.learn.picture_scores import psnr_each
from robot_agent.models.tiny_world import TinyWorld

HORIZONS = (1, 5, 10)
"""Steps after which predictions are compared with the real pictures."""
_SHUFFLES = 3
"""Draws of foreign actions that are averaged."""

Scores = dict[str, float | None]
"""PSNR [dB] by method; None where no clip is long enough."""
WindowScores = dict[int, dict[str, list[tuple[str, float]]]]
"""By horizon and method: clip and PSNR [dB] of every window."""


def score(
    world: TinyWorld, clips: Sequence[RealClip], lag_steps: int, seed: int, *, as_before: bool
) -> WindowScores:
    """Return the PSNR of every held-out window.

    With `as_before` the only method is `before`; otherwise `ours`, `repeat_last` and `shuffled`:
    our predictions under the actions of a window of another clip.
    """
    world.eval()
    found: WindowScores = {}
    for horizon in HORIZONS:
        drawn = held_out_window(clips, lag_steps, horizon)
        if drawn is None:
            found[horizon] = {}
            continue
        window, names = drawn
        ours = _rollout_psnr(world, window, window.actions_BTA)
        if as_before:
            found[horizon] = {"before": list(zip(names, ours, strict=True))}
            continue
        rng = np.random.default_rng(seed)
        others = [of_another_clip(names, rng) for _ in range(_SHUFFLES)]
        shuffled = [_rollout_psnr(world, window, window.actions_BTA[index]) for index in others]
        still = psnr_each(window.images_BTCHW[:, 0], window.images_BTCHW[:, -1]).tolist()
        found[horizon] = {
            "ours": list(zip(names, ours, strict=True)),
            "repeat_last": list(zip(names, still, strict=True)),
            "shuffled": [pair for run in shuffled for pair in zip(names, run, strict=True)],
        }
    return found


def summary(scores: WindowScores, clip: str = "") -> dict[str, Scores]:
    """Return the mean PSNR [dB] by horizon and method, over all windows or those of one clip."""
    methods = ("ours", "repeat_last", "before", "shuffled")
    return {
        str(horizon): {name: _mean(by_method.get(name, ()), clip) for name in methods}
        for horizon, by_method in scores.items()
    }


def in_words(held_out: Mapping[str, Scores]) -> list[str]:
    """Return one sentence per horizon: which baselines our predictions beat, and which not."""
    sentences = []
    for horizon, scores in held_out.items():
        after = f"after {horizon} step{'s' if horizon != '1' else ''}"
        ours = scores["ours"]
        if ours is None:
            sentences.append(f"{after}: not measured, the rest of every clip is too short")
            continue
        lost: list[str] = []
        won: list[str] = []
        for rival, title in _TITLES.items():
            value = scores[rival]
            assert value is not None, f"{rival} is measured wherever ours is"
            better = ours - value
            place = won if better > 0 else lost
            place.append(f"{title} ({value:.2f} dB, {better:+.2f})")
        words = f"{after}: ours {ours:.2f} dB"
        words += f" beats {', '.join(won)}" if won else ""
        words += f"{'; it' if won else ''} does NOT beat {', '.join(lost)}" if lost else ""
        sentences.append(words)
    return sentences


_TITLES = {
    "repeat_last": "repeating the last frame",
    "before": "the weights before finetuning",
    "shuffled": "itself with the actions of another clip",
}


@torch.no_grad()
def _rollout_psnr(world: TinyWorld, window: Window, actions_BTA: Tensor) -> list[float]:
    image, state = window.images_BTCHW[:, 0], window.states_BTP[:, 0]
    for t in range(window.images_BTCHW.shape[1] - 1):
        image, state = world(
            image, window.first_BCHW, state, actions_BTA[:, t + 1], actions_BTA[:, t]
        )
    return psnr_each(image.clamp(0.0, 1.0), window.images_BTCHW[:, -1]).tolist()


def _mean(pairs: Sequence[tuple[str, float]], clip: str) -> float | None:
    values = [value for name, value in pairs if clip in ("", name)]
    return math.fsum(values) / len(values) if values else None
