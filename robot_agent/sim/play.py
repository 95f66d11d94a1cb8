"""Which hand moves at each step of a play episode: tasks, near misses, wandering."""

from collections.abc import Iterator

import numpy as np

from robot_agent.core.types import FloatArray
from robot_agent.sim.demonstrator import (
    Demonstrator,
    demonstration_style,
    drawer_style,
    near_miss_style,
)
from robot_agent.sim.eggplant_hand import EggplantHand, eggplant_style
from robot_agent.sim.fixtures import HANDLE_GAP_M, HANDLE_HEIGHT_M
from robot_agent.sim.scenes import Scene
from robot_agent.sim.tasks import Task, tasks_of
from robot_agent.sim.truth import Truth
from robot_agent.sim.wanderer import Wanderer

Hand = Demonstrator | EggplantHand | Wanderer

_NEAR_M = 0.09
_SPANS = {"table": (8, 22), "drawer": (8, 26), "sink": (20, 45)}
"""Steps after which the hand changes, by cell."""


def hand_for(scene: Scene, task: Task, rng: np.random.Generator, *, miss: bool = False) -> Hand:
    """Return a hand with its own style for a task.

    Args:
        scene: The scene as this reset varied it.
        task: A task of the scene's cell.
        rng: Draws the style.
        miss: The hand is meant to fail.
    """
    if scene.cell == "sink":
        return EggplantHand(task, eggplant_style(rng, miss=miss))
    if scene.cell == "drawer":
        return Demonstrator(scene, task.name, drawer_style(rng, task.name, miss=miss))
    style = near_miss_style(rng) if miss else demonstration_style(rng)
    return Demonstrator(scene, task.name, style)


def play_hands(scene: Scene, rng: np.random.Generator, steps: int) -> Iterator[Hand]:
    """Yield the hand of each step; 45 % of the hands miss, 15 % wander."""
    tasks, span = tasks_of(scene.cell), _SPANS[scene.cell]
    hand: Hand = Wanderer(rng, scene.cell)
    left = int(rng.integers(0, 6)) if rng.random() < 0.5 else 0
    for _ in range(steps):
        if left <= 0:
            left = int(rng.integers(*span))
            draw = rng.random()
            if scene.cell == "table":  # draws in the order of the shipped weights' data
                style = near_miss_style(rng) if draw < 0.45 else demonstration_style(rng)
                task = tasks[rng.integers(len(tasks))]
                hand = Demonstrator(scene, task.name, style)
            else:
                hand = hand_for(scene, tasks[rng.integers(len(tasks))], rng, miss=draw < 0.45)
            hand = Wanderer(rng, scene.cell) if draw > 0.85 else hand
        left -= 1
        yield hand


def is_near_aim(cell: str, truth: Truth) -> bool:
    """Return whether the tool is within 9 cm of the handle's gap, or of the loose object."""
    if cell == "sink":
        return float(np.linalg.norm(truth.tool_m - truth.object_m)) < _NEAR_M
    gap: FloatArray = np.array([-truth.drawer_m - HANDLE_GAP_M / 2, 0.0, HANDLE_HEIGHT_M])
    return float(np.linalg.norm(truth.in_fixture(truth.tool_m) - gap)) < _NEAR_M
