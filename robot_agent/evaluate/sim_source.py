"""Real episodes from the simulator in this process: for studies and tests without ROS."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np

from robot_agent.act.policy_slot import PolicySlot
from robot_agent.core.errors import ConfigError, RobotAgentError
from robot_agent.core.protocols import EpisodeStore
from robot_agent.core.types import Episode, Observation, Step
from robot_agent.evaluate.trials import run_trial
from robot_agent.release.in_turn import InTurn
from robot_agent.release.promotion import Promotion
from robot_agent.release.road import SIMULATED, PromotionConfig, Weights
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
    """An `EpisodeSource` whose robot is a `SimRobot`; new weights go the same road as on a robot.

    `promote` puts them into the shadow of those that act. The episodes that are collected next
    prove them: in pairs on like starts, until they are GOOD or rolled back.
    """

    def __init__(
        self,
        scene: Scene,
        store: EpisodeStore,
        weights: Weights,
        say: Progress,
        config: PromotionConfig = SIMULATED,
        *,
        operator: ScriptedOperator | None = None,
    ) -> None:
        """Record into `store`, start with the release that `weights` boot.

        With an `operator` the episodes are corrected; an episode may then last half as long again.
        """
        if config.probation.speed != 1.0:
            raise ConfigError(
                f"probation.speed is {config.probation.speed:g}, must be 1 in this process, whose "
                f"guard has no reduced speed. Use the nodes: robot-agent up --sim"
            )
        self._scene, self._store, self._weights, self._say = scene, store, weights, say
        self._robot, self._operator = SimRobot(scene), operator
        self._slot = PolicySlot(weights.boot())
        self._promotion = Promotion(weights, self._slot, config)

    @property
    def active(self) -> str:
        """Version of the weights that act."""
        return self._slot.active.version

    @property
    def proving(self) -> str:
        """How far the candidate is, or what became of the last one, in words."""
        return self._promotion.progress.words

    def collect(self, version: str, plan: Sequence[Plan]) -> list[str]:
        """Run and record the episodes; return their ids. Other weights than `version` may act.

        Raises:
            SwapRefusedError: `version` is not active and may not be promoted.
        """
        if version not in (self.active, self._promotion.progress.version):
            self._promote(version)
        turns = list(_in_turns(plan))
        starts, last, ids = iter(turns), ("", 0), []
        for _ in turns:
            if not self._promotion.progress.repeats_start or not last[0]:
                last = next(starts)
            ids.append(self._record(*last))
        return ids

    def _record(self, instruction: str, seed: int) -> str:
        self._promotion.begin_episode()
        episode_id = f"{self._scene.name}-{self.active}-{seed}"
        is_kept = episode_id in self._store.list()
        if is_kept and not self._promotion.progress.version:
            self._promotion.end_episode()
            return episode_id  # of a round that was cut short; it would come out the same
        steps: list[Step] = []
        version = self.active

        def on_step(step: Step) -> bool:
            steps.append(step)
            return self._hear_guard(step.controller)

        trial = run_trial(
            self._robot,
            InTurn(self._slot, self._promotion),
            self._scene,
            instruction,
            seed,
            max_steps=self._max_steps(instruction),
            on_step=on_step,
            operator=self._operator,
        )
        last = self._robot.observe()
        self._promotion.end_episode()
        was_corrected = any(step.controller == "operator" for step in steps)
        outcome = "failure" if was_corrected else trial.outcome  # a person finished the task
        self._promotion.report(version, outcome, "sim")
        if is_kept:
            return episode_id
        episode = episode_of(steps, last, episode_id, instruction, self._scene.name)
        return self._store.append(episode).name

    def _hear_guard(self, controller: str) -> bool:
        """Return whether the weights that act are recalled."""
        state = self._robot.guard.state
        causes, is_operator = [*state.latched, *state.hold_causes], controller == "operator"
        is_event = self._promotion.hear_guard(causes, is_operator=is_operator)
        if is_event:
            self._promotion.settle()
        return is_event

    def _max_steps(self, instruction: str) -> int:
        steps = find_task(self._scene.cell, instruction).max_steps
        return steps if self._operator is None else steps * 3 // 2

    def promote(self, version: str) -> tuple[bool, str]:
        """Begin to prove a SANE release; a GOOD one acts at once. Say why not otherwise."""
        try:
            return True, self._promote(version)
        except RobotAgentError as error:
            return False, str(error)

    def _promote(self, version: str) -> str:
        if version == self.active:
            return f"{version} acts already"
        self._promotion.require_free(version)
        policy = self._weights.load(version)
        if self._weights.state(version) is not State.GOOD:
            return self._promotion.begin(policy)
        self._promotion.drop(f"replaced by {version}", but=version)
        self._weights.activate(version, "")
        self._slot.offer(policy)
        self._slot.swap_at_boundary()
        return f"{version} acts now"

    def close(self) -> None:
        """End in good order: what is on probation may begin it again."""
        self._promotion.close()

    def progress(
        self, stage: str, round_index: int, share: float, seconds_left: float, message: str
    ) -> None:
        """Report."""
        self._say(stage, round_index, share, seconds_left, message)


def _in_turns(plan: Sequence[Plan]) -> Iterator[tuple[str, int]]:
    """Yield instruction and seed of every episode, one of each task after the other."""
    for index in range(max((part.count for part in plan), default=0)):
        for part in plan:
            if index < part.count:
                yield part.instruction, part.seed + index


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
