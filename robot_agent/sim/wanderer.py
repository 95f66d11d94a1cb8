"""Random motion for play."""

import numpy as np

from robot_agent.core.types import FloatArray
from robot_agent.sim.demonstrator import Style
from robot_agent.sim.truth import Truth

_RANGES_M = {
    "table": ([0.14, -0.14, 0.04], [0.36, 0.16, 0.22]),
    "drawer": ([0.14, -0.15, 0.04], [0.36, 0.07, 0.16]),
    "sink": ([0.21, -0.09, 0.09], [0.36, 0.19, 0.21]),
}
"""Where goals are drawn, lowest and highest corner, by cell."""


class Wanderer:
    """Smooth random motion for play: an Ornstein-Uhlenbeck step around a drifting goal."""

    style = Style()

    def __init__(self, rng: np.random.Generator, cell: str = "table") -> None:
        """Draw the first goal."""
        self._rng, self._cell, self._gripper = rng, cell, 1.0
        self._velocity = np.zeros(3)
        self._goal = self._draw()

    def _draw(self) -> FloatArray:
        return self._rng.uniform(*_RANGES_M[self._cell])

    def act(self, truth: Truth) -> FloatArray:
        """Return an action (7,) towards the goal; a new goal is drawn now and then."""
        tool_m = truth.tool_m
        if np.linalg.norm(self._goal - tool_m) < 0.03 or self._rng.random() < 0.08:
            self._goal = self._draw()
        pull = self._goal - tool_m
        pull *= min(1.0, 0.028 / max(float(np.linalg.norm(pull)), 1e-9))
        self._velocity = 0.5 * self._velocity + 0.5 * pull + self._rng.normal(0, 0.006, 3)
        if self._cell == "table":
            self._gripper = float(self._rng.random() < 0.1)
        elif self._rng.random() < 0.1:
            self._gripper = 1.0 - self._gripper
        turn = self._rng.normal(0, 0.015, 3)
        return np.concatenate([self._velocity, turn, [self._gripper]])

    def disturb(self, action: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return the action as it is: it is random enough."""
        del rng
        return action
