"""Trials in simulation on stated seeds; success is the simulator's state, which no model sees."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from robot_agent.core.protocols import Policy
from robot_agent.core.types import FloatArray, Observation, Step
from robot_agent.evaluate.trial_runner import Outcome
from robot_agent.sim.robot import SimRobot
from robot_agent.sim.scenes import Scene
from robot_agent.sim.tasks import find_task

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
    on_step: Callable[[Step], None] | None = None,
) -> Trial:
    """Run one trial: observe, infer, execute the whole chunk through the guard, again.

    The start state follows from `seed` and task alone, so that two policies meet the same one. A
    trial lasts `max_steps`, by default the task's, unless the guard latches a stop, or the task
    ends at success. What the simulator says at the end counts.

    Raises:
        InputError: The scene has no such task.
    """
    task = find_task(scene.cell, instruction)
    max_steps = max_steps or task.max_steps
    robot.reset(seed, task.name, scene)
    policy.reset(instruction, seed)
    steps = held = events = solved_at = 0
    guard = robot.guard
    while steps < max_steps and held < HELD_STEPS and not guard.state.latched:
        chunk = policy.act(robot.observe())
        for action in chunk.actions[: max_steps - steps]:
            before = robot.observe() if on_step is not None else None
            sent = robot.execute(action, chunk.weights_version)
            steps += 1
            events += bool(guard.state.changes)
            if on_step is not None and before is not None:
                on_step(_step(robot, before, action, sent, chunk.weights_version))
            is_solved = robot.world.success(task.name)
            solved_at = (solved_at or steps) if is_solved else 0
            held = held + 1 if task.ends_at_success and is_solved else 0
            if guard.state.latched or held >= HELD_STEPS:
                break
    if solved_at and not task.ends_at_success:
        steps = solved_at
    reason = ", ".join(guard.state.latched)
    return Trial(instruction, seed, robot.world.success(task.name), steps, events, reason)


def _step(
    robot: SimRobot, before: Observation, action: FloatArray, sent: FloatArray, version: str
) -> Step:
    return Step(
        observation=before,
        proposed=np.asarray(action),
        sent=sent,
        weights_version=version,
        controller="policy",
        changes=robot.guard.state.changes,
    )
