"""Finetune the tiny world model on real robot clips, and measure it on the rest of each clip."""

import copy
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save

from robot_agent import __version__
from robot_agent.core.clock import Stopwatch
from robot_agent.core.config import require_range, to_plain
from robot_agent.core.errors import ConfigError, InputError
from robot_agent.learn.clip_data import (
    MAX_LAG_STEPS,
    RealClip,
    lag_correlations,
    read_clips,
    training_episodes,
)
from robot_agent.learn.clip_scores import WindowScores, in_words, score, summary
from robot_agent.learn.fit import FitConfig, Report
from robot_agent.learn.world_training import WorldTrainingConfig, train_world
from robot_agent.models.tiny_team import load_checked, read_manifest
from robot_agent.models.tiny_world import TinyWorld
from robot_agent.store.durable import replace_file, storage_errors

WEIGHTS, RESULTS = "world.safetensors", "finetune.json"
_ASSETS = Path(__file__).resolve().parent.parent / "assets"


def _default_training() -> WorldTrainingConfig:
    return WorldTrainingConfig(
        fit=FitConfig(steps=150, learning_rate=5e-4, warmup_steps=10), unroll=(5,), stages=(1.0,)
    )


@dataclass(frozen=True, kw_only=True)
class ClipFinetuneConfig:
    """How the world model is adapted to clips."""

    training: WorldTrainingConfig = field(default_factory=_default_training)
    """`training.fit.steps` sets the time: 150 take about one minute on an idle core."""
    train_share: float = 0.7
    """First part of each clip, which is trained on."""
    action_lag_steps: int | None = None
    """By how many steps pictures follow the logged actions; None measures it on the first part."""
    start: Path = _ASSETS
    """Folder of the shipped weights, with their manifest."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("train_share", self.train_share, 0.3, 0.9)
        if self.action_lag_steps is not None:
            require_range("action_lag_steps", self.action_lag_steps, 0, MAX_LAG_STEPS)


def finetune_on_clips(
    folder: Path,
    out: Path,
    config: ClipFinetuneConfig | None = None,
    seed: int = 0,
    report: Report | None = None,
) -> dict[str, Any]:
    """Adapt the shipped world model to the first part of each clip; measure it on the rest.

    Logged actions are those commanded, and the camera shows them one to two steps later; the lag
    is measured on the first part of the clips and taken off, so that the action t which the
    model sees leads from frame t to frame t + 1. A clip has no joints: the state that the model
    takes is the sum of the actions from a nominal start.

    Args:
        folder: Clips, NNN.mp4 beside NNN.npz.
        out: Folder that receives the weights and the results; each file appears whole.
        config: How.
        seed: Of the windows drawn.
        report: Progress of training; may raise KeyboardInterrupt, which leaves `out` as it was.

    Returns:
        `held_out`: mean PSNR [dB] after 1, 5 and 10 steps of `ours`, `repeat_last`, `before` (the
        weights before finetuning) and `shuffled` (ours under actions of another clip), None where
        no clip is long enough; `per_clip` the same; `windows` counts; `in_words`;
        `action_lag_steps`, `lag_correlations`; `seconds`.

    Raises:
        InputError: No folder, no clip, or clips too short.
        EpisodeFormatError: A clip is cut, damaged, or its video and actions differ in length.
        ConfigError: The shipped weights are missing.
        BundleRejectedError: They are not those of their manifest.
        TrainingDivergedError: The loss left the finite numbers.
        StorageError: The results cannot be written.
    """
    config, watch = config or ClipFinetuneConfig(), Stopwatch()
    clips = read_clips(folder, config.train_share)
    _require_length(clips, config)
    before, start = shipped_world(config.start)
    correlations = lag_correlations(clips)
    lag = config.action_lag_steps
    lag = int(np.argmax(correlations)) if lag is None else lag
    world = copy.deepcopy(before)
    train_world(world, training_episodes(clips, lag), config.training, seed, report=report)
    scores = score(world, clips, lag, seed, as_before=False)
    for horizon, found in score(before, clips, lag, seed, as_before=True).items():
        scores[horizon] |= found
    results = {
        **_measured(scores, clips),
        "action_lag_steps": lag,
        "lag_measured": config.action_lag_steps is None,
        "lag_correlations": correlations,
        "frames": {clip.name: {"trained": clip.cut, "all": len(clip.frames)} for clip in clips},
        "started_from": start,
        "seconds": watch.seconds(),
    }
    save_finetuned(out, world, {**results, "config": to_plain(config), "seed": seed})
    return results


def _measured(scores: WindowScores, clips: Sequence[RealClip]) -> dict[str, Any]:
    held_out = summary(scores)
    return {
        "held_out": held_out,
        "per_clip": {clip.name: summary(scores, clip.name) for clip in clips},
        "windows": {str(horizon): len(found.get("ours", ())) for horizon, found in scores.items()},
        "in_words": in_words(held_out),
    }


def _require_length(clips: Sequence[RealClip], config: ClipFinetuneConfig) -> None:
    unroll, longest = max(config.training.unroll), max(clip.cut - 1 for clip in clips)
    if longest < unroll:
        raise InputError(
            f"clips: the training part of the longest has {longest} steps, must have at least "
            f"{unroll}. Add longer clips, or set training.unroll to [{longest}]."
        )


def shipped_world(folder: Path) -> tuple[TinyWorld, str]:
    """Return the first member of the shipped world models and its hash."""
    manifest, world = read_manifest(folder), TinyWorld()
    try:
        name = manifest["worlds"][0]
        sha256 = str(manifest["files"][name]["sha256"])
        load_checked(folder / f"{name}.safetensors", sha256, world)
    except (KeyError, IndexError, OSError) as error:
        raise ConfigError(
            f"{folder}: no world model as its manifest tells ({error!r}). Install again, or set "
            f"start to a folder of weights."
        ) from error
    return world.eval(), sha256


def save_finetuned(out: Path, world: TinyWorld, results: dict[str, Any]) -> None:
    """Write weights, then the results that name their hash: a reader can tell a torn pair."""
    content = save({key: tensor.contiguous() for key, tensor in world.state_dict().items()})
    note = {
        "schema": 1,
        "robot_agent": __version__,
        "weights_sha256": hashlib.sha256(content).hexdigest(),
        **results,
    }
    with storage_errors("writing finetuned weights", out):
        out.mkdir(parents=True, exist_ok=True)
        replace_file(out / WEIGHTS, content)
        replace_file(out / RESULTS, json.dumps(note, indent=1).encode())
