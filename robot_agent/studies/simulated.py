"""A simulator in the place of the world model, and its state in the place of the judge."""

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from robot_agent.core.errors import InputError
from robot_agent.core.types import FloatArray, ImageArray, Observation
from robot_agent.models.tiny_world import SIZE_PX
from robot_agent.sim.tasks import TWIN
from robot_agent.sim.vector import Moment, VectorSim
from robot_agent.sim.world import halved
from robot_agent.studies.twin import spot_of

_NAMES = [task.name for task in TWIN]


class Truths(NamedTuple):
    """What is so after one step of some rollouts, each (B,)."""

    success: FloatArray
    progress: FloatArray
    ids: NDArray[np.int64]
    """Instructions of the resets."""


class SimulatedWorld:
    """An `Imagination` that is no imagination: robots in simulators, reset where spots say.

    Which physics is the scene's own: the trainer's, or those that play the real robot. Use it in
    a `with`; one thread at a time.
    """

    def __init__(self, num: int, *, processes: int = 2) -> None:
        """Start simulators for `num` rollouts at once."""
        self._sim = VectorSim(num, processes=min(processes, num), size_px=2 * SIZE_PX)
        self._rows = np.arange(0)
        self._ids = np.arange(0)
        self._truths: deque[Truths] = deque()

    def reset(self, observations: Sequence[Observation]) -> ImageArray:
        """Put a robot at the start of each spot; return pictures (B, 64, 64, 3).

        Raises:
            InputError: More spots than simulators, or a start that is no spot.
            SimulationError: A scene was refused, or a process died.
        """
        if not 0 < len(observations) <= self._sim.num:
            raise InputError(
                f"{len(observations)} rollouts in {self._sim.num} simulators: must be from 1 to "
                f"{self._sim.num}. Make a world of more."
            )
        spots = [spot_of(seen) for seen in observations]
        self._rows = np.arange(len(spots))
        wanted = [*spots, *[spots[0]] * (self._sim.num - len(spots))]
        self._ids = np.array([_NAMES.index(spot.task) for spot in wanted])
        self._truths.clear()
        moment = self._sim.reset(
            [spot.scene for spot in wanted],
            [spot.task for spot in wanted],
            [spot.seed for spot in wanted],
        )
        return self._pictures(moment)

    def step(self, actions_BA: FloatArray) -> ImageArray:
        """Run one Bridge action (B, 7) of each rollout through a guard; return pictures."""
        actions = np.zeros((self._sim.num, 7))
        actions[self._rows] = actions_BA
        moment = self._sim.step(actions, self._rows.tolist())
        rows = self._rows
        truths = Truths(moment.successes[rows], moment.progress[rows], self._ids[rows])
        self._truths.append(truths)
        return self._pictures(moment)

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rollouts only; the robots of the others stand still."""
        self._rows = self._rows[list(rows)]

    def next_truths(self) -> Truths:
        """Return what is so after the oldest step that was not asked for yet."""
        if not self._truths:
            raise InputError("the simulator's state: no step is left to tell of. Take one first.")
        return self._truths.popleft()

    def _pictures(self, moment: Moment) -> ImageArray:
        return halved(moment.images[self._rows])

    def __enter__(self) -> "SimulatedWorld":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the simulators."""
        self._sim.close()


class TrueState:
    """A `FrameJudge` that does not look at pictures: it says what the simulator knows."""

    def __init__(self, world: SimulatedWorld) -> None:
        """Tell of the rollouts in this world, in the order of its steps."""
        self._world = world

    def assess(
        self, first: ImageArray, images: ImageArray, instruction_ids: NDArray[np.int64]
    ) -> tuple[FloatArray, FloatArray]:
        """Return success and progress of the rollouts' newest steps, oldest step first.

        Raises:
            InputError: A rollout is asked for another task than its reset is of.
        """
        del first
        found: list[Truths] = []
        while sum(len(truths.success) for truths in found) < len(images):
            found.append(self._world.next_truths())
        success, progress, ids = (np.concatenate(parts) for parts in zip(*found, strict=True))
        if not np.array_equal(ids, instruction_ids):
            raise InputError(
                f"tasks {sorted(set(instruction_ids.tolist()))} were asked of resets for "
                f"{sorted(set(ids.tolist()))}: the simulator knows only those. Start each task at "
                f"its own spots."
            )
        return success, progress
