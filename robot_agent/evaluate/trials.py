"""Trials in simulation on stated seeds; success is the simulator's state, which no model sees."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from robot_agent.core.protocols import Policy
from robot_agent.core.types import FloatArray, Observation, Step
from robot_agent.evaluate.trial_runner import Outcome
from robot_agent.sim.robot import SimRobot
from robot_agent.sim.scenes import Scene, task_of

MAX_STEPS = 30
"""Control steps of a trial: 6 s at 5 Hz."""
_HELD_STEPS = 2
"""A success must be seen at the end of this many steps in a row; it then ends the trial."""


@dataclass(frozen=True)
class Trial:
    """What came of one trial."""

    instruction: str
    seed: int
    success: bool
    steps: int
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
    max_steps: int = MAX_STEPS,
    on_step: Callable[[Step], None] | None = None,
    end_at_success: bool = True,
) -> Trial:
    """Run one trial: observe, infer, execute the whole chunk through the guard, again.

    The start state follows from `seed` alone, so that two policies meet the same one. A stop that
    the guard latches ends the trial.
    """
    task = task_of(instruction)
    robot.reset(seed, task, scene)
    policy.reset(instruction, seed)
    steps = held = events = 0
    guard = robot.guard
    while steps < max_steps and held < _HELD_STEPS and not guard.state.latched:
        chunk = policy.act(robot.observe())
        for action in chunk.actions[: max_steps - steps]:
            before = robot.observe() if on_step is not None else None
            sent = robot.execute(action, chunk.weights_version)
            steps += 1
            events += bool(guard.state.changes)
            if on_step is not None and before is not None:
                on_step(_step(robot, before, action, sent, chunk.weights_version))
            held = held + 1 if robot.world.success(task) else 0
            if guard.state.latched or (held >= _HELD_STEPS and end_at_success):
                break
        if not end_at_success:
            held = 0
    reason = ", ".join(guard.state.latched)
    return Trial(instruction, seed, robot.world.success(task), steps, events, reason)


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
