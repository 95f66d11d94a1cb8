"""A scripted person at the deadman, who watches the true state and takes over."""

from dataclasses import dataclass

import numpy as np

from robot_agent.core.config import require_range
from robot_agent.core.types import FloatArray
from robot_agent.sim.demonstrator import Demonstrator, demonstration_style
from robot_agent.sim.scenes import TRAVEL_M, Scene
from robot_agent.sim.tasks import Task
from robot_agent.sim.truth import Truth


@dataclass(frozen=True, kw_only=True)
class OperatorConfig:
    """When a scripted operator takes over."""

    patience: int = 15
    """Steps without progress after which the policy counts as stuck."""
    progress_m: float = 0.01
    """Motion of the drawer towards the goal that counts as progress."""
    setback_m: float = 0.02
    """Motion of the drawer away from its best that counts as failed, at once."""
    corrections: int = 10
    """Episodes that may be corrected; the rest run as the policy has it."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("patience", self.patience, 1, 100)
        require_range("progress_m", self.progress_m, 0.001, TRAVEL_M, "m")
        require_range("setback_m", self.setback_m, 0.001, TRAVEL_M, "m")
        require_range("corrections", self.corrections, 0, 10_000)


class ScriptedOperator:
    """Corrects drawer episodes; `wants` is asked before every step.

    Once in control it stays so until the episode ends: a person who has seen the policy fail
    finishes the task.
    """

    def __init__(self, config: OperatorConfig) -> None:
        """Take the rule; call `begin` before each episode."""
        self._config = config
        self.corrected = 0
        """Episodes taken over so far."""

    def begin(self, scene: Scene, task: Task, seed: int) -> None:
        """Watch an episode that starts at the reset of `seed`."""
        rng = np.random.default_rng([seed, 1])
        varied = scene.varied(np.random.default_rng(seed))
        self._hand = Demonstrator(varied, task.name, demonstration_style(rng))
        self._sign = 1.0 if task.name == "open" else -1.0
        self._best, self._waited, self._holds = -np.inf, 0, False

    def wants(self, truth: Truth) -> FloatArray | None:
        """Return the operator's action (7,), or None while the policy keeps the arm."""
        if not self._holds and self._has_failed(self._sign * truth.drawer_m):
            self._holds = self.corrected < self._config.corrections
            self.corrected += self._holds
        return self._hand.act(truth) if self._holds else None

    def _has_failed(self, progress_m: float) -> bool:
        self._waited += 1
        if progress_m >= self._best + self._config.progress_m:
            self._best, self._waited = progress_m, 0
        is_stuck = self._waited >= self._config.patience
        return is_stuck or progress_m <= self._best - self._config.setback_m
