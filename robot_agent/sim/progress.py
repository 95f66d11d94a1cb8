"""How far a task is, by the simulator's state: partial reward for learning in a simulator."""

import numpy as np

from robot_agent.core.types import FloatArray
from robot_agent.sim.fixtures import BASIN, BASKET
from robot_agent.sim.scenes import CELL_SCENES, TRAVEL_M
from robot_agent.sim.tasks import Task
from robot_agent.sim.truth import Truth

_BETWEEN_M = BASKET.center_y_m - BASIN.center_y_m
"""From the middle of the basin to the middle of the basket."""
_RISING = ("open", "to_basket")
"""Tasks whose progress is the share; that of the others is what is left of it."""


def share_of(truth: Truth) -> float:
    """Return how open the drawer is, or how far the object is from basin to basket, in [0, 1]."""
    if not truth.T_base_object.any():
        return float(np.clip(truth.drawer_m / TRAVEL_M, 0.0, 1.0))
    y_m = truth.in_fixture(truth.object_m)[1]
    return float(np.clip((y_m - BASIN.center_y_m) / _BETWEEN_M, 0.0, 1.0))


def progress(task: Task, truth: Truth) -> float:
    """Return how far a task is, 0 to 1; 1 alone is no success."""
    share = share_of(truth)
    return share if task.name in _RISING else 1.0 - share


def shares_of_objects(objects_m: FloatArray) -> FloatArray:
    """Return the shares (N, T) of recorded object positions (N, T, 3) in base_link [m].

    As if the sink stood where it does at home: broad scenes move it by 12 mm at most, 8 % of the
    way, and turn it slightly.
    """
    basin_m = CELL_SCENES["sink"].sink_y_m + BASIN.center_y_m
    return np.asarray(np.clip((objects_m[..., 1] - basin_m) / _BETWEEN_M, 0.0, 1.0))
