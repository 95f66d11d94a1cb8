"""A world model whose imagining can be broken off between two steps."""

from collections.abc import Callable, Sequence

from robot_agent.core.types import FloatArray, ImageArray, Observation
from robot_agent.learn.budget import OutOfBudgetError
from robot_agent.learn.imagine import Imagination


class Stoppable:
    """A world that ends what is imagined in it within one step."""

    def __init__(self, world: Imagination, is_over: Callable[[], bool]) -> None:
        """Ask `is_over` before every step."""
        self._world, self._is_over = world, is_over

    def reset(self, observations: Sequence[Observation]) -> ImageArray:
        """Begin as the world does."""
        return self._world.reset(observations)

    def step(self, actions_BA: FloatArray) -> ImageArray:
        """Advance as the world does; OutOfBudgetError when the time is used up."""
        if self._is_over():
            raise OutOfBudgetError("imagining was broken off: its time is used up")
        return self._world.step(actions_BA)

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rollouts only."""
        self._world.keep(rows)
