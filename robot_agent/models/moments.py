"""Statistics by mean and spread: how pi0 and LeRobot's policies scale states and actions."""

from dataclasses import dataclass

import numpy as np

from robot_agent.core.bridge_action import STEP_LIMIT_M, STEP_LIMIT_RAD
from robot_agent.core.errors import ConfigError
from robot_agent.core.types import ACTION_DIM, FloatArray

_LIMITS = np.array([STEP_LIMIT_M] * 3 + [STEP_LIMIT_RAD] * 3)
_SMALLEST = 1e-8


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation of seven Bridge numbers: x = u std + mean."""

    name: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        """Refuse another length, and spreads that are no spreads."""
        lengths = {len(self.mean), len(self.std)}
        if lengths != {ACTION_DIM}:
            raise ConfigError(
                f"statistics '{self.name}': of {sorted(lengths)} numbers, must be {ACTION_DIM}. "
                f"They are of another robot: take those of this arm."
            )
        if not np.isfinite([*self.mean, *self.std]).all() or min(self.std) < 0.0:
            raise ConfigError(
                f"statistics '{self.name}': mean={self.mean}, std={self.std} must be finite and "
                f"std at least 0. Compute them again."
            )

    def require_actions(self) -> None:
        """Refuse statistics of actions whose usual step this arm cannot make."""
        reach = np.abs(self.mean[:6]) + np.array(self.std[:6])
        if (reach > _LIMITS).any():
            worst = int(np.argmax(reach / _LIMITS))
            raise ConfigError(
                f"statistics '{self.name}': of another robot: a usual step of dimension {worst} "
                f"is {reach[worst]:.3g}, limit {_LIMITS[worst]:g}. Take those of this arm."
            )

    def normalize(self, values: FloatArray) -> FloatArray:
        """Map values (..., 7) to mean 0 and spread 1."""
        unit: FloatArray = (values - np.array(self.mean)) / (np.array(self.std) + _SMALLEST)
        return unit

    def unnormalize(self, unit: FloatArray) -> FloatArray:
        """Map (..., 7) back to Bridge units; the opening is kept in [0, 1]."""
        values: FloatArray = unit * np.array(self.std) + np.array(self.mean)
        values[..., 6] = np.clip(values[..., 6], 0.0, 1.0)
        return values
