# ruff: noqa: N803, N806 - T_base_tool and its kin keep the names of the formulas
"""Collects what the solvers need: moves the tool from pose to pose and looks."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from robot_agent.calibrate.board import Board
from robot_agent.calibrate.hand_eye import Sample
from robot_agent.core.geometry import pose, rotation_from_vector, vector_from_rotation
from robot_agent.core.types import FloatArray, ImageArray

STEP_M, STEP_RAD = 0.03, 0.15
"""Longest step towards a pose in 0.2 s; the guard may shorten it further."""
Say = Callable[[int, int, str], None]


@dataclass(frozen=True, eq=False)
class View:
    """A picture and the joints of the same moment, at rest."""

    image_hwc: ImageArray
    joints_rad: FloatArray


class Stage(Protocol):
    """An arm and a camera: simulated, or the running agent's."""

    def move_to(self, T_base_tool: FloatArray) -> None:
        """Move the tool to a pose through the guard and wait until it rests.

        Raises:
            ArmFaultError: The guard holds or stops, or the pose is not reached in time.
        """

    def look(self) -> View:
        """Return a fresh picture with the joints of its moment."""


def next_target(
    T_from: FloatArray, T_goal: FloatArray, step_m: float = STEP_M, step_rad: float = STEP_RAD
) -> FloatArray:
    """Return the pose (4, 4) one step from `T_from` towards `T_goal`; the goal when it is near."""
    w = vector_from_rotation(T_goal[:3, :3] @ T_from[:3, :3].T)
    d = T_goal[:3, 3] - T_from[:3, 3]
    parts = max(float(np.linalg.norm(d)) / step_m, float(np.linalg.norm(w)) / step_rad)
    if parts <= 1.0:
        return T_goal
    return pose(rotation_from_vector(w / parts) @ T_from[:3, :3], T_from[:3, 3] + d / parts)


def collect(
    stage: Stage, poses: Iterable[FloatArray], board: Board, say: Say = lambda *_: None
) -> list[Sample]:
    """Return one sample for each pose; those that see no board are samples without corners."""
    wanted, samples = list(poses), []
    for number, T_base_tool in enumerate(wanted, start=1):
        stage.move_to(T_base_tool)
        view = stage.look()
        corners = board.find(view.image_hwc)
        samples.append(Sample(view.joints_rad, corners))
        say(number, len(wanted), f"{corners.count} corners")
    return samples
