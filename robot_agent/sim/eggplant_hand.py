# ruff: noqa: N806 - T_base_tool and its kin keep the names of the formulas
"""The scripted hand at the sink: takes the eggplant by its thin sides and puts it elsewhere."""

from dataclasses import replace

import numpy as np

from robot_agent.core import wx250s
from robot_agent.core.geometry import rotation_from_vector, vector_from_rotation
from robot_agent.core.types import FloatArray
from robot_agent.sim.demonstrator import Style, demonstration_style
from robot_agent.sim.fixtures import CONTAINERS, Container
from robot_agent.sim.tasks import Task, is_inside
from robot_agent.sim.truth import Truth

_HOVER_M, _CARRY_M, _RELEASE_M, _AWAY_M = 0.165, 0.185, 0.130, 0.190
"""Heights of the tool: before the grasp, over the walls, at letting go, and at the end."""
_GRASP_ABOVE_M = 0.004
"""The tool closes this far above the eggplant's middle; its tips reach 14 mm lower."""
_TURN_RAD = 0.12
"""Longest turn of a step; Bridge's 99th percentile is 0.2."""
_WIDE_M, _EMPTY_M = 0.032, 0.0165
"""Fingers wider apart hold nothing; fingers narrower have closed on nothing."""
_FINGER_REACH_M = 0.042
"""From the tool to the outside of an open finger, with 2 mm of air."""
_SHIFT_M = 0.008
"""An open hand may close on the eggplant this far off its middle."""


def eggplant_style(rng: np.random.Generator, *, miss: bool) -> Style:
    """Return a style for the sink; one that misses grasps beside or above, or drops."""
    style = replace(
        demonstration_style(rng),
        aim_m=(float(rng.normal(0, 0.003)), float(rng.normal(0, 0.003)), 0.0),
        noise=float(rng.choice([0.05, 0.15, 0.3])),
        height_m=float(rng.uniform(-0.008, 0.02)),
        fumble=float(rng.choice([0.0, 0.0, 0.15])),
    )
    if not miss:
        return style
    kind = rng.integers(3)
    if kind == 0:
        angle, far_m = rng.uniform(0, 2 * np.pi), rng.uniform(0.04, 0.07)
        aim = (float(far_m * np.cos(angle)), float(far_m * np.sin(angle)), 0.0)
        return replace(style, aim_m=aim, is_miss=True)
    if kind == 1:
        return replace(style, aim_m=(0.0, 0.0, float(rng.uniform(0.035, 0.06))), is_miss=True)
    return replace(style, fumble=0.15, is_miss=True)


class EggplantHand:
    """A reactive hand: hover, turn, descend, close, lift, carry, lower, open, retreat.

    Each step is decided from what is so now: a miss, a drop or a bump is simply tried again.
    """

    def __init__(self, task: Task, style: Style) -> None:
        """Carry to where the task wants the object."""
        self._goal = CONTAINERS[task.put_in]
        self.style = style

    def act(self, truth: Truth) -> FloatArray:
        """Return the clean action (7,)."""
        turn = _upright(truth)
        if is_held(truth):
            step, gripper = self._carry(truth)
        elif is_inside(truth, self._goal.name):
            step, gripper = np.array([0.0, 0.0, max(_AWAY_M - truth.tool_m[2], 0.0)]), 1.0
        else:
            step, gripper, turn = self._approach(truth)
        length_m = float(np.linalg.norm(step))
        step = step * min(0.9, self.style.step_m / max(length_m, 1e-9))
        return np.concatenate([step, np.clip(turn, -_TURN_RAD, _TURN_RAD), [gripper]])

    def disturb(self, action: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Return what is executed: the clean action plus this style's noise, and its fumbles."""
        noisy = action.copy()
        noisy[:3] += rng.normal(0, self.style.noise * self.style.step_m, 3)
        noisy[3:6] += rng.normal(0, 0.01, 3)
        # A demonstration fumbles only while it lifts: what falls then falls back to where it was.
        is_lift = action[2] > 3.0 * float(np.linalg.norm(action[:2]))
        if rng.random() < self.style.fumble and (is_lift or self.style.is_miss):
            noisy[6] = 1.0
        return noisy

    def _carry(self, truth: Truth) -> tuple[FloatArray, float]:
        """Up, over, down, open."""
        z = truth.tool_m[2]
        goal = np.array([0.0, self._goal.center_y_m, 0.0])
        R, p = truth.T_base_fixture[:3, :3], truth.T_base_fixture[:3, 3]
        off = (R @ goal + p - truth.object_m)[:2]
        if np.linalg.norm(off) < 0.018:
            lower = _RELEASE_M - z
            return np.array([*off, lower]), float(lower > -0.012)
        up = _CARRY_M + self.style.height_m - z
        return np.array([*(off if up < 0.025 else 0.0 * off), up]), 0.0

    def _approach(self, truth: Truth) -> tuple[FloatArray, float, FloatArray]:
        """Above the eggplant, down around it, close."""
        tool, z = truth.tool_m, truth.tool_m[2]
        grasp = truth.object_m + np.array(self.style.aim_m) + self._shift(truth)
        off = (grasp - tool)[:2]
        down = float(grasp[2]) + _GRASP_ABOVE_M - z
        hover_m = _HOVER_M + self.style.height_m
        turn = _upright(truth, _yaw_to_object(truth))
        if truth.finger_m < _EMPTY_M:  # closed on nothing: up again, then open
            rise = hover_m - z
            return np.array([0.0, 0.0, rise]), float(rise < 0.02), turn
        is_low = z < hover_m - 0.025
        far_m, skew_rad = float(np.linalg.norm(off)), abs(float(turn[2]))
        if far_m > (0.02 if is_low else 0.010) or skew_rad > (0.35 if is_low else 0.15):
            return np.array([*(0.0 * off if is_low else off), hover_m - z]), 1.0, turn
        if abs(down) < 0.008:
            return np.array([*off, down]), 0.0, turn
        return np.array([*off, max(down, -0.02)]), 1.0, turn

    def _shift(self, truth: Truth) -> FloatArray:
        """Return how far off the eggplant's middle an open hand fits between the walls (3,)."""
        box = next((b for name, b in CONTAINERS.items() if is_inside(truth, name)), None)
        if box is None:
            return np.zeros(3)
        R = truth.T_base_fixture[:3, :3]
        yaw = _yaw_to_object(truth)
        axis = np.abs(R.T @ np.array([-np.sin(yaw), np.cos(yaw), 0.0]))
        moved: FloatArray = R @ _into(
            box, truth.in_fixture(truth.object_m), _FINGER_REACH_M * axis
        )
        return moved


def _into(box: Container, point_m: FloatArray, reach_m: FloatArray) -> FloatArray:
    """Return the short move (3,) that takes `point_m` with its reach between the walls."""
    x, y = point_m[0], point_m[1] - box.center_y_m
    room_x, room_y = box.half_x_m - reach_m[0], box.half_y_m - reach_m[1]
    move = np.array([np.clip(x, -room_x, room_x) - x, np.clip(y, -room_y, room_y) - y, 0.0])
    return np.clip(move, -_SHIFT_M, _SHIFT_M)


def is_held(truth: Truth) -> bool:
    """Return whether the object is between fingers that have closed."""
    x, y, z = truth.T_base_tool[:3, :3].T @ (truth.object_m - truth.tool_m)
    is_between = -0.04 < x < 0.022 and abs(y) < 0.02 and abs(z) < 0.03
    return bool(is_between and truth.finger_m < _WIDE_M)


def _yaw(truth: Truth) -> float:
    """Return the hand's turn about the vertical; 0 closes the fingers along y."""
    across = truth.T_base_tool[:3, 1]
    return float(np.arctan2(-across[0], across[1]))


def _yaw_to_object(truth: Truth) -> float:
    """Return the nearest yaw at which the fingers close across the object."""
    x, y, _ = truth.T_base_object[:3, 0]
    hand = _yaw(truth)
    yaw = hand + (np.arctan2(y, x) - hand + np.pi / 2) % np.pi - np.pi / 2
    return float(yaw if abs(yaw) < 1.9 else yaw - np.sign(yaw) * np.pi)


def _upright(truth: Truth, yaw: float | None = None) -> FloatArray:
    """Return the rotation (3,) [rad] to a hand that points straight down, at its own or a yaw."""
    turned = rotation_from_vector(np.array([0.0, 0.0, _yaw(truth) if yaw is None else yaw]))
    return vector_from_rotation(turned @ wx250s.GRIPPER_DOWN @ truth.T_base_tool[:3, :3].T)
