"""Suites: named lists of scenes with an instruction each, on which policies are compared."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from robot_agent.core.config import require_range
from robot_agent.core.errors import ConfigError
from robot_agent.sim.household import scenes_named
from robot_agent.sim.scenes import Scene
from robot_agent.sim.tasks import find_task, task_of, tasks_of

BLOCK_SEEDS = 1_000
"""Seeds of one assignment: the most start states that it can have."""


@dataclass(frozen=True)
class Assignment:
    """One scene and what to do there."""

    scene: Scene
    instruction: str
    max_steps: int
    """Control steps of a trial at 5 Hz."""

    @property
    def name(self) -> str:
        """`scene: instruction`, as in tables."""
        return f"{self.scene.name}: {self.instruction}"


@dataclass(frozen=True, kw_only=True)
class Suite:
    """What policies are compared on.

    Raises:
        ConfigError: No assignment, or two different scenes of one name.
        InputError: An instruction of no known task.
    """

    name: str
    assignments: tuple[Assignment, ...]
    others: tuple[Assignment, ...] = ()
    """Assignments that show what was forgotten elsewhere; in no pooled number of the suite."""
    trials: int = 50
    """Start states of each assignment; each policy meets all of them."""

    def __post_init__(self) -> None:
        """Check ranges and names; an assignment that comes twice counts once."""
        require_range("trials", self.trials, 1, BLOCK_SEEDS)
        scenes = [assignment.scene for assignment in self.all_assignments]
        looks = {scene.name: scene for scene in scenes}
        if not self.assignments or any(looks[scene.name] != scene for scene in scenes):
            raise ConfigError(
                f"suite {self.name}: {len(self.assignments)} assignments in scenes "
                f"[{', '.join(scene.name for scene in scenes)}]: must have at least one "
                f"assignment and no two scenes of one name. Rename a scene."
            )
        for assignment in self.all_assignments:
            find_task(assignment.scene.cell, assignment.instruction)

    @property
    def all_assignments(self) -> tuple[Assignment, ...]:
        """Assignments and others, each once."""
        return tuple(dict.fromkeys((*self.assignments, *self.others)))


def suite_named(
    name: str,
    *,
    others: str = "",
    instructions: Sequence[str] = (),
    trials: int = 50,
    max_steps: int | None = None,
) -> Suite:
    """Return a suite by name: one of our own, or scenes with commas between.

    Args:
        name: A group of scenes (`table`, `novel`, `autoeval`, `household`), or scenes with commas
            between.
        others: A suite of the same kind that shows forgetting; what is in the suite already stays
            there.
        instructions: Only these; every task of the suite by default.
        trials: Start states of each assignment.
        max_steps: Length of a trial; that of each task by default.

    Raises:
        InputError: A scene or instruction is unknown, or no scene has such a task.
    """
    assignments = tuple(_chosen(_assignments_of(name), instructions, max_steps))
    rest = _chosen(_assignments_of(others), instructions, max_steps) if others else ()
    extra = tuple(assignment for assignment in rest if assignment not in assignments)
    return Suite(name=name, assignments=assignments, others=extra, trials=trials)


def _assignments_of(name: str) -> list[Assignment]:
    """Return the assignments of a suite."""
    return [
        Assignment(scene, task.instruction, task.max_steps)
        for scene in scenes_named(name)
        for task in tasks_of(scene.cell)
    ]


def _chosen(
    assignments: Iterable[Assignment], instructions: Sequence[str], max_steps: int | None
) -> Iterable[Assignment]:
    """Return the assignments of these instructions; an unknown instruction is an error."""
    wanted = {task_of(instruction) for instruction in instructions}
    for assignment in assignments:
        if not wanted or task_of(assignment.instruction) in wanted:
            yield assignment if max_steps is None else replace(assignment, max_steps=max_steps)
