"""Adapt the tiny world model to a few episodes of a scene, and measure the rest and the home."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from robot_agent.core.clock import Stopwatch
from robot_agent.core.config import require_range, to_plain
from robot_agent.core.errors import InputError
from robot_agent.learn.clips import save_finetuned, shipped_world
from robot_agent.learn.data import Episodes, subset
from robot_agent.learn.fit import FitConfig, Report
from robot_agent.learn.world_training import WorldTrainingConfig, held_out_errors, train_world
from robot_agent.models.tiny_world import TinyWorld

_ASSETS = Path(__file__).resolve().parent.parent / "assets"
_HORIZONS = (1, 5, 10)
_WINDOWS = 64


def _default_training() -> WorldTrainingConfig:
    return WorldTrainingConfig(
        fit=FitConfig(steps=120, learning_rate=5e-4, warmup_steps=10),
        frames=50,
        unroll=(5,),
        stages=(1.0,),
    )


@dataclass(frozen=True, kw_only=True)
class SceneFinetuneConfig:
    """How the world model is adapted to a scene."""

    training: WorldTrainingConfig = field(default_factory=_default_training)
    episodes: int = 5
    """First episodes of the recording, which are trained on; the rest is held out."""
    max_seconds: float = 150.0
    """Training stops here, on whatever processor."""
    start: Path = _ASSETS
    """Folder of the shipped weights, with their manifest."""
    threads: int = 1

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("episodes", self.episodes, 1, 10_000)
        require_range("max_seconds", self.max_seconds, 1.0, 1e9)
        require_range("threads", self.threads, 1, 256)


def finetune_on_episodes(
    scene: Episodes,
    replay: Episodes,
    home: Episodes,
    *,
    out: Path,
    config: SceneFinetuneConfig,
    seed: int,
    report: Report | None = None,
) -> dict[str, Any]:
    """Adapt the shipped world model; write it and what was measured into `out`.

    Args:
        scene: Episodes of the scene; the first are trained on, the others never.
        replay: Old episodes, mixed in so that the home is not forgotten.
        home: Episodes at home that are neither trained on nor replayed.
        out: Folder for the weights.
        config: How.
        seed: Of every draw.
        report: Progress.

    Returns:
        `held_out` and `home` by step: PSNR [dB] of `ours repeat_last before shuffled`;
        `error_lowered` and `home_error_raised`, shares of the squared error after ten steps;
        `seconds`.

    Raises:
        InputError: No episode is left to be measured on.
        TrainingDivergedError: The loss is not finite; nothing is written.
    """
    _require_rest(scene, config.episodes)
    torch.set_num_threads(config.threads)
    watch = Stopwatch()
    seen = subset(scene, range(config.episodes))
    held_out = subset(scene, range(config.episodes, len(scene)))
    before, start = shipped_world(config.start)
    world = copy.deepcopy(before)
    train_world(
        world,
        seen,
        config.training,
        seed,
        replay=replay,
        report=report,
        max_seconds=config.max_seconds,
    )
    seconds = watch.seconds()
    results: dict[str, Any] = {
        "held_out": _scores(world.eval(), before, held_out, seed),
        "home": _scores(world, before, home, seed),
        "trained_on": config.episodes,
        "measured_on": len(held_out),
        "started_from": start,
        "seconds": seconds,
    }
    results["error_lowered"] = -_raised(results["held_out"])
    results["home_error_raised"] = _raised(results["home"])
    save_finetuned(out, world, {**results, "config": to_plain(config), "seed": seed})
    return results


def _require_rest(scene: Episodes, trained_on: int) -> None:
    if len(scene) <= trained_on:
        raise InputError(
            f"{len(scene)} episodes, must be more than the {trained_on} to train on: the "
            f"rest is measured on. Record more, or set episodes lower."
        )


def _scores(
    world: TinyWorld, before: TinyWorld, episodes: Episodes, seed: int
) -> dict[str, dict[str, float]]:
    drawn: dict[str, Any] = {"horizons": _HORIZONS, "batch": _WINDOWS}
    ours = held_out_errors(world, episodes, seed, **drawn)
    old = held_out_errors(before, episodes, seed, **drawn)
    shuffled = held_out_errors(world, episodes, seed, shuffle_actions=True, **drawn)
    return {
        str(horizon): {
            "ours": ours["ours"][str(horizon)],
            "repeat_last": ours["repeat_last"][str(horizon)],
            "before": old["ours"][str(horizon)],
            "shuffled": shuffled["ours"][str(horizon)],
        }
        for horizon in _HORIZONS
    }


def _raised(scores: Mapping[str, Mapping[str, float]]) -> float:
    """Return by which share the squared error at the last horizon rose (geometric mean)."""
    last = scores[str(max(_HORIZONS))]
    return float(10.0 ** ((last["before"] - last["ours"]) / 10.0) - 1.0)
