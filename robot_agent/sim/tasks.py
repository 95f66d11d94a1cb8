"""Tasks: what is asked, how an episode starts, and when it counts as solved, by cell.

Source of the twin's instructions, step limits and rules: AutoEval, sections 4, 5.1 and appendices
B and C; where it asks a person or a classifier, a rule in numbers stands here.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from robot_agent.core.errors import InputError
from robot_agent.sim.fixtures import CONTAINERS
from robot_agent.sim.scenes import CLOSED_M, OPEN_M, TRAVEL_M
from robot_agent.sim.truth import Truth

OPENED_M = 0.015
"""AutoEval: a drawer is open from 1.5 cm on."""
SHUT_M = 0.003
"""AutoEval: fully closed; 3 mm is what a person would not see."""
REST_MPS = 0.02
"""Slower is at rest."""
_AXIS_M = 0.022
"""Half of an eggplant's axis between the middles of its round ends."""
AWAY_M = 0.06
"""The tool is away from the object from here on: 2 cm above its skin at least."""


def is_inside(truth: Truth, container: str) -> bool:
    """Return whether both ends of the object's axis are within a container's walls."""
    box = CONTAINERS[container]
    for end in (-_AXIS_M, _AXIS_M):
        x, y, z = truth.in_fixture(truth.object_m + end * truth.T_base_object[:3, 0])
        if abs(x) > box.half_x_m or abs(y - box.center_y_m) > box.half_y_m or not z < box.rim_m:
            return False
    return True


def is_put(truth: Truth, container: str) -> bool:
    """Return whether the object lies inside, at rest, and the hand is away."""
    away_m = float(np.linalg.norm(truth.tool_m - truth.object_m))
    is_still = truth.object_speed_mps < REST_MPS
    return bool(is_inside(truth, container) and is_still and away_m >= AWAY_M)


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task in one cell."""

    instruction: str
    name: str
    cell: str
    max_steps: int
    """Steps at 5 Hz after which the state is judged; the twin never stops before."""
    is_solved: Callable[[Truth], bool]
    """Judges one moment; for the twin, the last."""
    opening_m: tuple[float, float] | None = None
    """From where to where a reset opens the drawer; None leaves it to the scene."""
    start_in: str = ""
    """Container that a reset puts the object into."""
    put_in: str = ""
    """Container that it belongs into at the end."""
    ends_at_success: bool = False
    """An episode ends at the first success, which then counts; else its last moment does."""


OPEN = Task(
    instruction="open the drawer",
    name="open",
    cell="drawer",
    max_steps=70,
    is_solved=lambda truth: truth.drawer_m >= OPENED_M,
    opening_m=(0.0, 0.005),
)
CLOSE = Task(
    instruction="close the drawer",
    name="close",
    cell="drawer",
    max_steps=70,
    is_solved=lambda truth: truth.drawer_m <= SHUT_M,
    opening_m=(0.06, TRAVEL_M),
)
TO_BASKET = Task(
    instruction="put the eggplant in the yellow basket",
    name="to_basket",
    cell="sink",
    max_steps=100,
    is_solved=lambda truth: is_put(truth, "basket"),
    start_in="sink",
    put_in="basket",
)
TO_SINK = Task(
    instruction="put the eggplant in the blue sink",
    name="to_sink",
    cell="sink",
    max_steps=100,
    is_solved=lambda truth: is_put(truth, "sink"),
    start_in="basket",
    put_in="sink",
)
TWIN = (OPEN, CLOSE, TO_BASKET, TO_SINK)
"""The four tasks of AutoEval."""
TABLE = (
    Task(
        instruction="open the drawer",
        name="open",
        cell="table",
        max_steps=30,
        is_solved=lambda truth: truth.drawer_m >= OPEN_M,
        ends_at_success=True,
    ),
    Task(
        instruction="close the drawer",
        name="close",
        cell="table",
        max_steps=30,
        is_solved=lambda truth: truth.drawer_m <= CLOSED_M,
        ends_at_success=True,
    ),
)
"""The demo's two tasks: both start half open, and end at the first success."""


TASKS = {task.instruction: task.name for task in TWIN}
"""Every instruction to the name of its task."""


def task_of(instruction: str) -> str:
    """Return the task of an instruction; InputError when it is empty or of no known task."""
    words = " ".join(instruction.lower().split())
    if words not in TASKS:
        raise InputError(
            f"instruction '{instruction}' is of no task this robot knows. "
            f"Choose one of: {', '.join(TASKS)}."
        )
    return TASKS[words]


def tasks_of(cell: str) -> tuple[Task, ...]:
    """Return the tasks of a cell; their order is that of `Recording.tasks`."""
    found = tuple(task for task in (*TABLE, *TWIN) if task.cell == cell)
    if not found:
        raise InputError(f"cell '{cell}' is unknown. Choose one of: table, drawer, sink.")
    return found


def find_task(cell: str, word: str) -> Task:
    """Return the task of a cell by its name or instruction; InputError lists those there are."""
    wanted = " ".join(word.lower().split())
    for task in tasks_of(cell):
        if wanted in (task.name, task.instruction):
            return task
    names = ", ".join(f"{task.name} ({task.instruction})" for task in tasks_of(cell))
    raise InputError(f"task '{word}' is of no use in cell '{cell}'. Choose one of: {names}.")
