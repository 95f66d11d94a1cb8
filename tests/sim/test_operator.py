"""A scripted operator leaves a policy alone that gets on, and finishes what it cannot."""

import numpy as np
import pytest

from robot_agent.core.types import Chunk
from robot_agent.evaluate.trials import run_trial
from robot_agent.sim.operator import OperatorConfig, ScriptedOperator
from robot_agent.sim.robot import SimRobot
from robot_agent.sim.scenes import HOME
from robot_agent.sim.tasks import TABLE, find_task
from tests.sim.test_demonstrator import truth_at

OPEN = "open the drawer"
FAR_M = (0.25, 0.0, 0.2)


class Idle:
    """A policy that holds the arm where it is."""

    version = "idle"

    def reset(self, instruction, seed):
        """Nothing to forget."""

    def act(self, observation):
        actions = np.zeros((5, 7))
        actions[:, 6] = 0.0
        return Chunk(actions, self.version, 1, observation.stamp_ns)


def operator_watching(task="open", **changes):
    operator = ScriptedOperator(OperatorConfig(**changes))
    operator.begin(HOME, find_task("table", task), seed=3)
    return operator


def wants(operator, opening_m):
    return operator.wants(truth_at(FAR_M, opening_m)) is not None


def test_a_policy_that_gets_on_is_left_alone():
    operator = operator_watching(patience=3, progress_m=0.01)
    assert not any(wants(operator, 0.05 + 0.011 * (t // 2)) for t in range(20))
    assert operator.corrected == 0


@pytest.mark.parametrize("task", ["open", "close"])
def test_a_policy_that_is_stuck_is_taken_over_when_patience_ends(task):
    operator = operator_watching(task, patience=4)
    assert [wants(operator, 0.07) for _ in range(6)] == [False] * 4 + [True] * 2
    assert operator.corrected == 1


@pytest.mark.parametrize(("task", "wrong_m"), [("open", 0.04), ("close", 0.10)])
def test_a_drawer_that_goes_the_wrong_way_is_taken_over_at_once(task, wrong_m):
    operator = operator_watching(task, patience=50, setback_m=0.02)
    assert [wants(operator, at) for at in (0.07, wrong_m, wrong_m)] == [False, True, True]


def test_no_more_episodes_are_corrected_than_allowed():
    operator = ScriptedOperator(OperatorConfig(patience=1, corrections=2))
    held = []
    for seed in range(4):
        operator.begin(HOME, TABLE[0], seed)
        held.append([wants(operator, 0.07) for _ in range(3)][-1])
    assert held == [True, True, False, False]
    assert operator.corrected == 2


@pytest.mark.parametrize("task", TABLE, ids=lambda task: task.name)
def test_an_operator_finishes_what_the_policy_cannot_through_the_guard(task):
    robot, steps = SimRobot(HOME), []
    operator = ScriptedOperator(OperatorConfig(patience=3))
    trial = run_trial(
        robot, Idle(), HOME, task.instruction, 11,
        max_steps=45, on_step=steps.append, operator=operator,
    )  # fmt: skip
    robot.world.close()
    assert trial.success
    who = [step.controller for step in steps]
    assert who == ["policy"] * 3 + ["operator"] * (len(steps) - 3)
    assert {step.weights_version for step in steps[:3]} == {"idle"}
    assert {step.weights_version for step in steps[3:]} == {"operator"}
    assert not robot.guard.state.latched
    assert all(np.isfinite(step.sent).all() for step in steps)
