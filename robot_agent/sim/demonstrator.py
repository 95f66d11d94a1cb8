"""Scripted hands at the drawer: demonstrations, recoveries, near misses, as 7-D Bridge actions.

They read the simulator's state; the policies that learn from them see pictures only.
"""

from dataclasses import dataclass, replace

import numpy as np

from robot_agent.core.types import FloatArray
from robot_agent.sim.fixtures import HANDLE_GAP_M
from robot_agent.sim.scenes import CLOSED_M, OPEN_M, Scene
from robot_agent.sim.truth import Truth

_WORK_HEIGHT_M = 0.062
_HOVER_HEIGHT_M = 0.125


@dataclass(frozen=True)
class Style:
    """How one episode's hand moves."""

    step_m: float = 0.026
    """Longest step."""
    aim_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Offset of the aim from the middle of the handle's gap, in the drawer's axes."""
    noise: float = 0.0
    """Standard deviation of the executed step relative to `step_m`; labels stay clean."""
    margin_m: float = 0.008
    """How far past success the hand goes on, at the table."""
    goal_m: float = 0.04
    """Opening at which the hand lets go, in the drawer cell."""
    height_m: float = 0.0
    """How much higher than usual the hand passes."""
    fumble: float = 0.0
    """Chance per step that a gripper that should be closed opens."""
    is_miss: bool = False
    """Meant to fail."""


def demonstration_style(rng: np.random.Generator) -> Style:
    """Return a style that succeeds, with its own path, speed and noise."""
    return Style(
        step_m=float(rng.uniform(0.020, 0.030)),
        aim_m=(float(rng.normal(0, 0.002)), float(rng.uniform(-0.02, 0.02)), 0.0),
        noise=float(rng.choice([0.1, 0.25, 0.45])),
    )


def near_miss_style(rng: np.random.Generator) -> Style:
    """Return a style that passes above, beside, before or behind the handle."""
    aim = [0.0, float(rng.uniform(-0.02, 0.02)), 0.0]
    kind = rng.integers(3)
    if kind == 0:
        aim[2] = float(rng.uniform(0.022, 0.075))
    elif kind == 1:
        aim[1] = float(rng.choice([-1, 1]) * rng.uniform(0.055, 0.10))
    else:
        aim[0] = float(rng.choice([-1, 1]) * rng.uniform(0.025, 0.05))
    x, y, z = aim
    return replace(demonstration_style(rng), aim_m=(x, y, z), is_miss=True)


def drawer_style(rng: np.random.Generator, task: str, *, miss: bool) -> Style:
    """Return a style for the drawer cell; one that misses may also stop short."""
    if miss and rng.random() < 0.25:
        short_m = rng.uniform(0.002, 0.012) if task == "open" else rng.uniform(0.008, 0.04)
        return replace(demonstration_style(rng), goal_m=float(short_m), is_miss=True)
    style = near_miss_style(rng) if miss else demonstration_style(rng)
    goal_m = float(rng.uniform(0.025, 0.07)) if task == "open" else 0.001
    return replace(style, goal_m=goal_m, height_m=float(rng.uniform(-0.01, 0.03)))


class Demonstrator:
    """A reactive hand for one task: above the handle, down into its gap, then push or pull.

    Because it reacts to where the hand is, noise and bumps become recoveries.
    """

    def __init__(self, scene: Scene, task: str, style: Style) -> None:
        """Aim in the frame of `scene`'s drawer (the scene as this reset varied it)."""
        self._scene, self._task, self.style = scene, task, style
        c, s = np.cos(scene.drawer_yaw_rad), np.sin(scene.drawer_yaw_rad)
        self._R = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
        self._origin = np.array([scene.drawer_x_m, scene.drawer_y_m, 0.0])

    def act(self, truth: Truth) -> FloatArray:
        """Return the clean action (7,)."""
        style, drawer_m = self.style, truth.drawer_m
        hover_m = _HOVER_HEIGHT_M + style.height_m
        x, y, z = self._R.T @ (truth.tool_m - self._origin)
        gap_x = -drawer_m - HANDLE_GAP_M / 2.0 + 0.001
        aim_x, aim_y, aim_z = np.array(style.aim_m) + np.array([gap_x, 0.0, _WORK_HEIGHT_M])
        off = np.array([aim_x - x, aim_y - y])
        if self._is_done(drawer_m):
            step = (
                np.zeros(3)
                if self._scene.cell == "table"
                else np.array([0.0, 0.0, max(hover_m - z, 0.0)])
            )
        elif abs(off[0]) < 0.018 and abs(off[1]) < 0.03 and z < aim_z + 0.018:
            step = np.array([-1.0 if self._task == "open" else 1.0, 0.0, 0.0]) * style.step_m
            step[2] = np.clip(aim_z - z, -0.01, 0.01)
        elif np.linalg.norm(off) > 0.013:
            clear = z > hover_m - 0.02 or np.linalg.norm(off) < 0.02
            step = np.array([*(off if clear else off * 0.0), hover_m - z])
            step[2] = max(step[2], -style.step_m / 2.0)
        else:
            step = np.array([*off, aim_z - z])
        length = float(np.linalg.norm(step))
        step = step * min(1.0, style.step_m / max(length, 1e-9))
        return np.concatenate([self._R @ step, np.zeros(3), [0.0]])

    def disturb(self, action: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return what is executed: the clean action plus this style's noise."""
        noisy = action.copy()
        noisy[:3] += rng.normal(0, self.style.noise * self.style.step_m, 3)
        noisy[3:6] += rng.normal(0, 0.01, 3)
        return noisy

    def _is_done(self, drawer_m: float) -> bool:
        if self._scene.cell != "table":
            goal_m = self.style.goal_m
            return drawer_m >= goal_m if self._task == "open" else drawer_m <= goal_m
        if self._task == "open":
            return drawer_m > OPEN_M + self.style.margin_m
        return drawer_m < CLOSED_M - self.style.margin_m
