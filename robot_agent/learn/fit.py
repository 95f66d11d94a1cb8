"""One training loop for every network: AdamW, cosine schedule, finite checks, progress."""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

from robot_agent.core.clock import Stopwatch
from robot_agent.core.config import require_range
from robot_agent.core.errors import TrainingDivergedError
from robot_agent.learn.early_stop import EarlyStop
from robot_agent.learn.training_checkpoint import Checkpoint

Metrics = dict[str, float]
Report = Callable[[int, int, Metrics], None]
"""Called with step, total steps and the newest metrics; may raise KeyboardInterrupt to stop."""


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How one network is fitted."""

    steps: int = 1000
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup_steps: int = 50
    """Linear warm-up that starts above zero, so that no update is wasted."""
    final_fraction: float = 0.05
    """Learning rate at the end, relative to the peak."""
    schedule: Literal["cosine", "constant"] = "cosine"
    accumulate: int = 1
    """Batches whose gradients are averaged before each update."""
    clip_norm: float = 1.0
    stop_after: int = 0
    """Updates after which to stop on the way down the schedule; 0 goes to its end."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("steps", self.steps, 1, 10_000_000)
        require_range("learning_rate", self.learning_rate, 1e-8, 1.0)
        require_range("accumulate", self.accumulate, 1, 100_000)
        require_range("stop_after", self.stop_after, 0, self.steps)
        require_range("final_fraction", self.final_fraction, 0.0, 1.0)


def fit(
    parameters: Iterable[nn.Parameter],
    loss_of_step: Callable[[int], tuple[Tensor, Metrics]],
    config: FitConfig,
    *,
    report: Report | None = None,
    log: Path | None = None,
    max_seconds: float = math.inf,
    checkpoint: Checkpoint | None = None,
    early_stop: EarlyStop | None = None,
) -> Metrics:
    """Minimise `loss_of_step(step)`; return the mean metrics of the last tenth.

    Under torchrun every process calls this with rows of its own of one batch; gradients are
    averaged over them, so that all keep the same weights.

    Args:
        parameters: What is trained.
        loss_of_step: Draws its batch and returns the loss and what to log.
        config: Schedule.
        report: Progress; may raise KeyboardInterrupt to stop cleanly between two steps.
        log: JSON-lines file to append to.
        max_seconds: Stops early when this much time has passed.
        checkpoint: Keeps the run, and resumes one that was cut short.
        early_stop: Ends the run when held-out error no longer falls, and then, as at its regular
            end, gives the network its best weights; the metrics gain `held_out`.

    Raises:
        TrainingDivergedError: The loss or the gradient is not finite.
    """
    trained = list(parameters)
    optimizer = torch.optim.AdamW(
        trained, lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=config.weight_decay
    )
    watch = Stopwatch()
    recent: list[Metrics] = []
    first = 0 if checkpoint is None else checkpoint.restore(optimizer)
    for step in range(first, config.stop_after or config.steps):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * _schedule(step, config)
        optimizer.zero_grad(set_to_none=True)
        metrics = _accumulate(trained, loss_of_step, step, config)
        optimizer.step()
        recent = [*recent[-max(9, config.steps // 10) :], metrics]
        is_over = early_stop is not None and early_stop.is_over(step + 1)
        if checkpoint is not None:
            checkpoint.save(step + 1, optimizer)
        if report is not None:
            report(step + 1, config.steps, metrics)
        if log is not None and (step % 20 == 0 or step + 1 == config.steps):
            _append(log, {"step": step, "seconds": watch.seconds(), **metrics})
        if is_over or watch.seconds() > max_seconds:
            break
    keys = recent[-1] if recent else {}
    means = {key: sum(m[key] for m in recent) / len(recent) for key in keys}
    return means if early_stop is None else {**means, "held_out": early_stop.restore()}


def _append(log: Path, line: Metrics) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _accumulate(
    trained: Sequence[nn.Parameter],
    loss_of_step: Callable[[int], tuple[Tensor, Metrics]],
    step: int,
    config: FitConfig,
) -> Metrics:
    """Leave the clipped mean gradient in the parameters; return the metrics of the last batch."""
    total, metrics = 0.0, Metrics()
    for _ in range(config.accumulate):
        loss, metrics = loss_of_step(step)
        (loss / config.accumulate).backward()
        total += float(loss.detach()) / config.accumulate
    _average_over_processes(trained)
    norm = float(nn.utils.clip_grad_norm_(trained, config.clip_norm))
    if not (math.isfinite(norm) and math.isfinite(total)):
        raise TrainingDivergedError(
            f"step {step}: loss={total}, gradient norm={norm}, must be finite. "
            f"The weights before this run are untouched; lower the learning rate "
            f"({config.learning_rate})."
        )
    return metrics


def _average_over_processes(trained: Sequence[nn.Parameter]) -> None:
    """Make every process's gradients the mean over all; alone, there is nothing to do."""
    if not (dist.is_available() and dist.is_initialized()):
        return
    for parameter in trained:
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad)
            parameter.grad /= dist.get_world_size()


def _schedule(step: int, config: FitConfig) -> float:
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    if config.schedule == "constant":
        return warm
    cosine = 0.5 * (1.0 + math.cos(math.pi * step / config.steps))
    return warm * (config.final_fraction + (1.0 - config.final_fraction) * cosine)
