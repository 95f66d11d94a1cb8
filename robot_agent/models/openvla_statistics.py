"""Named statistics: what [-1, 1] means in metres and radians, and of which robot."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from robot_agent.core.bridge_action import STEP_LIMIT_M, STEP_LIMIT_RAD
from robot_agent.core.errors import ConfigError
from robot_agent.core.types import ACTION_DIM, FloatArray

_LIMITS = np.array([STEP_LIMIT_M] * 3 + [STEP_LIMIT_RAD] * 3)
ROBOTS = ("bridge", "widowx")
"""Names of statistics that speak of this arm begin with one of these."""


@dataclass(frozen=True)
class Bounds:
    """1st and 99th percentile of seven numbers; those outside `scaled` are taken as they are."""

    name: str
    q01: tuple[float, ...]
    q99: tuple[float, ...]
    scaled: tuple[bool, ...]

    def unnormalize(self, unit: FloatArray) -> FloatArray:
        """Map bins (..., 7) to Bridge actions: a = (u + 1) / 2 (q99 - q01) + q01.

        The gripper is not scaled by the published rule; below 0 it is closed.
        """
        low, high = np.array(self.q01), np.array(self.q99)
        actions = np.where(self.scaled, (unit + 1.0) / 2.0 * (high - low) + low, unit)
        actions[..., 6] = np.clip(actions[..., 6], 0.0, 1.0)
        return actions

    def normalize(self, values: FloatArray) -> FloatArray:
        """Map states (..., 7) to [-1, 1], cut off there, as OFT does with proprioception."""
        low, high = np.array(self.q01), np.array(self.q99)
        span = np.where(high > low, high - low, 1.0)
        unit = np.where(self.scaled, 2.0 * (values - low) / span - 1.0, values)
        return np.clip(unit, -1.0, 1.0)


def choose_statistics(known: Mapping[str, Any], unnorm_key: str, kind: str = "action") -> Bounds:
    """Return the statistics of one name out of a published `norm_stats`.

    Raises:
        ConfigError: The name is unknown (valid ones are listed), they are malformed, or of
            another robot.
    """
    if unnorm_key not in known:
        raise ConfigError(
            f"unnorm_key '{unnorm_key}' is unknown, must be one of: {', '.join(sorted(known))}."
        )
    bounds = _bounds(known[unnorm_key], unnorm_key, kind)
    if kind == "action":
        _require_this_robot(bounds)
    return bounds


def _bounds(entry: Any, name: str, kind: str) -> Bounds:
    try:
        values = entry[kind]
        q01, q99 = (tuple(float(q) for q in values[quantile]) for quantile in ("q01", "q99"))
        scaled = tuple(bool(s) for s in values.get("mask", [True] * len(q01)))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"statistics '{name}': {kind} without q01 and q99 ({error!r}), must have both. "
            f"Take dataset_statistics.json of the run that trained the weights."
        ) from error
    lengths = {len(q01), len(q99), len(scaled)}
    if lengths != {ACTION_DIM}:
        raise ConfigError(
            f"statistics '{name}': {kind} of {sorted(lengths)} numbers, must be {ACTION_DIM}. "
            f"They are of another robot: choose those of this arm."
        )
    if not np.isfinite([*q01, *q99]).all() or np.greater(q01, q99).any():
        raise ConfigError(
            f"statistics '{name}': q01={q01}, q99={q99} must be finite and in order. "
            f"Compute them again."
        )
    return Bounds(name, q01, q99, scaled)


def _require_this_robot(bounds: Bounds) -> None:
    """Refuse statistics of another arm by their name, their size, and their gripper."""
    wrong = []
    if not bounds.name.startswith(ROBOTS):
        wrong.append(f"the name begins with none of {', '.join(ROBOTS)}")
    reach = np.maximum(np.abs(bounds.q01[:6]), np.abs(bounds.q99[:6]))
    for index in np.flatnonzero(reach > _LIMITS):
        wrong.append(f"dimension {index} reaches {reach[index]:.3g}, limit {_LIMITS[index]:g}")
    if bounds.q01[6] < 0.0 or bounds.q99[6] > 1.0:
        wrong.append(f"the gripper is in [{bounds.q01[6]:g}, {bounds.q99[6]:g}], not in [0, 1]")
    if wrong:
        raise ConfigError(
            f"statistics '{bounds.name}': of another robot: {'; '.join(wrong)}. Actions would be "
            f"of the wrong size: choose statistics of this arm."
        )
