"""Rollouts that the judge cannot judge: in no group, no rate, and never a failure."""

import numpy as np
import pytest
import torch

from robot_agent.learn.grpo import GrpoConfig, TinyPolicyLearner, group_advantages
from robot_agent.learn.imagine import ImagineConfig, Start, imagine
from robot_agent.learn.practice import imagined_success
from robot_agent.models.tiny_policy import TinyPolicy, TinyPolicyConfig
from tests.contracts.worlds import CountingWorld, observations


class PartlySilentJudge:
    """Cannot say anything of some rollouts; of the others the second step is a success."""

    def __init__(self, silent):
        self.silent, self.asked = np.array(silent), 0

    def assess(self, first, images, instruction_ids):
        self.asked += 1
        success = np.full(len(images), float(self.asked >= 2))
        if len(images) == len(self.silent):
            success[self.silent] = np.nan
        progress = np.where(np.isnan(success), np.nan, 0.25)
        return success, progress


def make_policy(seed=0):
    torch.manual_seed(seed)
    return TinyPolicy(TinyPolicyConfig(bins=8, channels=(8, 8, 8), hidden=32)).eval()


def rollouts(judge, policy=None, *, starts=2, group=2):
    return imagine(
        CountingWorld(strict=False),
        policy or make_policy(),
        judge,
        [Start(o, i % 2) for i, o in enumerate(observations(starts))],
        ImagineConfig(chunks=1),
        group=group,
        version=0,
        generator=torch.Generator().manual_seed(0),
    )


def test_an_unknown_rollout_is_marked_and_has_no_reward():
    found = rollouts(PartlySilentJudge([False, True, False, False]))
    assert found.kept_B.tolist() == [True, False, True, True]
    assert np.array_equal(found.success_B, [1.0, np.nan, 1.0, 1.0], equal_nan=True)
    assert np.isfinite(found.reward_B).all()


def test_unknown_rewards_are_in_no_mean_and_have_no_advantage():
    reward = np.array([1.0, 0.0, 0.0, 0.5, 1.0, 0.25])
    known = np.array([True, True, False, True, False, False])
    found = group_advantages(reward, 3, kept_B=known)
    alone = group_advantages(reward[:2], 2)
    assert found[:2] == pytest.approx(alone)
    assert found[2:].tolist() == [0.0] * 4
    assert found[0] > 0.0 > found[1]


def test_a_group_of_equal_known_rewards_says_nothing_whatever_is_unknown():
    known = np.array([True, True, False])
    assert not group_advantages(np.array([1.0, 1.0, 0.0]), 3, kept_B=known).any()


def test_a_judge_that_never_knows_changes_no_weight_and_says_so():
    policy = make_policy()
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    learner = TinyPolicyLearner(policy, GrpoConfig(), 1.0)
    found = rollouts(PartlySilentJudge([True] * 4), policy)
    found.reward_B[:] = [1.0, 0.0, 1.0, 0.0]  # a number that leaked would count
    metrics = learner.update(found, torch.Generator())
    assert metrics["unknown"] == 1.0
    assert metrics["useful_chunks"] == 0.0
    assert learner.version == 0
    assert all((before[name] == value).all() for name, value in policy.state_dict().items())


def test_the_metrics_are_of_what_is_known():
    found = rollouts(PartlySilentJudge([False, True, True, False]))
    metrics = TinyPolicyLearner(make_policy(), GrpoConfig(), 1.0).update(found, torch.Generator())
    assert metrics["success"] == 1.0
    assert metrics["unknown"] == 0.5


def test_imagined_success_counts_known_rollouts_only():
    def rates(silent):
        return imagined_success(
            make_policy(),
            CountingWorld(strict=False),
            PartlySilentJudge(silent),
            [Start(o, i % 2) for i, o in enumerate(observations(2))],
            ImagineConfig(chunks=1),
            seed=0,
            repeats=2,
        )

    assert rates([False, True, False, False]) == {0: (1.0, 1), 1: (1.0, 2)}
    assert rates([True, True, False, False]) == {1: (1.0, 2)}
