"""Trials in simulation on stated seeds; success is the simulator's state, which no model sees."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from robot_agent.core.protocols import Policy
from robot_agent.core.types import FloatArray, Step
from robot_agent.evaluate.trial_runner import Outcome
from robot_agent.sim.operator import ScriptedOperator
from robot_agent.sim.robot import SimRobot
from robot_agent.sim.scenes import Scene
from robot_agent.sim.tasks import find_task

OnStep = Callable[[Step], bool | None]
"""Told of every step; True when the rest of the chunk must not act: its weights are recalled."""
HELD_STEPS = 2
"""A success that ends the trial must be seen at the end of this many steps in a row."""


@dataclass(frozen=True)
class Trial:
    """What came of one trial."""

    instruction: str
    seed: int
    success: bool
    steps: int
    """Executed; of a success that does not end the trial, those until it came to stay."""
    safety_events: int = 0
    """Steps that the guard changed, refused or held."""
    reason: str = ""
    """Why it was aborted: the causes that the guard latched a stop on."""

    @property
    def outcome(self) -> Outcome:
        """A latched stop is an abort; else success as the simulator's state has it."""
        if self.reason:
            return "abort"
        return "success" if self.success else "failure"


def run_trial(
    robot: SimRobot,
    policy: Policy,
    scene: Scene,
    instruction: str,
    seed: int,
    *,
    max_steps: int | None = None,
    on_step: OnStep | None = None,
    operator: ScriptedOperator | None = None,
) -> Trial:
    """Run one trial: observe, infer, execute the whole chunk through the guard, again.

    The start state follows from `seed` and task alone, so that two policies meet the same one. A
    trial lasts `max_steps`, by default the task's, unless the guard latches a stop, or the task
    ends at success. What the simulator says at the end counts. An `operator` may take the arm
    at any step; when it lets go the policy looks anew.

    Raises:
        InputError: The scene has no such task.
    """
    task = find_task(scene.cell, instruction)
    max_steps = max_steps or task.max_steps
    robot.reset(seed, task.name, scene)
    policy.reset(instruction, seed)
    if operator is not None:
        operator.begin(scene, task, seed)
    hands = _Hands(robot, policy, operator)
    steps = held = events = solved_at = 0
    guard = robot.guard
    while steps < max_steps and held < HELD_STEPS and not guard.state.latched:
        hands.move(on_step)
        steps += 1
        events += bool(guard.state.changes)
        is_solved = robot.world.success(task.name)
        solved_at = (solved_at or steps) if is_solved else 0
        held = held + 1 if task.ends_at_success and is_solved else 0
    if solved_at and not task.ends_at_success:
        steps = solved_at
    reason = ", ".join(guard.state.latched)
    return Trial(instruction, seed, robot.world.success(task.name), steps, events, reason)


class _Hands:
    """Whoever moves the arm: the policy by whole chunks, or an operator who takes it over."""

    def __init__(self, robot: SimRobot, policy: Policy, operator: ScriptedOperator | None) -> None:
        self._robot, self._policy, self._operator = robot, policy, operator
        self._left: list[FloatArray] = []
        self._version = policy.version

    def move(self, on_step: OnStep | None) -> None:
        """Execute one step."""
        robot = self._robot
        taken = self._operator.wants(robot.world.truth) if self._operator is not None else None
        if taken is not None:
            self._left = []
        is_asked = taken is None and not self._left
        seen = robot.observe() if is_asked or on_step is not None else None
        if is_asked and seen is not None:
            chunk = self._policy.act(seen)
            self._left, self._version = list(chunk.actions), chunk.weights_version
        action = self._left.pop(0) if taken is None else taken
        sent = robot.execute(action, self._version) if taken is None else robot.correct(action)
        if on_step is not None and seen is not None:
            step = Step(
                observation=seen,
                proposed=np.asarray(action),
                sent=sent,
                weights_version=robot.guard.state.last_version,
                controller="policy" if taken is None else "operator",
                changes=robot.guard.state.changes,
            )
            if on_step(step):
                self._left = []
