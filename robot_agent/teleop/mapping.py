"""From deflections and poses to motion per 0.2 s: dead zone, scale, frame. Pure functions."""

# ruff: noqa: N803, N806 - T_target and its kin keep the names of the formulas

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from robot_agent.core.config import require_range
from robot_agent.core.errors import ConfigError
from robot_agent.core.geometry import rotation_from_rpy, rpy_from_rotation
from robot_agent.core.types import FloatArray
from robot_agent.teleop.sample import STEP_S, ToolView

Frame = Literal["base", "tool"]


@dataclass(frozen=True, kw_only=True)
class MappingConfig:
    """How far a full deflection moves the tool, and along which axes."""

    speed_mps: float = 0.1
    """Tool speed at full deflection; for followers the highest speed."""
    turn_radps: float = 0.6
    """The same for rotation."""
    dead_zone: float = 0.1
    """Deflections below this share of the full one are none."""
    frame: Frame = "base"
    """Axes of the device's motion: of the arm's base, or of the tool."""
    frame_rpy_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Fixed-axis angles that turn the device's axes into those of the frame."""
    scale: float = 1.0
    """Metres of the tool per metre of a followed hand or leader."""

    def __post_init__(self) -> None:
        """Refuse what the guard would cut off anyway, and what cannot be meant."""
        require_range("speed_mps", self.speed_mps, 0.005, 0.25, "m/s")
        require_range("turn_radps", self.turn_radps, 0.02, 1.25, "rad/s")
        require_range("dead_zone", self.dead_zone, 0.0, 0.9)
        require_range("scale", self.scale, 0.1, 2.0)
        if self.frame not in ("base", "tool"):
            raise ConfigError(f"frame '{self.frame}' is unknown, must be base or tool.")
        if not all(map(math.isfinite, self.frame_rpy_deg)):
            raise ConfigError(f"frame_rpy_deg={self.frame_rpy_deg} must be three finite angles.")

    @property
    def rotation(self) -> FloatArray:
        """Rotation (3, 3) from the device's axes to those of the frame."""
        return rotation_from_rpy(np.deg2rad(np.array(self.frame_rpy_deg)))


def without_dead_zone(deflection: FloatArray, dead_zone: float) -> FloatArray:
    """Return deflections in [-1, 1] that begin at 0 where the dead zone ends, per axis.

    Odd, monotone and continuous, so that a stick that creeps out of its rest does not jump.
    """
    clipped = np.clip(deflection, -1.0, 1.0)
    beyond = np.maximum(np.abs(clipped) - dead_zone, 0.0) / (1.0 - dead_zone)
    return np.sign(clipped) * beyond


def delta_from_deflection(
    deflection: FloatArray, config: MappingConfig, tool: ToolView | None
) -> FloatArray:
    """Return motion per 0.2 s (6,) in base axes of deflections (6,): x y z roll pitch yaw."""
    axes = without_dead_zone(deflection, config.dead_zone)
    R = config.rotation
    if config.frame == "tool" and tool is not None:
        R = tool.T_base_tool[:3, :3] @ R
    translation = R @ axes[:3] * (config.speed_mps * STEP_S)
    rotation = R @ axes[3:] * (config.turn_radps * STEP_S)
    return np.concatenate([translation, rotation])


def delta_to_pose(T_wanted: FloatArray, T_target: FloatArray, config: MappingConfig) -> FloatArray:
    """Return what is left from a commanded to a wanted tool pose (6,), one step's worth at most.

    Too long a way keeps its direction, so that the hand is followed on a straight line.
    """
    translation = T_wanted[:3, 3] - T_target[:3, 3]
    rotation = rpy_from_rotation(T_wanted[:3, :3] @ T_target[:3, :3].T)
    return np.concatenate(
        [
            shortened(translation, config.speed_mps * STEP_S),
            shortened(rotation, config.turn_radps * STEP_S),
        ]
    )


def shortened(vector: FloatArray, longest: float) -> FloatArray:
    """Return a vector in the same direction, no longer than `longest`."""
    length = float(np.linalg.norm(vector))
    return vector if length <= longest else vector * (longest / length)
