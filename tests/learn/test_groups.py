"""Groups that teach wait for enough of them; what is beyond an update is kept, not too long."""

import dataclasses

import numpy as np

from robot_agent.learn.groups import WaitingGroups, mixed_groups
from robot_agent.learn.rollouts import Rollouts, merge, take_groups, tensors_of
from tests.learn.test_grpo import bandit_rollouts, make_policy

GROUP = 8


def batch(rewards, version=0):
    """Four groups whose members have these rewards on top of the same ladder, or all equal."""
    rollouts = bandit_rollouts(make_policy(), seed=0, version=version)
    ladder = np.arange(GROUP) / GROUP
    reward = np.concatenate([np.full(GROUP, 1.0) if r is None else r + ladder for r in rewards])
    return dataclasses.replace(rollouts, reward_B=reward)


def first_rewards(rollouts):
    return rollouts.reward_B[::GROUP].tolist()


def waiting(**changes):
    return WaitingGroups(**{"least": 1, "most": 100, "max_staleness": 1, **changes})


def test_groups_of_equal_reward_are_left_out():
    groups = waiting()
    groups.add(batch([1, None, 3, None]))
    assert first_rewards(groups.take(0)) == [1, 3]
    assert mixed_groups(batch([None] * 4)) == []


def test_too_few_groups_wait_for_the_next_iteration():
    groups = waiting(least=4)
    groups.add(batch([1, None, 3, None]))
    assert groups.take(0) is None
    groups.add(batch([None, 6, None, 8]))
    assert first_rewards(groups.take(0)) == [1, 3, 6, 8]
    assert groups.take(0) is None


def test_what_is_beyond_an_update_is_kept_for_the_next():
    groups = waiting(most=3)
    groups.add(batch([1, 2, 3, 4]))
    assert first_rewards(groups.take(0)) == [1, 2, 3]
    groups.add(batch([5, 6, 7, 8], version=1))
    second = groups.take(1)
    assert first_rewards(second) == [4, 5, 6]
    assert second.version == 0, "the oldest counts"
    assert groups.dropped == 0


def test_a_group_that_waited_too_long_is_dropped_and_counted():
    groups = waiting(least=5)
    groups.add(batch([1, 2, 3, 4]))
    assert groups.take(0) is None
    groups.add(batch([5, 6, 7, 8], version=2))
    assert groups.take(2) is None
    assert groups.dropped == 4
    groups.add(batch([9, None, None, None], version=2))
    assert first_rewards(groups.take(2)) == [5, 6, 7, 8, 9]


def test_rollouts_that_members_disagree_on_make_no_group():
    rollouts = dataclasses.replace(batch([1, 2, 3, 4]), kept_B=np.arange(32) < 9)
    assert mixed_groups(rollouts) == [0], "one rollout alone has nothing to be compared with"


def test_taken_groups_keep_every_row_of_theirs():
    rollouts = bandit_rollouts(make_policy(), seed=0)
    taken = take_groups(rollouts, [2, 0])
    rows = [*range(16, 24), *range(8)]
    assert np.array_equal(taken.tokens_BNKA.numpy(), rollouts.tokens_BNKA.numpy()[rows])
    assert np.array_equal(taken.steps_B, rollouts.steps_B[rows])
    whole = merge([take_groups(rollouts, [0, 1]), take_groups(rollouts, [2, 3])])
    assert np.array_equal(whole.log_probs_BNKA.numpy(), rollouts.log_probs_BNKA.numpy())


def test_rollouts_come_back_from_tensors_as_they_were():
    rollouts = dataclasses.replace(bandit_rollouts(make_policy(), 0), kept_B=np.ones(32, bool))
    again = Rollouts.from_tensors(tensors_of(rollouts), rollouts.group, rollouts.version)
    for name, value in vars(rollouts).items():
        assert np.array_equal(np.asarray(getattr(again, name)), np.asarray(value)), name
