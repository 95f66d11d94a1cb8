"""Judges beside the rollouts: the serial order's verdicts, nobody waits, nobody is kept."""

import threading

import numpy as np
import pytest
import torch

from robot_agent.core.daemon_pool import DaemonPool
from robot_agent.core.errors import ConfigError
from robot_agent.learn.grpo import GrpoConfig
from robot_agent.learn.imagine import ImagineConfig, Start, imagine
from robot_agent.learn.judging import Attended, Beside, ClipReward
from robot_agent.learn.practice import Burst, PracticeConfig
from robot_agent.learn.rollouts import tensors_of
from robot_agent.models.vlm_judge import VlmJudge, VlmJudgeConfig
from robot_agent.models.vlm_server import VlmServer, VlmServerConfig
from tests.contracts.worlds import CountingPolicy, CountingWorld, KnowingJudge, observations
from tests.learn.test_grpo import is_unchanged, make_policy, snapshot_of
from tests.models.vlm_stub_server import completion, hangs, serving

TASKS = ("open the drawer", "close the drawer")
CONFIG = PracticeConfig(
    iterations=2,
    starts=2,
    group=4,
    min_groups=1,
    max_groups=2,
    imagine=ImagineConfig(chunks=1),
    grpo=GrpoConfig(epochs=1, minibatch=8, learning_rate=1e-3),
)


def starts(count=3):
    return [Start(seen, index % 2) for index, seen in enumerate(observations(count))]


def rolled(judge):
    return imagine(
        CountingWorld(),
        CountingPolicy(),
        judge,
        starts(),
        ImagineConfig(chunks=3),
        group=2,
        version=0,
        generator=torch.Generator().manual_seed(0),
    )


def never():
    return False


def test_a_judge_beside_the_rollouts_says_what_it_says_in_the_serial_order():
    ends = {1: 3, 2: 9, 5: 14}
    serial = tensors_of(rolled(KnowingJudge(ends)))
    with DaemonPool(1, "judge") as pool:
        beside = tensors_of(rolled(Attended(KnowingJudge(ends), Beside(pool, never))))
    assert serial.keys() == beside.keys()
    assert all(torch.equal(serial[name], beside[name]) for name in serial)


class LateJudge(KnowingJudge):
    """Answers only when the world has gone on to the next picture."""

    def __init__(self, world):
        super().__init__({})
        self._world, self.waited = world, []

    def assess(self, first, images, instruction_ids):
        if int(images[0, 0, 0, 1]) == 1:
            self.waited.append(self._world.has_gone_on.wait(5))
        return super().assess(first, images, instruction_ids)


class TellingWorld(CountingWorld):
    def __init__(self):
        super().__init__(strict=False)
        self.has_gone_on = threading.Event()

    def step(self, actions_BA):
        if self.actions:
            self.has_gone_on.set()
        return super().step(actions_BA)


def test_the_world_goes_on_while_the_judge_looks():
    world = TellingWorld()
    judge = LateJudge(world)
    Burst(make_policy(), [world], judge, starts(), CONFIG, seed=0).run()
    assert judge.waited[0], "the judge was waited for before the next picture"


class Broken:
    def assess(self, first, images, instruction_ids):
        raise TimeoutError("the judge's own fault")


def test_a_fault_of_the_judge_ends_the_burst_with_whole_weights():
    policy = make_policy()
    before = snapshot_of(policy)
    with pytest.raises(TimeoutError, match="the judge's own fault"):
        Burst(policy, [CountingWorld(strict=False)], Broken(), starts(), CONFIG, seed=0).run()
    assert is_unchanged(policy, before)


class Hanging:
    def __init__(self):
        self.asked, self.may_answer = threading.Event(), threading.Event()

    def assess(self, first, images, instruction_ids):
        self.asked.set()
        self.may_answer.wait(30)
        return np.zeros(len(images)), np.zeros(len(images))


def test_a_judge_that_does_not_answer_is_left_behind_when_the_time_is_over():
    policy, judge = make_policy(), Hanging()
    before = snapshot_of(policy)
    burst = Burst(policy, [CountingWorld(strict=False)], judge, starts(), CONFIG, seed=0)
    result = burst.run(is_over=judge.asked.is_set)
    assert "time is used up" in result.stopped
    assert not judge.may_answer.is_set(), "nobody waited for its answer"
    assert is_unchanged(policy, before)
    judge.may_answer.set()


class Scores:
    """A judge of clips that gives the scores it is told, group by group."""

    def __init__(self, scores):
        self.scores, self.seen = scores, []

    def score(self, frames, instructions):
        self.seen.append((frames, list(instructions)))
        return np.array(self.scores[: len(frames)], float)


def test_a_judge_of_clips_sees_whole_rollouts_one_group_at_a_time():
    judge = Scores([1.0, 0.0, 0.5, np.nan])
    world = CountingWorld(strict=False)
    reward = ClipReward(judge, TASKS)
    burst = Burst(make_policy(), [world], reward, starts(2), CONFIG, seed=0)
    curve = burst.run().curve
    assert len(judge.seen) == 4, "two groups in each of two iterations"
    frames, instructions = judge.seen[0]
    assert frames.shape == (4, 6, 64, 64, 3)
    assert frames[0, :, 0, 0, 1].tolist() == [0, 1, 2, 3, 4, 5], "not every picture in its order"
    assert len(set(instructions)) == 1
    assert curve[0]["success"] == pytest.approx(1 / 3), "unknown is in no rate"
    assert curve[0]["unknown"] == pytest.approx(1 / 4)
    assert "loss" in curve[0]


def test_what_a_judge_of_clips_cannot_say_is_no_failure():
    rollouts = rolled(None)
    assert np.isnan(rollouts.success_B).all()
    assert not rollouts.kept_B.any()
    judged = ClipReward(Scores([1.0, np.nan, 0.0, 0.6, 1.0, 1.0]), TASKS).judged(rollouts, 0.5)
    assert np.array_equal(judged.success_B, [1, np.nan, 0, 1, 1, 1], equal_nan=True)
    assert judged.kept_B.tolist() == [True, False, True, True, True, True]
    assert judged.reward_B == pytest.approx([1.5, 0.0, 0.0, 1.3, 1.5, 1.5])
    assert judged.clips_BTHWC is None


def vlm(url, **settings):
    config = VlmJudgeConfig(votes=1, frames=2, attempts=1, **settings)
    return VlmJudge(VlmServer(VlmServerConfig(url=url, model="judge-2026-01-01")), config)


YES, NO = completion("Verdict: yes"), completion("Verdict: no")


def test_a_policy_practises_by_a_vision_language_model_behind_a_server():
    with serving(*([YES, NO, NO, YES] * 4)) as server:
        policy = make_policy()
        before = snapshot_of(policy)
        reward = ClipReward(vlm(server.url, parallel=1), TASKS)
        burst = Burst(policy, [CountingWorld(strict=False)], reward, starts(2), CONFIG, seed=0)
        result = burst.run()
    assert result.stopped == ""
    assert len(server.asked) >= 8
    assert any("loss" in row for row in result.curve)
    assert not is_unchanged(policy, before)


def test_a_server_that_is_out_teaches_nothing_and_is_no_failure():
    with serving((500, {}, b"")) as server:
        policy = make_policy()
        before = snapshot_of(policy)
        reward = ClipReward(vlm(server.url), TASKS)
        burst = Burst(policy, [CountingWorld(strict=False)], reward, starts(2), CONFIG, seed=0)
        curve = burst.run().curve
    assert [row["unknown"] for row in curve] == [1.0, 1.0]
    assert is_unchanged(policy, before)


def test_a_spent_budget_ends_the_burst_and_says_so():
    with serving(YES) as server:
        reward = ClipReward(vlm(server.url, max_calls=3, parallel=1), TASKS)
        burst = Burst(
            make_policy(), [CountingWorld(strict=False)], reward, starts(2), CONFIG, seed=0
        )
        result = burst.run()
    assert "3 calls are used, limit 3" in result.stopped
    assert len(result.curve) == 1
    assert len(server.asked) <= 3


def test_a_server_that_hangs_is_left_behind_when_the_time_is_over():
    with serving(hangs) as server:
        reward = ClipReward(vlm(server.url), TASKS)
        burst = Burst(
            make_policy(), [CountingWorld(strict=False)], reward, starts(2), CONFIG, seed=0
        )
        result = burst.run(is_over=lambda: bool(server.asked))
        assert "time is used up" in result.stopped
        assert not server.is_over.is_set()


def test_disagreement_of_members_needs_a_judge_of_frames():
    config = PracticeConfig(max_disagreement=0.5)
    worlds = [CountingWorld(), CountingWorld()]
    with pytest.raises(ConfigError, match="needs a judge of frames, the reward judges clips"):
        Burst(make_policy(), worlds, ClipReward(Scores([]), TASKS), starts(), config, seed=0)
