"""The published family from sources to a folder of weights: trained small, or gone on with.

On pixels nothing but its own weights is needed.

Axis letters: N episodes, B batch, T time, C H W picture, A action.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from robot_agent.core.clock import Stopwatch
from robot_agent.core.config import require_range
from robot_agent.core.errors import ConfigError
from robot_agent.core.protocols import Autoencoder
from robot_agent.core.types import ImageArray
from robot_agent.learn.dit_training import (
    DitTrainingConfig,
    imagine_latents,
    look_at,
    train_dit,
    training_bytes,
)
from robot_agent.learn.fit import Report
from robot_agent.learn.latents import LatentMixture, read_latent_mixture
from robot_agent.learn.picture_scores import psnr
from robot_agent.learn.samples import beside, with_samples
from robot_agent.learn.sources import Source
from robot_agent.learn.split import SplitConfig
from robot_agent.learn.training_checkpoint import Keep
from robot_agent.models.device import device_of, require_device_memory
from robot_agent.models.scaling import to_bytes
from robot_agent.models.worldgym.checkpoint import file_sha256, load_network, read_weights
from robot_agent.models.worldgym.loading import AutoencoderName, load_autoencoder, picture_px_of
from robot_agent.models.worldgym.network import Dit, DitConfig
from robot_agent.store.durable import publish_folder, storage_errors, sync_folder

HORIZONS = (1, 5, 10, 20)
_SAMPLES, _WINDOWS = 2, 16


_SIZES: dict[AutoencoderName, DitConfig] = {
    "pixels": DitConfig(channels=3, latent_px=32, patch=4, embedding=96, depth=3, heads=3),
    "taef2": DitConfig(channels=32, latent_px=32, patch=4, embedding=128, depth=3, heads=4),
    "taesd3": DitConfig(channels=16, latent_px=32, patch=4, embedding=128, depth=3, heads=4),
    "sd3": DitConfig(channels=16, latent_px=32, patch=4, embedding=128, depth=3, heads=4),
}
"""Small networks: 64 tokens a frame, pictures of 32 or 256 pixels."""


@dataclass(frozen=True, kw_only=True)
class DitPretrainingConfig:
    """Size and training of the network."""

    network: DitConfig | None = None
    """None is a small one that fits the autoencoder; not asked when weights are gone on from."""
    training: DitTrainingConfig = field(default_factory=DitTrainingConfig)
    held_out: SplitConfig = field(default_factory=SplitConfig)
    """What training never sees of each source."""
    max_episodes: int = 2000
    """Of each source."""
    max_seconds: float = 1e9
    """Training stops here, on whatever processor."""
    threads: int = 1
    checkpoint_every: int = 200
    """Updates between two checkpoints, each with a sample clip."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("checkpoint_every", self.checkpoint_every, 1, 10_000_000)
        require_range("max_episodes", self.max_episodes, 1, 10_000_000)
        require_range("max_seconds", self.max_seconds, 1.0, 1e9)
        require_range("threads", self.threads, 1, 256)


@dataclass(frozen=True, kw_only=True)
class DitJob:
    """What to train on, and where the weights go."""

    sources: tuple[Source, ...]
    out: Path
    """A new folder."""
    seed: int = 0
    init: Path | None = None
    """Folder of weights to go on from; fresh ones by default."""
    autoencoder: AutoencoderName = "pixels"
    autoencoder_folder: Path | None = None
    rank: int = 0
    """Of this process among those that train together; the first one writes."""
    device: str = "cpu"

    def keep(self, config: DitPretrainingConfig) -> Keep:
        """Return where the run is kept until it ends; the same command goes on from it."""
        words = [*map(str, self.sources), str(self.init), self.autoencoder, str(self.seed)]
        order = hashlib.sha256("\n".join([*words, repr(config)]).encode()).hexdigest()[:16]
        name = self.out.name
        return Keep(
            self.out.with_name(f"{name}.training"),
            order,
            every=config.checkpoint_every,
            log=self.out.with_name(f"{name}.jsonl"),
            clips=self.out.with_name(f"{name}.clips"),
        )


def pretrain_dit(
    job: DitJob, config: DitPretrainingConfig, *, report: Report | None = None
) -> dict[str, Any]:
    """Train from fresh weights or go on; write averaged weights and notes into a new folder.

    Returns:
        `held_out`: by step the PSNR [dB] of `ours repeat_last` against decoded real latents.

    Raises:
        ConfigError: The folder exists, the device is not there or has too little memory, or the
            weights to go on from are of another autoencoder.
        InputError: A source cannot be read or split, or its episodes are shorter than a clip.
    """
    _require_new(job.out)
    device, watch = device_of(job.device), Stopwatch()
    torch.set_num_threads(config.threads)
    torch.manual_seed(job.seed)
    network, base = _network(job, config, device)
    autoencoder = load_autoencoder(job.autoencoder, job.autoencoder_folder)
    mixture = read_latent_mixture(
        job.sources,
        autoencoder,
        picture_px_of(network.config, job.autoencoder),
        most=config.max_episodes,
        held_out=config.held_out,
    )
    keep = job.keep(config)
    averaged, metrics = train_dit(
        network.to(device),
        mixture,
        config.training,
        job.seed,
        report=_sampled(report, keep, network, mixture, autoencoder),
        max_seconds=config.max_seconds,
        keep=keep,
    )
    results: dict[str, Any] = {
        "file": job.out,
        "episodes": mixture.num_episodes,
        "parameters": sum(p.numel() for p in averaged.parameters()),
        "seconds": watch.seconds(),
        "training": metrics,
        "held_out": _held_out(averaged, mixture, autoencoder),
        **base,
    }
    if job.rank == 0:
        notes = {"weights": "ema", "autoencoder": job.autoencoder, "seed": job.seed, **base}
        write_weights(job.out, averaged.cpu(), notes)
        keep.path.unlink(missing_ok=True)
    return results


def _require_new(out: Path) -> None:
    if out.exists():
        raise ConfigError(f"{out}: exists, must be new. Choose another --out or move it away.")


def _network(
    job: DitJob, config: DitPretrainingConfig, device: torch.device
) -> tuple[Dit, dict[str, Any]]:
    """Return the network to train, and the hash of the weights that it goes on from."""
    if job.init is None:
        fresh = config.network or _SIZES[job.autoencoder]
        _require_memory(fresh, config, device)
        return Dit(fresh), {}
    size, tensors, notes = read_weights(job.init)
    _require_memory(size, config, device)
    of = notes.get("autoencoder", job.autoencoder)
    if of != job.autoencoder:
        raise ConfigError(
            f"{job.init}: weights of the autoencoder {of}, not {job.autoencoder}. Use "
            f"--autoencoder {of}."
        )
    lora = config.training.lora
    return load_network(tensors, size).float(), {
        "base_sha256": notes["sha256"],
        "lora": {"rank": lora.rank, "scale": lora.scale},
    }


def _require_memory(
    network: DitConfig, config: DitPretrainingConfig, device: torch.device
) -> None:
    needed = training_bytes(network, config.training)
    require_device_memory(device, needed, "training a world model")


def _sampled(
    report: Report | None,
    keep: Keep,
    network: Dit,
    mixture: LatentMixture,
    autoencoder: Autoencoder,
) -> Report | None:
    latents, slots = look_at([*mixture.held_out, *mixture.parts][0], _SAMPLES, max(HORIZONS[:3]))

    def draw() -> ImageArray:
        imagined = imagine_latents(network, latents, slots).cpu()
        network.train()
        both = latents, torch.cat([latents[:, :1], imagined], dim=1)
        real, ours = (to_bytes(_decode(autoencoder, part)) for part in both)
        return beside(real, ours)

    return with_samples(report, keep.clips, keep.every, draw)


def _decode(autoencoder: Autoencoder, latents_BTCHW: Tensor) -> Tensor:
    pictures: Tensor = autoencoder.decode(latents_BTCHW.flatten(0, 1))
    return pictures.unflatten(0, latents_BTCHW.shape[:2])


def _held_out(
    network: Dit, mixture: LatentMixture, autoencoder: Autoencoder
) -> dict[str, dict[str, float]]:
    if not mixture.held_out:
        return {}
    found: dict[str, dict[str, list[float]]] = {}
    for part in mixture.held_out:
        latents, slots = look_at(part, _WINDOWS, max(HORIZONS))
        imagined = _decode(autoencoder, imagine_latents(network, latents, slots).cpu())
        real = _decode(autoencoder, latents)
        for step in (step for step in HORIZONS if step < real.shape[1]):
            scores = found.setdefault(str(step), {"ours": [], "repeat_last": []})
            scores["ours"].append(psnr(imagined[:, step - 1], real[:, step]))
            scores["repeat_last"].append(psnr(real[:, 0], real[:, step]))
    return {
        step: {name: sum(values) / len(values) for name, values in scores.items()}
        for step, scores in found.items()
    }


def write_weights(out: Path, network: Dit, notes: Mapping[str, Any]) -> None:
    """Write a network as `weights import` does, by one rename."""
    staging = out.with_name(f".tmp-{out.name}")
    with storage_errors("writing weights", out):
        staging.mkdir(parents=True, exist_ok=True)
        weights = staging / "world.safetensors"
        save_file({k: v.contiguous() for k, v in network.state_dict().items()}, weights)
        whole = {
            "schema": 1,
            "family": "worldgym",
            **notes,
            "sha256": file_sha256(weights),
            "network": asdict(network.config),
        }
        (staging / "world.json").write_text(json.dumps(whole, indent=1), "utf-8")
        sync_folder(staging)
        publish_folder(staging, out)
