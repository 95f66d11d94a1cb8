"""One training loop for every network: AdamW, cosine schedule, finite checks, progress."""

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from robot_agent.core.clock import Stopwatch
from robot_agent.core.config import require_range
from robot_agent.core.errors import TrainingDivergedError

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
    clip_norm: float = 1.0
    stop_after: int = 0
    """Updates after which to stop on the way down the schedule; 0 goes to its end."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("steps", self.steps, 1, 10_000_000)
        require_range("learning_rate", self.learning_rate, 1e-8, 1.0)
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
) -> Metrics:
    """Minimise `loss_of_step(step)`; return the mean metrics of the last tenth.

    Args:
        parameters: What is trained.
        loss_of_step: Draws its batch and returns the loss and what to log.
        config: Schedule.
        report: Progress; may raise KeyboardInterrupt to stop cleanly between two steps.
        log: JSON-lines file to append to.
        max_seconds: Stops early when this much time has passed.

    Raises:
        TrainingDivergedError: The loss or the gradient is not finite.
    """
    trained = list(parameters)
    optimizer = torch.optim.AdamW(
        trained, lr=config.learning_rate, betas=(0.9, 0.99), weight_decay=config.weight_decay
    )
    watch = Stopwatch()
    recent: list[Metrics] = []
    for step in range(config.stop_after or config.steps):
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * _schedule(step, config)
        loss, metrics = loss_of_step(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = float(nn.utils.clip_grad_norm_(trained, config.clip_norm))
        if not (math.isfinite(norm) and math.isfinite(float(loss.detach()))):
            raise TrainingDivergedError(
                f"step {step}: loss={float(loss.detach())}, gradient norm={norm}, must be finite. "
                f"The weights before this run are untouched; lower the learning rate "
                f"({config.learning_rate})."
            )
        optimizer.step()
        recent = [*recent[-max(9, config.steps // 10) :], metrics]
        if report is not None:
            report(step + 1, config.steps, metrics)
        if log is not None and (step % 20 == 0 or step + 1 == config.steps):
            with log.open("a", encoding="utf-8") as file:
                file.write(
                    json.dumps({"step": step, "seconds": watch.seconds(), **metrics}) + "\n"
                )
        if watch.seconds() > max_seconds:
            break
    return {key: sum(m[key] for m in recent) / len(recent) for key in recent[-1]}


def _schedule(step: int, config: FitConfig) -> float:
    warm = min(1.0, (step + 1) / max(1, config.warmup_steps))
    cosine = 0.5 * (1.0 + math.cos(math.pi * step / config.steps))
    return warm * (config.final_fraction + (1.0 - config.final_fraction) * cosine)
