"""The published loop as it was released: no early end, blocking judge, its surplus thrown away."""

import numpy as np
import pytest
import torch

from robot_agent.learn.bench_learn import LearnBench
from robot_agent.learn.imagine import ImagineConfig, Start
from robot_agent.learn.practice import PracticeConfig
from robot_agent.learn.published_loop import PublishedLoop, PublishedLoopConfig
from robot_agent.models.tiny_policy import TinyPolicy, TinyPolicyConfig
from tests.contracts.worlds import CountingWorld, observations

KNOWN = ("open the drawer", "close the drawer")


class AlternatingJudge:
    """Calls every second rollout of a group a success, from its third picture on."""

    instructions = KNOWN

    def __init__(self, all_alike=False):
        self.all_alike, self.clips, self.looks = all_alike, [], 0

    def _said(self, count):
        return np.ones(count) if self.all_alike else np.arange(count) % 2.0

    def score(self, frames, instructions):
        self.clips.append(frames.shape)
        assert len(set(instructions)) == 1
        return self._said(len(frames))

    def assess(self, first, images, instruction_ids):
        self.looks += 1
        steps = images[:, 0, 0, 1].astype(int)
        return self._said(len(images)) * (steps >= 3), np.linspace(0, 0.5, len(images))


def make_policy(seed=0):
    torch.manual_seed(seed)
    return TinyPolicy(TinyPolicyConfig(bins=8, channels=(8, 8, 8), hidden=32)).eval()


def starts():
    return [Start(o, i % 2) for i, o in enumerate(observations(4))]


def loop_of(judge, policy=None, **settings):
    config = PublishedLoopConfig(**{"prompts": 2, "group": 4, "chunks": 2, **settings})
    world = CountingWorld(strict=False)
    return PublishedLoop(policy or make_policy(), world, judge, starts(), config, seed=0)


def test_every_rollout_runs_to_the_end_and_is_judged_once_on_the_whole_clip():
    judge = AlternatingJudge()
    loop = loop_of(judge)
    loop.run(1e-6)
    assert judge.clips == [(4, 11, 64, 64, 3)] * 2
    assert (loop.rollouts, loop.updates, loop.samples) == (8, 1, 2 * 4 * 2)


def test_chunks_after_the_judge_first_sees_success_are_not_useful():
    loop = loop_of(AlternatingJudge(), chunks=3)
    loop.run(1e-6)
    failing, succeeding = 2 * 2 * 3, 2 * 2 * 1
    assert loop.samples == 2 * 4 * 3
    assert loop.useful == failing + succeeding


def test_groups_of_equal_outcome_make_no_update():
    policy = make_policy()
    before = {k: v.clone() for k, v in policy.state_dict().items()}
    loop = loop_of(AlternatingJudge(all_alike=True), policy)
    loop.run(0.05)
    assert loop.updates == loop.useful == 0
    assert loop.rollouts >= 8
    assert all((before[k] == v).all() for k, v in policy.state_dict().items())


def test_an_update_changes_the_weights_by_one_step():
    policy = make_policy()
    before = {k: v.clone() for k, v in policy.state_dict().items()}
    loop_of(AlternatingJudge(), policy).run(1e-6)
    moved = max(float((before[k] - v).abs().max()) for k, v in policy.state_dict().items())
    assert 0.0 < moved <= 1.1e-4


def test_the_stages_are_timed():
    loop = loop_of(AlternatingJudge())
    loop.run(1e-6)
    assert set(loop.times.shares()) == {"world", "policy", "judge", "update"}
    assert sum(loop.times.shares().values()) == pytest.approx(1.0)
    assert loop.times.calls["judge"] == 8


def test_both_loops_are_measured_from_the_same_weights():
    policy = make_policy()
    before = {k: v.clone() for k, v in policy.state_dict().items()}
    worlds = [CountingWorld(strict=False)] * 2
    bench = LearnBench(policy, worlds, AlternatingJudge(), starts(), 0.2, 0)
    config = PracticeConfig(starts=2, group=2, min_groups=1, imagine=ImagineConfig(chunks=1))
    found = bench.ours(config)
    assert found["useful_samples_per_minute"] > 0.0
    assert found["judge_calls_per_minute"] > 0.0
    assert found["updates_per_minute"] > 0.0
    assert sum(found["stages"].values()) == pytest.approx(1.0)
    assert bench.published(PublishedLoopConfig(prompts=1, group=4, chunks=1))["samples"] > 0
    assert all((before[k] == v).all() for k, v in policy.state_dict().items())
