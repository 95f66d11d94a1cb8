"""From a folder of real clips to a finetuned model, a trust report and clips side by side.

Axis letters: T time, H W C picture.
"""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from robot_agent.core.clock import Stopwatch
from robot_agent.core.config import require_range
from robot_agent.core.errors import ConfigError
from robot_agent.core.protocols import WorldModel
from robot_agent.core.types import ImageArray
from robot_agent.learn.dit_pretraining import DitJob, DitPretrainingConfig, pretrain_dit
from robot_agent.learn.dit_training import DitTrainingConfig
from robot_agent.learn.early_stop import EarlyStopConfig
from robot_agent.learn.fit import FitConfig, Report
from robot_agent.learn.latent_world import LatentWorldConfig, latent_clips, train_latent_world
from robot_agent.learn.pretraining import read_world
from robot_agent.learn.real_windows import RealEpisode, of_clips
from robot_agent.learn.samples import beside, write_clip
from robot_agent.learn.split import SplitConfig
from robot_agent.learn.trust import TrustConfig, trust_report
from robot_agent.learn.trust_outcomes import plain
from robot_agent.learn.trust_page import write_report
from robot_agent.models.scaling import resize_squashed
from robot_agent.models.tiny_imagination import TinyImagination
from robot_agent.models.worldgym.loading import load_autoencoder, load_imagination
from robot_agent.store.durable import replace_file, storage_errors


def _default_diffusion() -> DitPretrainingConfig:
    return DitPretrainingConfig(
        training=DitTrainingConfig(
            fit=FitConfig(steps=1000, learning_rate=1e-3),
            batch=4,
            frames=8,
            ema_decay=0.99,
            early_stop=EarlyStopConfig(every=100, patience=5, windows=16, steps=5),
        ),
        max_seconds=360.0,
    )


@dataclass(frozen=True, kw_only=True)
class RealClipsConfig:
    """What is done with the clips; the defaults take under 15 minutes on two cores."""

    family: Literal["compositional", "dit"] = "compositional"
    """What learns: the tiny network on latents, from the shipped weights, or the published
    diffusion transformer, from a folder of weights or from nothing."""
    compositional: LatentWorldConfig = field(default_factory=LatentWorldConfig)
    dit: DitPretrainingConfig = field(default_factory=_default_diffusion)
    unseen: float = 0.3
    """Last share of each clip, which is never trained on."""
    threads: int = 2
    trust: TrustConfig = field(
        default_factory=lambda: TrustConfig(windows=6, sweep_starts=1, horizon=10)
    )
    shown_steps: int = 10
    """Length of the clips side by side, from the last picture that was trained on."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("shown_steps", self.shown_steps, 1, 100)
        require_range("unseen", self.unseen, 0.1, 0.7)
        require_range("threads", self.threads, 1, 256)


def learn_real_clips(
    job: DitJob, config: RealClipsConfig, report: Report | None = None
) -> dict[str, Any]:
    """Finetune on the first part of each clip, report on the rest; all into the folder of `job`.

    The folder of `job.out` gets `world` (weights), `trust` (report) and `clips` (MP4, real left
    and imagined right); each appears whole, `real.json` last.

    Returns:
        `training`, `trust` without its clips, `clips`, and `seconds` by stage.

    Raises:
        InputError: There is no clip, or none is long enough.
        ConfigError: Weights are missing, memory is short, or the folder holds weights already.
    """
    watch, seconds = Stopwatch(), {}
    torch.set_num_threads(config.threads)
    train = _train_diffusion if config.family == "dit" else _train_compositional
    world, trained = train(job, config, report)
    seconds["training"] = watch.seconds()
    episodes = of_clips(job.sources[0].path, 1.0 - config.unseen)
    shown = _show(world, episodes, config.shown_steps, job.out / "clips")
    seconds["clips"] = watch.seconds() - seconds["training"]
    trust = trust_report(world, episodes, config.trust, job.seed)
    seconds["trust"] = watch.seconds() - seconds["training"] - seconds["clips"]
    results = {**trust.plain(), **plain(None, {}), "source": f"{job.out} on {job.sources[0]}"}
    page = write_report(job.out / "trust", results, trust.clips)
    seconds["all"] = watch.seconds()
    found = {
        "training": trained, "trust": results, "page": page, "clips": shown, "seconds": seconds,
    }  # fmt: skip
    with storage_errors("writing results", job.out):
        content = json.dumps(found, indent=1, default=str)
        replace_file(job.out / "real.json", content.encode())
    return found


def _train_compositional(
    job: DitJob, config: RealClipsConfig, report: Report | None
) -> tuple[WorldModel, dict[str, Any]]:
    weights, size = job.out / "world.safetensors", config.compositional.picture_px
    if weights.exists():
        raise ConfigError(f"{weights}: exists, must be new. Choose another --out or move it away.")
    autoencoder = load_autoencoder(job.autoencoder, job.autoencoder_folder)
    clips = latent_clips(job.sources[0].path, autoencoder, size, SplitConfig(time=config.unseen))
    job.out.mkdir(parents=True, exist_ok=True)
    trained = train_latent_world(clips, config.compositional, weights, job.seed, report)
    return TinyImagination(read_world(weights), autoencoder, size), trained


def _train_diffusion(
    job: DitJob, config: RealClipsConfig, report: Report | None
) -> tuple[WorldModel, dict[str, Any]]:
    folder = job.out / "world"
    how = dataclasses.replace(
        config.dit, held_out=SplitConfig(time=config.unseen), threads=config.threads
    )
    trained = pretrain_dit(dataclasses.replace(job, out=folder), how, report=report)
    world = load_imagination(folder, job.autoencoder, job.autoencoder_folder, seed=job.seed)
    return world, trained


def _show(
    world: WorldModel, episodes: Sequence[RealEpisode], steps: int, folder: Path
) -> list[Path]:
    """Write a clip of each episode, imagined by its own actions from its first picture."""
    written = []
    for episode in episodes:
        frames = _imagine(world, episode, steps)
        real = np.stack(
            [resize_squashed(image, frames.shape[1]) for image in episode.frames[: len(frames)]]
        )
        path = folder / f"{episode.name}.mp4"
        write_clip(path, beside(real[None], frames[None]))
        written.append(path)
    return written


def _imagine(world: WorldModel, episode: RealEpisode, steps: int) -> ImageArray:
    frames = [world.reset([episode.observation(0)])[0]]
    frames += [world.step(action[None])[0] for action in episode.actions[:steps]]
    return np.stack(frames)
