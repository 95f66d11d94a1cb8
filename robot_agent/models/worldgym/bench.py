"""How fast the published model imagines, by the published sampler and by ours, side by side.

Axis letters: B batch, T known frames, K frames drawn, C H W latents, A action (10).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from robot_agent.core.clock import Stopwatch
from robot_agent.core.errors import ConfigError
from robot_agent.core.protocols import Autoencoder
from robot_agent.models.diffusers_autoencoders import (
    KlAutoencoder,
    TinyAutoencoder,
    untrained_sd3,
    untrained_taesd3,
)
from robot_agent.models.memory import require_memory
from robot_agent.models.peak import Stage, measured, torch_threads
from robot_agent.models.small_autoencoder import SmallAutoencoder
from robot_agent.models.worldgym.network import Dit, DitConfig
from robot_agent.models.worldgym.published import PublishedSampler
from robot_agent.models.worldgym.sampler import Sampler, SamplerConfig

OnResult = Callable[[str], None]
Size = Literal["full", "tiny"]
Precision = Literal["float32", "bfloat16"]
_TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
SIZES: Mapping[Size, DitConfig] = {
    "full": DitConfig(),
    "tiny": DitConfig(channels=8, latent_px=16, embedding=128, depth=4, heads=4),
}
"""`tiny` imagines pictures of 64x64 in the latents of our small autoencoder."""
_AUTOENCODERS_BYTES = 400e6


@dataclass(frozen=True, kw_only=True)
class DitBenchConfig:
    """What is measured."""

    size: Size = "tiny"
    samplers: tuple[str, ...] = ("published", "ours")
    precision: Precision = "bfloat16"
    """Of ours."""
    published_precision: Precision = "float32"
    """Of the published sampler, whose half precision is for CUDA only; set both alike to leave
    precision out of the ratio."""
    ours: SamplerConfig = field(default_factory=SamplerConfig)
    context: int = 10
    """Past frames that each new frame sees."""
    frames: int = 5
    """Frames drawn by each sampler."""
    batches: tuple[int, ...] = (1, 2, 4)
    contexts: tuple[int, ...] = (6, 10, 19)
    steps: tuple[int, ...] = (1, 2, 4)
    threads: int = 1

    def precision_of(self, name: str) -> Precision:
        """Return the precision of one of the samplers."""
        return self.published_precision if name == "published" else self.precision

    @property
    def measurements(self) -> int:
        """How often `on_result` is called."""
        grown = len(self.batches) + len(self.contexts) + len(self.steps)
        return len(self.samplers) + grown * ("ours" in self.samplers)


Calls = list[tuple[int, float]]
"""Frames and seconds of each call of a network."""
Drawn = tuple[Tensor, Stage, Calls]


@contextmanager
def _calls_of(network: Dit) -> Iterator[Calls]:
    """Write down what is asked of the network inside the block."""
    calls: Calls = []
    watches: list[Stopwatch] = []

    def before(_module: nn.Module, _arguments: Any) -> None:
        watches.append(Stopwatch())

    def after(_module: nn.Module, arguments: Any, _found: Any) -> None:
        calls.append((arguments[0].shape[1], watches.pop().seconds()))

    hooks = (network.register_forward_pre_hook(before), network.register_forward_hook(after))
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def needed_bytes(config: DitConfig, precision: Precision, batch: int) -> int:
    """Return the memory of weights, keys and values of both conditions, and activations."""
    with torch.device("meta"):
        weights = sum(p.numel() for p in Dit(config).parameters())
    tokens = 2 * batch * config.patches * config.window
    kept = 2 * tokens * config.embedding * config.depth
    working = 16 * tokens * config.embedding
    return int(_TYPES[precision].itemsize * (weights + kept + working) + _AUTOENCODERS_BYTES)


def bench_dit(
    config: DitBenchConfig, *, seed: int = 0, on_result: OnResult = lambda _: None
) -> dict[str, Any]:
    """Return frames per second, stages, and growth, with random weights.

    Returns:
        `{"published": {"fps", "stages"}, "ours": {"fps", "stages"}, "ratio", "ratio_cpu",
        "peak_memory_mb", "by_batch", "by_context", "by_steps"}`: a frame is one picture of one
        rollout, decoded.

    Raises:
        ConfigError: Memory is short, or there is no room for the context.
    """
    size = SIZES[config.size]
    largest = max(config.batches, default=1)
    needed = {
        "published": needed_bytes(size, config.published_precision, 1),
        "ours": needed_bytes(size, config.precision, largest),
    }
    require_memory(max(needed[name] for name in config.samplers), f"model {config.size}")
    for context in (config.context, *config.contexts):
        if not config.frames < context <= size.window - 1:
            raise ConfigError(
                f"a context of {context} frames must be over the {config.frames} drawn and at "
                f"most {size.window - 1}. Change --context, --contexts or --frames."
            )
    torch.manual_seed(seed)
    results: dict[str, Any] = {"model": config.size}
    with torch_threads(config.threads):
        for name in config.samplers:
            network = _random_network(size, _TYPES[config.precision_of(name)])
            decoder = _decoder(config, name)
            results[name] = _measure(network, decoder, config, name, batch=1)
            on_result(name)
            if name == "ours":
                results |= _growth(network, decoder, config, results[name]["fps"], on_result)
    both = [results[name] for name in ("published", "ours") if name in results]
    results |= _ratios(both)
    results["peak_memory_mb"] = max(
        stage["peak_memory_mb"] for entry in both for stage in entry["stages"].values()
    )
    return results


def _ratios(both: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Return how many times faster ours is, by the clock and by processor time."""
    if len(both) < 2:
        return {"ratio": None, "ratio_cpu": None}
    cpu = [sum(s["cpu_ms_per_frame"] for s in entry["stages"].values()) for entry in both]
    return {"ratio": both[1]["fps"] / both[0]["fps"], "ratio_cpu": cpu[0] / cpu[1]}


def _growth(
    network: Dit,
    decoder: Autoencoder,
    config: DitBenchConfig,
    known: float,
    on_result: OnResult,
) -> dict[str, Any]:
    """Return the frames per second of ours by batch, by context and by denoising steps.

    `known` is what was measured with the configuration as it is, for one rollout.
    """

    def fps(changed: DitBenchConfig, batch: int = 1) -> dict[str, float]:
        is_known = changed == config and batch == 1
        entry = (
            {"fps": known}
            if is_known
            else _measure(network, decoder, changed, "ours", batch=batch)
        )
        on_result("growth")
        return {"fps": float(entry["fps"])}

    def with_steps(steps: int) -> DitBenchConfig:
        return replace(config, ours=replace(config.ours, steps=steps))

    return {
        "by_batch": {str(batch): fps(config, batch) for batch in config.batches},
        "by_context": {str(c): fps(replace(config, context=c)) for c in config.contexts},
        "by_steps": {str(steps): fps(with_steps(steps)) for steps in config.steps},
    }


@torch.no_grad()
def _measure(
    network: Dit, decoder: Any, config: DitBenchConfig, name: str, *, batch: int
) -> dict[str, Any]:
    """Return frames per second and stages of one sampler in its steady state."""
    draw = _published if name == "published" else _ours
    latents, denoise, calls = draw(network, config, batch)
    with measured() as decode:
        for latent in latents.unbind(1):
            decoder.decode(latent.to(_TYPES[config.precision_of(name)]))
    drawn = batch * config.frames
    return {
        "precision": config.precision_of(name),
        "fps": drawn / (denoise.seconds + decode.seconds),
        "stages": {
            stage: {
                "ms_per_frame": 1e3 * s.seconds / drawn,
                "cpu_ms_per_frame": 1e3 * s.cpu_seconds / drawn,
                "peak_memory_mb": s.peak_memory_mb,
            }
            for stage, s in (("denoise", denoise), ("decode", decode))
        },
        "calls": _by_frames(calls),
    }


def _published(network: Dit, config: DitBenchConfig, batch: int) -> Drawn:
    """Draw frames one by one, each after the same context."""
    sampler = PublishedSampler(network)
    known, actions = _inputs(network.config, config.context, config.frames, batch)
    latents, total, calls = [], Stage(), Calls()
    for action in actions.split(1, dim=1):
        sampler.reset(known)
        with measured() as stage, _calls_of(network) as made:
            latents.append(sampler.step(action))
        calls += made
        total.seconds += stage.seconds
        total.cpu_seconds += stage.cpu_seconds
        total.peak_memory_mb = max(total.peak_memory_mb, stage.peak_memory_mb)
    return torch.cat(latents, dim=1), total, calls


def _ours(network: Dit, config: DitBenchConfig, batch: int) -> Drawn:
    """Draw a chunk in the steady state: all but the last chunk's keys are kept already."""
    sampler = Sampler(network, replace(config.ours, chunk=config.frames))
    known, actions = _inputs(network.config, config.context - config.frames, config.frames, batch)
    sampler.reset(known)
    sampler.step(actions)
    with measured() as stage, _calls_of(network) as calls:
        latents = sampler.step(actions)
    return latents, stage, calls


def _inputs(size: DitConfig, known: int, frames: int, batch: int) -> tuple[Tensor, Tensor]:
    shape = (batch, known, size.channels, size.latent_px, size.latent_px)
    return torch.randn(shape), torch.randn(batch, frames, size.action_dim)


def _decoder(config: DitBenchConfig, name: str) -> Autoencoder:
    """Return what each sampler's latents are shown by, with random weights."""
    dtype = _TYPES[config.precision_of(name)]
    if config.size == "tiny":
        return SmallAutoencoder().to(dtype).eval()
    # The method of nn.Module itself: that of diffusers warns about layers that are not there.
    if name == "published":
        return KlAutoencoder(nn.Module.to(untrained_sd3(), dtype))
    return TinyAutoencoder(nn.Module.to(untrained_taesd3(), dtype))


def _by_frames(calls: Calls) -> dict[str, dict[str, float]]:
    """Return number and milliseconds of the network's calls, by frames in the call."""
    by_frames: dict[int, list[float]] = {}
    for frames, seconds in calls:
        by_frames.setdefault(frames, []).append(1e3 * seconds)
    return {
        f"{frames} frames": {"calls": len(ms), "ms": sum(ms) / len(ms)}
        for frames, ms in sorted(by_frames.items())
    }


@torch.no_grad()
def _random_network(config: DitConfig, dtype: torch.dtype) -> Dit:
    """Return a network whose every weight is small and random, made in `dtype` at once."""
    with torch.device("meta"):
        network = Dit(config)
    network = network.to(dtype).to_empty(device="cpu")
    for parameter in network.parameters():
        parameter.normal_(std=0.02)
    return network.eval()
