"""Real episodes from the simulator in this process: for studies and tests without ROS."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from robot_agent.core.protocols import EpisodeStore, Policy
from robot_agent.core.types import Episode, Observation, Step
from robot_agent.evaluate.trials import run_trial
from robot_agent.release.registry import Registry
from robot_agent.release.states import State
from robot_agent.sim.operator import ScriptedOperator
from robot_agent.sim.robot import SimRobot
from robot_agent.sim.scenes import Scene
from robot_agent.sim.tasks import find_task

Progress = Callable[[str, int, float, float, str], None]


class Plan(Protocol):
    """How many episodes of one instruction, from which seed on."""

    @property
    def instruction(self) -> str:
        """Instruction."""

    @property
    def count(self) -> int:
        """Number of episodes."""

    @property
    def seed(self) -> int:
        """Seed of the first one."""


class SimSource:
    """An `EpisodeSource` whose robot is a `SimRobot`; promotes in the registry at once."""

    def __init__(
        self,
        scene: Scene,
        store: EpisodeStore,
        registry: Registry,
        load: Callable[[Path], Policy],
        say: Progress,
        *,
        operator: ScriptedOperator | None = None,
    ) -> None:
        """Record into `store`, run the weights of `registry`, made into policies by `load`.

        With an `operator` the episodes are corrected; an episode may then last half as long again.
        """
        self._scene, self._store, self._registry = scene, store, registry
        self._load, self._say = load, say
        self._robot, self._operator = SimRobot(scene), operator

    def collect(self, version: str, plan: Sequence[Plan]) -> list[str]:
        """Run and record the episodes; return their ids."""
        policy = self._load(self._registry.path(version))
        ids = []
        for part in plan:
            for index in range(part.count):
                ids.append(self._record(policy, part.instruction, part.seed + index))
        if ids and self._registry.releases().states.get(version) is State.PROBATION:
            self._registry.advance(version, State.GOOD)
        return ids

    def _record(self, policy: Policy, instruction: str, seed: int) -> str:
        episode_id = f"{self._scene.name}-{policy.version}-{seed}"
        if episode_id in self._store.list():
            return episode_id  # of a round that was cut short; it would come out the same
        steps: list[Step] = []
        run_trial(
            self._robot,
            policy,
            self._scene,
            instruction,
            seed,
            max_steps=self._max_steps(instruction),
            on_step=steps.append,
            operator=self._operator,
        )
        last = self._robot.observe()
        episode = episode_of(steps, last, episode_id, instruction, self._scene.name)
        return self._store.append(episode).name

    def _max_steps(self, instruction: str) -> int:
        steps = find_task(self._scene.cell, instruction).max_steps
        return steps if self._operator is None else steps * 3 // 2

    def promote(self, version: str) -> tuple[bool, str]:
        """Make a SANE release current."""
        if self._registry.releases().states.get(version) is State.SANE:
            self._registry.advance(version, State.SHADOW)
        self._registry.activate(version)
        return True, f"{version} acts"

    def progress(
        self, stage: str, round_index: int, share: float, seconds_left: float, message: str
    ) -> None:
        """Report."""
        self._say(stage, round_index, share, seconds_left, message)


def episode_of(
    steps: Sequence[Step], last: Observation, episode_id: str, instruction: str, scene: str
) -> Episode:
    """Return executed steps and the observation after them as an episode, outcome unknown."""
    observations = [step.observation for step in steps] + [last]
    return Episode(
        episode_id=episode_id,
        instruction=instruction,
        images=np.stack([o.image_hwc for o in observations]),
        actions=np.stack([step.sent for step in steps]),
        proposed=np.stack([step.proposed for step in steps]),
        joints_rad=np.stack([o.joints_rad for o in observations]),
        gripper=np.array([o.gripper for o in observations]),
        weights_versions=tuple(step.weights_version for step in steps),
        controllers=tuple(step.controller for step in steps),
        scene=scene,
        stamps_ns=np.array([o.stamp_ns for o in observations], dtype=np.int64),
    )
