"""Suites: named lists of scenes with an instruction each, on which policies are compared."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from robot_agent.core.config import require_range
from robot_agent.core.errors import ConfigError
from robot_agent.evaluate.trials import MAX_STEPS
from robot_agent.sim.household import scenes_named
from robot_agent.sim.scenes import TASKS, Scene, task_of

BLOCK_SEEDS = 1_000
"""Seeds of one cell: the most start states that it can have."""


@dataclass(frozen=True)
class Cell:
    """One scene and what to do there."""

    scene: Scene
    instruction: str
    max_steps: int = MAX_STEPS
    """Control steps of a trial at 5 Hz."""

    @property
    def name(self) -> str:
        """`scene: instruction`, as in tables."""
        return f"{self.scene.name}: {self.instruction}"


@dataclass(frozen=True, kw_only=True)
class Suite:
    """What policies are compared on.

    Raises:
        ConfigError: No cell, or two different scenes of one name.
        InputError: An instruction of no known task.
    """

    name: str
    cells: tuple[Cell, ...]
    others: tuple[Cell, ...] = ()
    """Cells that show what was forgotten elsewhere; in no pooled number of the suite."""
    trials: int = 50
    """Start states of each cell; each policy meets all of them."""

    def __post_init__(self) -> None:
        """Check ranges and names; a cell that comes twice counts once."""
        require_range("trials", self.trials, 1, BLOCK_SEEDS)
        looks = {cell.scene.name: cell.scene for cell in self.all_cells}
        if not self.cells or any(looks[c.scene.name] != c.scene for c in self.all_cells):
            raise ConfigError(
                f"suite {self.name}: {len(self.cells)} cells in scenes "
                f"[{', '.join(c.scene.name for c in self.all_cells)}]: must have at least one "
                f"cell and no two scenes of one name. Rename a scene."
            )
        for cell in self.all_cells:
            task_of(cell.instruction)

    @property
    def all_cells(self) -> tuple[Cell, ...]:
        """Cells and others, each once."""
        return tuple(dict.fromkeys((*self.cells, *self.others)))


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
        name: a group (`table`, `novel`, `household`), or scenes with commas between.
        others: A suite of the same kind that shows forgetting; its cells that are in the suite
            already stay there.
        instructions: Only these; every task of the suite by default.
        trials: Start states of each cell.
        max_steps: Length of a trial; that of each task by default.

    Raises:
        InputError: A scene or instruction is unknown.
    """
    cells = tuple(_chosen(_cells_of(name), instructions, max_steps))
    rest = _chosen(_cells_of(others), instructions, max_steps) if others else ()
    extra = tuple(cell for cell in rest if cell not in cells)
    return Suite(name=name, cells=cells, others=extra, trials=trials)


def _cells_of(name: str) -> list[Cell]:
    """Return the cells of a suite."""
    return [Cell(scene, instruction) for scene in scenes_named(name) for instruction in TASKS]


def _chosen(
    cells: Iterable[Cell], instructions: Sequence[str], max_steps: int | None
) -> Iterable[Cell]:
    """Return the cells of these instructions; an unknown instruction is an error."""
    wanted = {task_of(instruction) for instruction in instructions}
    for cell in cells:
        if not wanted or task_of(cell.instruction) in wanted:
            yield cell if max_steps is None else replace(cell, max_steps=max_steps)
