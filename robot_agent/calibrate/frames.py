# ruff: noqa: N803, N806 - T_base_tool keeps the name of the formulas
"""The wiggle test: does each number of an action move the tool as Bridge means it?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from robot_agent.core.geometry import vector_from_rotation
from robot_agent.core.types import FloatArray

SEEN = (
    "away from the base",
    "to the left, seen from the base",
    "up",
    "about the line that points away from the base, clockwise seen from the base",
    "about the line to the left: fingers that point down swing towards the base",
    "counter-clockwise, seen from above",
    "closing by half",
)
"""What a person who stands behind the base must see; joints that lie to the driver lie to us."""
AXES = ("dx", "dy", "dz", "droll", "dpitch", "dyaw", "gripper")
WIGGLE_M, WIGGLE_RAD, WIGGLE_OPENING = 0.02, 0.12, 0.5
REPEATS = 2
"""Steps in a row, so that a motion is larger than what gears and sag take away."""
_MIN_SCALE, _MAX_SCALE = 0.6, 1.4
_STILL = 0.05
"""Share of the wanted motion below which nothing moved."""
_MIN_PURITY = 0.9
"""Cosine between the wanted and the measured motion."""


@dataclass(frozen=True, eq=False)
class Motion:
    """What one wiggle did, tool against tool at rest."""

    shift_m: FloatArray
    """Motion of the tool (3,) in base_link axes."""
    turn_rad: FloatArray
    """Rotation vector of the tool (3,) in base_link axes."""
    opening: float
    """Change of the gripper's opening; 1 is from closed to open."""


class Wiggler(Protocol):
    """An arm that carries out Bridge actions and says where its tool is."""

    def pose(self) -> tuple[FloatArray, float]:
        """Return the measured T_base_tool (4, 4) at rest and the gripper's opening."""

    def act(self, action: FloatArray) -> None:
        """Carry out one Bridge action (7,) through the guard."""

    def settle(self) -> None:
        """Wait until the arm rests."""


@dataclass(frozen=True)
class Verdict:
    """What one number of an action does."""

    axis: str
    is_right: bool
    scale: float
    """Measured motion along the wanted one, over the wanted one."""
    purity: float
    """Cosine of the angle between both; -1 for a flipped sign."""
    words: str


def wiggle(arm: Wiggler) -> list[Motion]:
    """Open the gripper, move along each axis and back, and return what was measured."""
    motions = []
    _repeat(arm, np.append(np.zeros(6), 1.0))
    for axis in range(len(AXES)):
        T_before, opening_before = arm.pose()
        wanted = wanted_action(axis)
        _repeat(arm, wanted)
        T_after, opening_after = arm.pose()
        motions.append(_between(T_before, T_after, opening_after - opening_before))
        _repeat(arm, np.append(-wanted[:6], 1.0))
    return motions


def _repeat(arm: Wiggler, action: FloatArray) -> None:
    for _ in range(REPEATS):
        arm.act(action)
    arm.settle()


def wanted_action(axis: int) -> FloatArray:
    """Return the Bridge action (7,) that wiggles one axis; the gripper closes by half."""
    action = np.append(np.zeros(6), 1.0)
    if axis == 6:
        action[6] -= WIGGLE_OPENING
    else:
        action[axis] = WIGGLE_M if axis < 3 else WIGGLE_RAD
    return action


def judge(motions: Sequence[Motion]) -> list[Verdict]:
    """Return one verdict for each axis: sign, direction and scale against Bridge's meaning.

    A translation must move the tool along its axis of base_link, a rotation must turn it about
    one, and gripper 1 must be open. The guard may shorten a motion; it may not turn it.
    """
    verdicts = []
    for axis, motion in enumerate(motions):
        if axis == 6:
            verdicts.append(_judge_gripper(motion))
            continue
        measured = motion.shift_m if axis < 3 else motion.turn_rad
        wanted = REPEATS * (WIGGLE_M if axis < 3 else WIGGLE_RAD)
        length = float(np.linalg.norm(measured))
        purity = float(measured[axis % 3]) / max(length, 1e-9)
        scale = float(measured[axis % 3]) / wanted
        words = _words(axis, measured, purity, scale)
        if length < _STILL * wanted:
            words = "nothing moved. Does the guard hold? Is the torque on?"
        verdicts.append(Verdict(AXES[axis], not words, scale, purity, words or "as Bridge means"))
    return verdicts


def _judge_gripper(motion: Motion) -> Verdict:
    size = abs(motion.opening) / WIGGLE_OPENING
    is_right = _MIN_SCALE <= size <= 2.0 and motion.opening < 0.0
    words = "as Bridge means"
    if not is_right:
        words = (
            f"the opening changed by {motion.opening:+.2f}, must by {-WIGGLE_OPENING:+.2f}: "
            f"1 must be open and 0 closed. Check the gripper's linkage and its sign."
        )
    return Verdict("gripper", is_right, size, float(np.sign(-motion.opening)), words)


def _words(axis: int, measured: FloatArray, purity: float, scale: float) -> str:
    """Return what is wrong with an axis, or nothing."""
    names, k = AXES[:3] if axis < 3 else AXES[3:6], int(np.argmax(np.abs(measured)))
    if k != axis % 3:
        sign = "+" if measured[k] > 0 else "-"
        return f"moved along {sign}{names[k]}: axes are swapped. Check the frame of commands."
    if purity < 0.0:
        return "moved the other way: the sign is flipped. Check the frame of commands."
    if purity < _MIN_PURITY:
        tilt_deg = np.degrees(np.arccos(purity))
        return f"moved {tilt_deg:.0f} degrees askew, limit 25. Is the base turned or a joint off?"
    if not _MIN_SCALE <= scale <= _MAX_SCALE:
        return f"moved {scale:.2f} of what was asked, must be {_MIN_SCALE} to {_MAX_SCALE}."
    return ""


def _between(T_before: FloatArray, T_after: FloatArray, opening: float) -> Motion:
    turn = vector_from_rotation(T_after[:3, :3] @ T_before[:3, :3].T)
    return Motion(T_after[:3, 3] - T_before[:3, 3], turn, opening)
