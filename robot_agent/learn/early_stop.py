"""Ends a run when held-out error no longer falls, with the weights of its best look."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robot_agent.core.config import require_range
from robot_agent.core.errors import ConfigError, TrainingDivergedError

_UNSEEN = 1e30
"""Error before the first look; finite, so that a checkpoint holds numbers only."""


@dataclass(frozen=True, kw_only=True)
class EarlyStopConfig:
    """When to look, and for how long to hope."""

    every: int = 0
    """Updates between two looks at held-out error; 0 never looks."""
    patience: int = 4
    """Looks in a row without a better one, after which the run ends."""
    windows: int = 32
    """Held-out windows of a look, the same each time."""
    steps: int = 10
    """Length of the windows; shortened to the held-out part's."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("every", self.every, 0, 10_000_000)
        require_range("patience", self.patience, 1, 10_000)
        require_range("windows", self.windows, 1, 10_000)
        require_range("steps", self.steps, 1, 1000)

    def looks_at(self, held_out: Sequence[object]) -> bool:
        """Return whether a run looks at held-out error; ConfigError when there is nothing to."""
        if self.every and not held_out:
            raise ConfigError(
                "early_stop: nothing is held out to look at, must be something. Set "
                "held_out.episodes or held_out.time, for example 0.1, or early_stop.every to 0."
            )
        return self.every > 0


class EarlyStop(nn.Module):
    """Remembers the best weights; a module, so that a checkpoint keeps what it remembers.

    Every process looks at the same windows with the same weights and decides alike.
    """

    best: nn.Module
    lowest: Tensor
    misses: Tensor

    def __init__(
        self, network: nn.Module, error: Callable[[nn.Module], float], config: EarlyStopConfig
    ) -> None:
        """Watch `network` by `error`, which must not change it."""
        super().__init__()
        self.best = copy.deepcopy(network).requires_grad_(False)
        self.register_buffer("lowest", torch.tensor(_UNSEEN, dtype=torch.float64))
        self.register_buffer("misses", torch.tensor(0))
        self._watched, self._error, self._config = (network,), error, config

    def is_over(self, step: int) -> bool:
        """Look when a look is due after `step` updates; return whether the run ends.

        Raises:
            TrainingDivergedError: Held-out error is not finite.
        """
        if step % self._config.every == 0:
            self._look(f"step {step}")
        return bool(self.misses >= self._config.patience)

    def restore(self) -> float:
        """Look a last time and give the network the best weights; return their error."""
        self._look("the end")
        self._watched[0].load_state_dict(self.best.state_dict())
        return float(self.lowest)

    def _look(self, when: str) -> None:
        found = self._error(self._watched[0])
        if not found < _UNSEEN:
            raise TrainingDivergedError(
                f"{when}: held-out error {found}, must be finite. Lower the learning rate."
            )
        if found < float(self.lowest):
            self.lowest.fill_(found)
            self.misses.zero_()
            self.best.load_state_dict(self._watched[0].state_dict())
        else:
            self.misses += 1
