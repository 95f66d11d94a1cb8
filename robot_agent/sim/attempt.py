"""One scripted episode judged by the rules of its task: how good a demonstrator is."""

from dataclasses import dataclass

import numpy as np

from robot_agent.sim.eggplant_hand import is_held
from robot_agent.sim.play import hand_for
from robot_agent.sim.robot import SimRobot
from robot_agent.sim.scenes import Scene
from robot_agent.sim.tasks import Task, is_inside


@dataclass(frozen=True)
class Attempt:
    """How one episode ended."""

    is_success: bool
    """Judged on the last state of the twin, and on any state at the table, which ends there."""
    first_step: int
    """Step of the first solved state; `max_steps` where there was none."""
    drops: int
    """How often a grasped object was lost before it was where it belongs."""


def attempt(robot: SimRobot, scene: Scene, task: Task, seed: int) -> Attempt:
    """Run the task's demonstrator with a style of its own from the reset of `seed`."""
    rng = np.random.default_rng(seed)
    robot.reset(seed, task.name, scene)
    hand = hand_for(scene.varied(np.random.default_rng(seed)), task, rng)
    first, drops, truth = task.max_steps, 0, robot.world.truth
    for step in range(task.max_steps):
        was_held = bool(task.put_in) and is_held(truth)
        robot.execute(hand.disturb(hand.act(truth), rng))
        truth = robot.world.truth
        drops += was_held and not is_held(truth) and not is_inside(truth, task.put_in)
        if task.is_solved(truth):
            first = min(first, step + 1)
            if task.cell == "table":
                break
    return Attempt(task.is_solved(truth), first, drops)
