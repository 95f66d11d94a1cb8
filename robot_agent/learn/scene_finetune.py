"""Adapt the tiny world model to a few episodes of a scene, and measure the rest and the home."""

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from robot_agent.core.clock import Stopwatch
from robot_agent.core.config import require_range, to_plain
from robot_agent.core.errors import InputError
from robot_agent.learn.averaging import between
from robot_agent.learn.clips import save_finetuned, shipped_world
from robot_agent.learn.data import Episodes, chain, subset
from robot_agent.learn.fit import FitConfig, Report
from robot_agent.learn.mixture import Mixture, shares_of
from robot_agent.learn.split import SplitConfig, split
from robot_agent.learn.training_checkpoint import Keep
from robot_agent.learn.world_training import (
    WorldTrainingConfig,
    held_out_errors,
    train_world,
    training_bytes,
)
from robot_agent.models.device import device_of, require_device_memory
from robot_agent.models.tiny_world import TinyWorld

_ASSETS = Path(__file__).resolve().parent.parent / "assets"
_HORIZONS = (1, 5, 10)


def _default_training() -> WorldTrainingConfig:
    return WorldTrainingConfig(
        fit=FitConfig(steps=200, learning_rate=5e-4, warmup_steps=10),
        frames=50,
        unroll=(5,),
        stages=(1.0,),
        ema_decay=0.95,
    )


@dataclass(frozen=True, kw_only=True)
class SceneFinetuneConfig:
    """How the world model is adapted to a scene."""

    training: WorldTrainingConfig = field(default_factory=_default_training)
    episodes: int = 5
    """First episodes of each source, which are trained on; the rest is measured on."""
    way: float = 0.75
    """How far from the shipped weights to the finetuned ones the result lies: less forgets less
    (Wortsman et al., Robust fine-tuning of zero-shot models, arXiv 2109.01903)."""
    held_out: SplitConfig = field(default_factory=SplitConfig)
    """Of these, what early stop looks at instead."""
    max_seconds: float = 150.0
    """Training stops here, on whatever processor."""
    start: Path = _ASSETS
    """Folder of the shipped weights, with their manifest."""
    threads: int = 1
    windows: int = 64
    """That are measured, of the scene and of the home."""
    checkpoint_every: int = 100
    """Updates between two checkpoints, each with a sample clip."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("episodes", self.episodes, 1, 10_000)
        require_range("max_seconds", self.max_seconds, 1.0, 1e9)
        require_range("way", self.way, 0.0, 1.0)
        require_range("threads", self.threads, 1, 256)
        require_range("windows", self.windows, 1, 10_000)
        require_range("checkpoint_every", self.checkpoint_every, 1, 10_000_000)


def finetune_on_episodes(
    scenes: Sequence[tuple[Episodes, float]],
    replay: Episodes,
    home: Episodes,
    *,
    out: Path,
    config: SceneFinetuneConfig,
    seed: int,
    device: str = "cpu",
    report: Report | None = None,
) -> dict[str, Any]:
    """Adapt the shipped world model; write it and what was measured into `out`.

    Args:
        scenes: Episodes of the scene from each source, and the source's weight; the first of each
            are trained on, the others never.
        replay: Old episodes, mixed in so that the home is not forgotten.
        home: Episodes at home that are neither trained on nor replayed.
        out: Folder for the weights.
        config: How.
        seed: Of every draw.
        device: cpu, cuda or cuda:N.
        report: Progress.

    Returns:
        `held_out` and `home` by step: PSNR [dB] of `ours repeat_last before shuffled`;
        `error_lowered` and `home_error_raised`, shares of the squared error after ten steps;
        `seconds`.

    Raises:
        ConfigError: The device is not there or has too little memory.
        InputError: No episode is left to be measured on.
        TrainingDivergedError: The loss is not finite; nothing is written.
    """
    held_out = chain([_rest(scene, config.episodes) for scene, _ in scenes])
    torch.set_num_threads(config.threads)
    watch, where = Stopwatch(), device_of(device)
    before, start = shipped_world(config.start)
    require_device_memory(where, training_bytes(before, config.training), "finetuning")
    world, mixture = copy.deepcopy(before).to(where), _mixture(scenes, replay, config)
    keep = _keep(out, mixture, config.checkpoint_every, f"{start} {seed} {config}")
    metrics = train_world(
        world,
        mixture,
        config.training,
        seed,
        report=report,
        max_seconds=config.max_seconds,
        keep=keep,
    )
    between(before, world.cpu(), config.way)
    seconds = watch.seconds()
    results: dict[str, Any] = {
        **_measured((world, before), held_out, home, config.windows, seed),
        "trained_on": config.episodes,
        "measured_on": len(held_out),
        "started_from": start,
        "training": metrics,
        "seconds": seconds,
    }
    save_finetuned(out, world, {**results, "config": to_plain(config), "seed": seed})
    keep.path.unlink(missing_ok=True)
    return results


def _measured(
    worlds: tuple[TinyWorld, TinyWorld], scene: Episodes, home: Episodes, windows: int, seed: int
) -> dict[str, Any]:
    found = {
        "held_out": _scores(*worlds, scene, windows, seed),
        "home": _scores(*worlds, home, windows, seed),
    }
    return {
        **found,
        "error_lowered": -_raised(found["held_out"]),
        "home_error_raised": _raised(found["home"]),
    }


def _mixture(
    scenes: Sequence[tuple[Episodes, float]], replay: Episodes, config: SceneFinetuneConfig
) -> Mixture:
    """Return the first episodes of each source and the old ones; never what is measured on."""
    splits = [split(subset(scene, range(config.episodes)), config.held_out) for scene, _ in scenes]
    held = [part for each in splits for part in (each.others, each.later) if part is not None]
    old = config.training.replay
    shares = [(1.0 - old) * share for share in shares_of([weight for _, weight in scenes])]
    parts = [each.seen for each in splits]
    if old:
        parts, shares = [*parts, replay], [*shares, old]
    return Mixture(tuple(parts), tuple(shares), tuple(held))


def _keep(out: Path, mixture: Mixture, every: int, words: str) -> Keep:
    """Return where the run is kept until it ends, beside its folder."""
    digest = hashlib.sha256(f"{words} {mixture.shares}".encode())
    for part in mixture.parts:
        digest.update(part.actions_NTA.numpy().tobytes())
    beside = {suffix: out.with_name(f"{out.name}.{suffix}") for suffix in ("training", "clips")}
    return Keep(
        beside["training"],
        digest.hexdigest()[:16],
        every=every,
        log=out.with_name(f"{out.name}.jsonl"),
        clips=beside["clips"],
    )


def _rest(scene: Episodes, trained_on: int) -> Episodes:
    """Return the episodes that are measured on."""
    if len(scene) <= trained_on:
        raise InputError(
            f"{len(scene)} episodes, must be more than the {trained_on} to train on: the "
            f"rest is measured on. Record more, or set episodes lower."
        )
    return subset(scene, range(trained_on, len(scene)))


def _scores(
    world: TinyWorld, before: TinyWorld, episodes: Episodes, windows: int, seed: int
) -> dict[str, dict[str, float]]:
    drawn: dict[str, Any] = {"horizons": _HORIZONS, "batch": windows}
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
