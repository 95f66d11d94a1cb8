"""AutoEval's four tasks on the twin: scenes, start frames that a simulator can go to, policies."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from robot_agent.core.errors import InputError
from robot_agent.core.protocols import Policy
from robot_agent.core.types import Observation
from robot_agent.evaluate.suites import Assignment, Suite
from robot_agent.learn.imagine import Start
from robot_agent.learn.pretraining import read_policy
from robot_agent.models.tiny_team import TWIN_INSTRUCTIONS
from robot_agent.models.tiny_vla import TinyVla, instruction_id
from robot_agent.sim.household import scene_named
from robot_agent.sim.robot import SimRobot
from robot_agent.sim.scenes import Scene
from robot_agent.sim.tasks import TWIN, Task

REAL = "@real"
"""Physics and optics that play the real robot; the trainer's simulator has other ones."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Spot(Observation):
    """An observation of a simulated robot that can be put there again."""

    scene: Scene
    task: str
    """Name of the task that the reset is for."""
    seed: int


@dataclass(frozen=True)
class Place:
    """One task in one scene."""

    scene: Scene
    task: Task

    @property
    def assignment(self) -> Assignment:
        """What a trial there is."""
        return Assignment(self.scene, self.task.instruction, self.task.max_steps)


def places(physics: str = "") -> tuple[Place, ...]:
    """Return the four tasks in their cells, in the trainer's physics or as `@real`."""
    return tuple(Place(scene_named(task.cell + physics), task) for task in TWIN)


def suite_of(
    name: str,
    wanted: Iterable[Place],
    others: Iterable[Place],
    *,
    trials: int,
    max_steps: int | None = None,
) -> Suite:
    """Return what policies are compared on; `others` show what was forgotten."""

    def assigned(where: Iterable[Place]) -> tuple[Assignment, ...]:
        full = (place.assignment for place in where)
        return tuple(replace(each, max_steps=max_steps or each.max_steps) for each in full)

    return Suite(name=name, assignments=assigned(wanted), others=assigned(others), trials=trials)


def spots(where: Iterable[Place], seeds: Sequence[int]) -> list[Start]:
    """Return what a robot sees at the resets of `seeds` in every place, with the task there.

    Nothing moves for it: one picture each, as a person would take who shows the robot a scene.
    """
    return [
        Start(_spot(robot, place, seed), _id_of(place.task))
        for robot, place, seed in _resets(where, seeds, is_free=False)
    ]


def free_starts(where: Iterable[Place], seeds: Sequence[int]) -> list[Start]:
    """Return starts whose objects stand anywhere, as after any task, with each place's task.

    Places of one scene see the same frame at the same seed: another instruction on it.
    """
    return [
        Start(robot.observe(), _id_of(place.task))
        for robot, place, _ in _resets(where, seeds, is_free=True)
    ]


def _resets(
    where: Iterable[Place], seeds: Sequence[int], *, is_free: bool
) -> Iterator[tuple[SimRobot, Place, int]]:
    robot: SimRobot | None = None
    for place in where:
        robot = robot or SimRobot(place.scene)
        for seed in seeds:
            robot.reset(seed, "" if is_free else place.task.name, place.scene)
            yield robot, place, seed
    if robot is not None:
        robot.world.close()


def _spot(robot: SimRobot, place: Place, seed: int) -> Spot:
    seen = robot.observe()
    return Spot(
        image_hwc=seen.image_hwc,
        joints_rad=seen.joints_rad,
        gripper=seen.gripper,
        stamp_ns=seen.stamp_ns,
        scene=place.scene,
        task=place.task.name,
        seed=seed,
    )


def _id_of(task: Task) -> int:
    return instruction_id(task.instruction, TWIN_INSTRUCTIONS)


def spot_of(observation: Observation) -> Spot:
    """Return an observation as a spot; InputError when no simulator can be put there."""
    if not isinstance(observation, Spot):
        raise InputError(
            f"a start of type {type(observation).__name__} says nothing of the simulator's state, "
            f"must be a Spot. Make starts with `spots`."
        )
    return observation


def load_twin(path: Path) -> Policy:
    """Return a policy of the four tasks from its file of weights, as trials run it.

    A function of a module: the processes that run trials import it.
    """
    return TinyVla(read_policy(path), TWIN_INSTRUCTIONS, version=path.parent.name)
