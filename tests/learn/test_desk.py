"""The desk: only a candidate that is whole and not worse becomes a release."""

import dataclasses

import numpy as np
import pytest
import torch

from robot_agent.core.errors import BundleRejectedError
from robot_agent.learn.improve import Evidence
from robot_agent.learn.journal import RoundRecord
from robot_agent.models.tiny_policy import TinyPolicy
from robot_agent.models.tiny_team import INSTRUCTIONS
from tests.contracts.worlds import CountingWorld
from tests.learn.episodes import real_episode
from tests.scenarios.slow_loop import LENIENT, make_slow

STRICT = dataclasses.replace(LENIENT, judge_margin=0.1, world_margin=0.1, regression_margin=0.1)


class ForwardJudge:
    """Calls it success when the last action went forward."""

    def __init__(self, world):
        self._world = world

    def assess(self, first, images, instruction_ids):
        return (self._world.actions[-1][:, 0] > 0).astype(float), np.zeros(len(images))


def evidence():
    world = CountingWorld(strict=False)
    judge = ForwardJudge(world)
    return Evidence(
        worlds=[world],
        held_out_world=world,
        judge=judge,
        held_out_judge=judge,
        episodes=[real_episode()],
        instructions=list(INSTRUCTIONS),
    )


def going(policy, direction):
    """Make a policy step forward (+1) or back (-1) whatever it sees."""
    bins = policy.config.bins
    with torch.no_grad():
        bias = policy.tokens.bias.view(5, 7, bins)
        bias[:, 0, :] = 0.0
        if direction > 0:
            bias[:, 0, 3 * bins // 4 :] = 10.0
        else:
            bias[:, 0, : bins // 4] = 10.0
    return policy


@pytest.fixture
def slow(tmp_path):
    made = make_slow(tmp_path, gate=STRICT)
    forward = going(made.team.policy, +1)
    label, checks = made.desk.release(forward, evidence(), record())
    assert label, checks
    assert made.robot.promote(label)[0]
    made.robot.collect(label, [])
    return made


def record():
    return RoundRecord(index=0, version_before="")


def names(checks):
    return [check["name"] for check in checks]


def test_a_candidate_that_is_as_good_becomes_a_release(slow):
    label, checks = slow.desk.release(going(slow.team.policy, +1), evidence(), record())
    assert label
    assert all(check["passed"] for check in checks)
    for name in ("parent", "golden actions", "latency", "held out judge", "regression"):
        assert name in names(checks)


def test_a_worse_candidate_is_refused_by_the_named_check(slow):
    before = slow.desk.current
    label, checks = slow.desk.release(going(slow.team.policy, -1), evidence(), record())
    assert label == ""
    assert names(checks)[-1] == "held out judge"
    assert not checks[-1]["passed"]
    assert str(checks[-1]["value"]).startswith("0.000 against 1.000")
    assert slow.desk.current == before


def test_a_candidate_that_forgets_the_home_scene_is_refused_by_regression(slow):
    given = evidence()
    world = PictureWorld()
    given.worlds, given.held_out_world = [world], world
    given.judge = given.held_out_judge = HomeJudge(world)
    label, checks = slow.desk.release(going(slow.team.policy, -1), given, record())
    assert label == ""
    assert names(checks)[-1] == "regression"


class PictureWorld(CountingWorld):
    """A counting world that shows its start picture for ever."""

    def __init__(self):
        super().__init__(strict=False)

    def reset(self, observations):
        super().reset(observations)
        self._pictures = np.stack([o.image_hwc for o in observations])
        return self._pictures

    def step(self, actions_BA):
        super().step(actions_BA)
        return self._pictures


class HomeJudge(ForwardJudge):
    """Is content with anything outside the home scene."""

    def assess(self, first, images, instruction_ids):
        if (first == real_episode().images[0]).all():
            return np.ones(len(images)), np.zeros(len(images))
        return super().assess(first, images, instruction_ids)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_never_become_a_file(slow, tmp_path, value):
    before = slow.desk.current
    broken = slow.team.policy
    with torch.no_grad():
        broken.stem.weight[0, 0, 0, 0] = value
    written = sorted((tmp_path / "run" / "candidates").iterdir())
    with pytest.raises(BundleRejectedError, match=r"stem\.weight"):
        slow.desk.release(broken, evidence(), record())
    assert slow.desk.current == before
    assert sorted((tmp_path / "run" / "candidates").iterdir()) == written


def test_the_acting_weights_are_restored_bit_for_bit(slow):
    acting = {name: value.clone() for name, value in slow.team.policy.state_dict().items()}
    going(slow.team.policy, -1)
    slow.desk.restore(slow.team.policy)
    found = slow.team.policy.state_dict()
    assert all(torch.equal(found[name], value) for name, value in acting.items())


def test_weights_of_another_architecture_are_not_restored_into(slow):
    from robot_agent.models.tiny_policy import TinyPolicyConfig

    with pytest.raises(BundleRejectedError, match=r"tensors is tokens\.weight, tokens\.bias"):
        slow.desk.restore(TinyPolicy(TinyPolicyConfig(bins=16)))
