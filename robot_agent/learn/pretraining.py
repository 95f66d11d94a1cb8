"""From a recording to a file of weights: how the shipped networks of the tiny tier are made."""

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from robot_agent.core.clock import Stopwatch
from robot_agent.core.config import require_range
from robot_agent.core.errors import InputError
from robot_agent.learn.data import Episodes, load_demonstrations
from robot_agent.learn.fit import Metrics, Report
from robot_agent.learn.judge_training import JudgeTrainingConfig, audit_judge, train_judge
from robot_agent.learn.policy_training import PolicyTrainingConfig, train_policy
from robot_agent.learn.sources import Source, read_mixture, read_recording, recordings
from robot_agent.learn.split import SplitConfig, held_out_parts
from robot_agent.learn.training_checkpoint import Keep
from robot_agent.learn.world_training import (
    WorldTrainingConfig,
    held_out_errors,
    horizons_of,
    train_world,
    training_bytes,
)
from robot_agent.models.device import device_of, require_device_memory
from robot_agent.models.tiny_judge import TinyJudge
from robot_agent.models.tiny_policy import TinyPolicy, TinyPolicyConfig
from robot_agent.models.tiny_team import INSTRUCTIONS, load_into
from robot_agent.models.tiny_world import TinyWorld, size_of
from robot_agent.store.durable import replace_file, storage_errors


@dataclass(frozen=True, kw_only=True)
class PretrainingConfig:
    """How a network is made from a recording."""

    threads: int = 1
    """Small networks gain little from more; train two networks side by side instead."""
    world: WorldTrainingConfig = field(default_factory=WorldTrainingConfig)
    policy: PolicyTrainingConfig = field(default_factory=PolicyTrainingConfig)
    judge: JudgeTrainingConfig = field(default_factory=JudgeTrainingConfig)
    held_out: SplitConfig = field(default_factory=SplitConfig)
    """What a world model never sees of its sources."""
    checkpoint_every: int = 200
    """Updates between two checkpoints of a world model, each with a sample clip."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("threads", self.threads, 1, 256)
        require_range("checkpoint_every", self.checkpoint_every, 1, 10_000_000)


@dataclass(frozen=True)
class Job:
    """What to train on, and where the weights go."""

    data: tuple[Path, ...]
    """Recordings; several for a policy, one for a judge, none for a world model."""
    out: Path
    seed: int
    sources: tuple[Source, ...] = ()
    """What a world model is trained on."""
    held_out: Path | None = None
    """A recording that is not trained on, to measure with."""
    init: Path | None = None
    """Weights to go on from, for a world model or a judge; fresh ones by default."""
    rank: int = 0
    """Of this process among those that train together; the first one writes."""
    device: str = "cpu"

    @property
    def log(self) -> Path:
        """Metrics as they come, one JSON line each, beside the weights."""
        return self.out.with_suffix(".jsonl")

    @property
    def clips(self) -> Path:
        """Folder of sample clips, beside the weights."""
        return self.out.with_suffix(".clips")

    @property
    def checkpoint(self) -> Path:
        """Where the run is kept until it ends; the same command goes on from it."""
        return self.out.with_suffix(".training")

    def order(self, config: PretrainingConfig) -> str:
        """Return what the run is of, so that another one does not resume it."""
        words = [*map(str, self.sources), str(self.init), str(self.seed), repr(config)]
        return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]


def pretrain_world(job: Job, config: PretrainingConfig, report: Report) -> dict[str, Any]:
    """Train a world model; return metrics, and PSNR [dB] on what was held out.

    Raises:
        ConfigError: The device is not there or has too little memory.
        InputError: A source cannot be read or split.
    """
    device = device_of(job.device)
    network = _seeded(job, config, TinyWorld)
    if job.init is not None:
        load_into(network, _tensors(job.init), job.init.name)
    require_device_memory(device, training_bytes(network, config.world), "training a world model")
    network.to(device, memory_format=torch.channels_last)
    mixture, splits = read_mixture(job.sources, config.held_out)
    held_out = {"file": _read(job.held_out)} | held_out_parts(splits)

    def train() -> Metrics:
        keep = Keep(
            job.checkpoint,
            job.order(config),
            every=config.checkpoint_every,
            log=job.log,
            clips=job.clips,
        )
        return train_world(network, mixture, config.world, job.seed, report=report, keep=keep)

    def measure() -> Mapping[str, Any]:
        return {
            name: held_out_errors(network, part, job.seed, horizons=horizons_of(part))
            for name, part in held_out.items()
            if part is not None
        }

    return _run(job, network, sum(map(len, mixture.parts)), train, measure)


def pretrain_policy(job: Job, config: PretrainingConfig, report: Report) -> dict[str, Any]:
    """Train a policy on demonstrations; return metrics."""
    with recordings(job.data):
        demonstrations, instructions = load_demonstrations(job.data)
    size = TinyPolicyConfig(num_instructions=len(instructions))
    network = _seeded(job, config, lambda: TinyPolicy(size))

    def train() -> Metrics:
        return train_policy(
            network, demonstrations, config.policy, job.seed, report=report, log=job.log
        )

    found = _run(job, network, len(demonstrations), train)
    return {**found, "instructions": instructions}


def pretrain_judge(job: Job, config: PretrainingConfig, report: Report) -> dict[str, Any]:
    """Train a judge; return metrics, and its error rates on held-out episodes."""
    network = _seeded(job, config, lambda: TinyJudge(len(INSTRUCTIONS)))
    if job.init is not None:
        load_into(network, _tensors(job.init), job.init.name)
    held_out, episodes = _read(job.held_out), read_recording(job.data[0])

    def train() -> Metrics:
        return train_judge(network, episodes, config.judge, job.seed, report=report, log=job.log)

    def measure() -> Mapping[str, Any]:
        return {} if held_out is None else audit_judge(network, held_out, config.judge, job.seed)

    return _run(job, network, len(episodes), train, measure)


def read_policy(path: Path) -> TinyPolicy:
    """Return a policy from a file of weights; BundleRejectedError when it does not fit."""
    tensors = _tensors(path)
    known = tensors.get("instruction.weight", torch.zeros(len(INSTRUCTIONS), 0))
    network = TinyPolicy(TinyPolicyConfig(num_instructions=len(known)))
    load_into(network, tensors, path.name)
    return network.eval()


def read_world(path: Path) -> TinyWorld:
    """Return a tiny world model from a file of weights.

    Raises:
        InputError: The file is no safetensors file.
        BundleRejectedError: Its tensors do not fit, or hold numbers that are not finite.
    """
    tensors = _tensors(path)
    try:
        network = TinyWorld(size_of(tensors))
    except ValueError:
        network = TinyWorld()  # whose keys the error below will list
    load_into(network, tensors, path.name)
    return network.eval()


def _tensors(path: Path) -> dict[str, Tensor]:
    with storage_errors("reading weights", path):
        content = path.read_bytes()
    try:
        return load(content)
    except SafetensorError as error:
        raise InputError(f"{path}: is no safetensors file ({error}). Check the path.") from error


def _seeded(job: Job, config: PretrainingConfig, make: Callable[[], Any]) -> Any:
    torch.set_num_threads(config.threads)
    torch.manual_seed(job.seed)
    return make()


def _read(path: Path | None) -> Episodes | None:
    return None if path is None else read_recording(path)


def _run(
    job: Job,
    network: nn.Module,
    episodes: int,
    train: Callable[[], Metrics],
    measure: Callable[[], Mapping[str, Any]] = dict,
) -> dict[str, Any]:
    """Train, measure and write the weights by one rename."""
    watch = Stopwatch()
    metrics = train()
    results: dict[str, Any] = {
        "file": job.out,
        "episodes": episodes,
        "parameters": sum(math.prod(p.shape) for p in network.parameters()),
        "seconds": watch.seconds(),
        "training": metrics,
    }
    held_out = measure()
    if held_out:
        results["held_out"] = dict(held_out)
    if job.rank:
        return results
    tensors = {name: value.contiguous() for name, value in network.cpu().state_dict().items()}
    with storage_errors("writing weights", job.out):
        replace_file(job.out, save(tensors))
        job.checkpoint.unlink(missing_ok=True)
    return results
