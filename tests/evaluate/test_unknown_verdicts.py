"""A judge that cannot say: an abort on the robot, a trial without a score in simulation."""

import math

from robot_agent.evaluate.judging import ClipJudge
from robot_agent.evaluate.success import JudgeDecision, SimulatorTruth
from robot_agent.evaluate.trial_runner import Job
from robot_agent.sim.scenes import HOME
from tests.learn.episodes import real_episode

JOB = Job(0, "p", HOME, "open the drawer", 1, 30)


def judge_saying(score):
    return ClipJudge("j", 0.5, lambda frames, instruction: score)


def decided(score):
    return JudgeDecision(judge_saying(score), lambda _: real_episode()).decide(JOB, "e", "success")


def test_an_unknown_verdict_is_an_abort_and_no_failure():
    assert decided(math.nan) == ("abort", None)
    assert decided(0.2) == ("failure", 0.2)
    assert decided(0.8) == ("success", 0.8)


def test_in_simulation_the_truth_stands_without_a_score():
    truth = SimulatorTruth(judge_saying(math.nan), lambda _: real_episode())
    assert truth.decide(JOB, "e", "success") == ("success", None)
    assert truth.decide(JOB, "e", "failure") == ("failure", None)
