"""Where an episode starts: the arm, the drawer, the loose object."""

import numpy as np

from robot_agent.core import wx250s
from robot_agent.core.errors import SimulationError
from robot_agent.core.types import FloatArray
from robot_agent.sim.cells import CELLS
from robot_agent.sim.fixtures import CONTAINERS, FLOOR_M
from robot_agent.sim.loose import FAT
from robot_agent.sim.scenes import TRAVEL_M, Scene
from robot_agent.sim.tasks import Task

_START_YAW_RAD = 0.7
"""An eggplant starts this far from lying along x at most: within 45 degrees of the hand."""


def joints(cell: str, rng: np.random.Generator) -> FloatArray:
    """Return joints (6,) [rad] of a cell's reset pose; at the table one is drawn."""
    start_m = CELLS[cell].start_tool_m
    low, high = np.array([0.15, -0.09, 0.16]), np.array([0.22, 0.09, 0.22])
    for _ in range(100):
        p = rng.uniform(low, high) if start_m is None else np.array(start_m)
        seed = np.array([np.arctan2(p[1], p[0]), -0.6, 0.4, 0.0, 1.7, 0.0])
        found = wx250s.inverse(wx250s.pose_at(p), seed, max_iterations=100)
        if found is not None:
            return found
    raise SimulationError(f"no start pose could be reached in cell '{cell}'; check its start.")


def opening_m(scene: Scene, task: Task | None) -> tuple[float, float]:
    """Return between which openings a reset leaves the drawer."""
    if scene.cell == "table":
        return scene.start_opening_m
    return (0.0, TRAVEL_M) if task is None or task.opening_m is None else task.opening_m


def object_pose(scene: Scene, task: Task | None, rng: np.random.Generator) -> FloatArray:
    """Return the position and quaternion (7,) of the loose object, on a floor.

    Args:
        scene: The scene as this reset varied it.
        task: Says which container; None draws one.
        rng: Draws the place and the yaw.
    """
    name = task.start_in if task is not None else str(rng.choice(list(CONTAINERS)))
    box = CONTAINERS[name]
    x, y = rng.uniform(-1.0, 1.0, 2) * np.array(box.start_m)
    y += box.center_y_m
    c, s = np.cos(scene.sink_yaw_rad), np.sin(scene.sink_yaw_rad)
    half = (scene.sink_yaw_rad + rng.uniform(-_START_YAW_RAD, _START_YAW_RAD)) / 2.0
    half += np.pi / 2.0 * rng.integers(2)  # the stem points away from the arm or to it
    z = FLOOR_M + scene.object_radius_m * FAT + 0.001
    at = (scene.sink_x_m + c * x - s * y, scene.sink_y_m + s * x + c * y, z)
    return np.array([*at, np.cos(half), 0.0, 0.0, np.sin(half)])
