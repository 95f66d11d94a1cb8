"""From a recording to a file of weights: how the shipped networks of the tiny tier are made."""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
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
from robot_agent.learn.data import Episodes, load_demonstrations, load_recording
from robot_agent.learn.fit import FitConfig, Metrics, Report
from robot_agent.learn.judge_training import JudgeTrainingConfig, audit_judge, train_judge
from robot_agent.learn.policy_training import PolicyTrainingConfig, train_policy
from robot_agent.learn.processes import is_alone
from robot_agent.learn.training_checkpoint import Keep
from robot_agent.learn.world_training import WorldTrainingConfig, held_out_errors, train_world
from robot_agent.models.tiny_judge import TinyJudge
from robot_agent.models.tiny_policy import TinyPolicy, TinyPolicyConfig
from robot_agent.models.tiny_team import INSTRUCTIONS, load_into
from robot_agent.models.tiny_world import TinyWorld
from robot_agent.store.durable import replace_file, storage_errors

_BETWEEN_RANKS = 1_000_003
"""Between the seeds of two processes."""


@dataclass(frozen=True, kw_only=True)
class PretrainingConfig:
    """How a network is made from a recording."""

    threads: int = 1
    """Small networks gain little from more; train two networks side by side instead."""
    world: WorldTrainingConfig = field(default_factory=WorldTrainingConfig)
    policy: PolicyTrainingConfig = field(default_factory=PolicyTrainingConfig)
    judge: JudgeTrainingConfig = field(default_factory=JudgeTrainingConfig)

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("threads", self.threads, 1, 256)


@dataclass(frozen=True)
class Job:
    """What to train on, and where the weights go."""

    data: tuple[Path, ...]
    """Recordings; several for a policy, one for the others."""
    out: Path
    seed: int
    held_out: Path | None = None
    """A recording that is not trained on, to measure with."""
    init: Path | None = None
    """Weights to go on from, for a world model or a judge; fresh ones by default."""
    rank: int = 0
    """Of this process among those that train together; the first one writes."""

    @property
    def log(self) -> Path:
        """Metrics as they come, one JSON line each, beside the weights."""
        return self.out.with_suffix(".jsonl")

    @property
    def checkpoint(self) -> Path:
        """Where the run is kept until it ends; the same command goes on from it."""
        return self.out.with_suffix(".training")

    def order(self, config: PretrainingConfig) -> str:
        """Return what the run is of, so that another one does not resume it."""
        words = [*map(str, self.data), str(self.init), str(self.seed), repr(config.world)]
        return hashlib.sha256("\n".join(words).encode()).hexdigest()[:16]


def pretrain_world(job: Job, config: PretrainingConfig, report: Report) -> dict[str, Any]:
    """Train a world model; return metrics, and PSNR [dB] on held-out episodes."""
    network = _seeded(job, config, TinyWorld)
    if job.init is not None:
        load_into(network, _tensors(job.init), job.init.name)
    network.to(memory_format=torch.channels_last)
    held_out = _read(job.held_out)

    def train(episodes: Episodes) -> Metrics:
        keep = Keep(job.checkpoint, job.order(config), log=job.log) if is_alone() else None
        seed = job.seed + _BETWEEN_RANKS * job.rank
        return train_world(network, episodes, config.world, seed, report=report, keep=keep)

    def measure(episodes: Episodes) -> Mapping[str, Any]:
        return held_out_errors(network, episodes, job.seed)

    return _run(job, network, read_recording(job.data[0]), held_out, (train, measure))


def pretrain_policy(job: Job, config: PretrainingConfig, report: Report) -> dict[str, Any]:
    """Train a policy on demonstrations; return metrics."""
    with _recordings(job.data):
        demonstrations, instructions = load_demonstrations(job.data)
    size = TinyPolicyConfig(num_instructions=len(instructions))
    network = _seeded(job, config, lambda: TinyPolicy(size))

    def train(episodes: Episodes) -> Metrics:
        return train_policy(network, episodes, config.policy, job.seed, report=report, log=job.log)

    found = _run(job, network, demonstrations, None, (train, None))
    return {**found, "instructions": instructions}


def pretrain_judge(job: Job, config: PretrainingConfig, report: Report) -> dict[str, Any]:
    """Train a judge; return metrics, and its error rates on held-out episodes."""
    network = _seeded(job, config, lambda: TinyJudge(len(INSTRUCTIONS)))
    if job.init is not None:
        load_into(network, _tensors(job.init), job.init.name)
    held_out = _read(job.held_out)

    def train(episodes: Episodes) -> Metrics:
        return train_judge(network, episodes, config.judge, job.seed, report=report, log=job.log)

    def measure(episodes: Episodes) -> Mapping[str, Any]:
        return audit_judge(network, episodes, config.judge, job.seed)

    return _run(job, network, read_recording(job.data[0]), held_out, (train, measure))


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
    network = TinyWorld()
    load_into(network, _tensors(path), path.name)
    return network.eval()


def _tensors(path: Path) -> dict[str, Tensor]:
    with storage_errors("reading weights", path):
        content = path.read_bytes()
    try:
        return load(content)
    except SafetensorError as error:
        raise InputError(f"{path}: is no safetensors file ({error}). Check the path.") from error


def fit_of(config: PretrainingConfig, network: str) -> FitConfig:
    """Return the schedule of `world`, `policy` or `judge`."""
    part: WorldTrainingConfig | PolicyTrainingConfig | JudgeTrainingConfig = getattr(
        config, network
    )
    return part.fit


def _seeded(job: Job, config: PretrainingConfig, make: Callable[[], Any]) -> Any:
    torch.set_num_threads(config.threads)
    torch.manual_seed(job.seed)
    return make()


def read_recording(path: Path) -> Episodes:
    """Return the whole episodes of a recording; InputError when the file is none."""
    with _recordings([path]):
        return load_recording(path, use_valid=False)


def _read(path: Path | None) -> Any:
    return None if path is None else read_recording(path)


@contextmanager
def _recordings(paths: Sequence[Path]) -> Iterator[None]:
    """Say what to do when a file of `paths` is no recording."""
    try:
        yield
    except (SafetensorError, KeyError) as error:
        raise InputError(
            f"{', '.join(map(str, paths))}: is no recording ({error}). "
            f"Make one with: robot-agent demos collect"
        ) from error


def _run(
    job: Job,
    network: nn.Module,
    episodes: Episodes,
    held_out: Episodes | None,
    steps: tuple[Callable[[Episodes], Metrics], Callable[[Episodes], Mapping[str, Any]] | None],
) -> dict[str, Any]:
    """Train, measure and write the weights by one rename."""
    train, measure = steps
    watch = Stopwatch()
    metrics = train(episodes)
    results: dict[str, Any] = {
        "file": job.out,
        "episodes": len(episodes),
        "parameters": sum(math.prod(p.shape) for p in network.parameters()),
        "seconds": watch.seconds(),
        "training": metrics,
    }
    if held_out is not None and measure is not None:
        results["held_out"] = dict(measure(held_out))
    if job.rank:
        return results
    tensors = {name: value.contiguous() for name, value in network.state_dict().items()}
    with storage_errors("writing weights", job.out):
        replace_file(job.out, save(tensors))
        job.checkpoint.unlink(missing_ok=True)
    return results
