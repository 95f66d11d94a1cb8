"""Group-relative updates: equal to slow numpy, refusing what is stale, finding the best action."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_agent.core.errors import TrainingDivergedError
from robot_agent.learn.grpo import (
    GrpoConfig,
    TinyPolicyLearner,
    clipped_loss,
    clipped_share,
    group_advantages,
    token_entropy,
)
from robot_agent.learn.imagine import ImagineConfig, Start, imagine
from robot_agent.models.tiny_policy import TinyPolicy, TinyPolicyConfig, token_log_probs
from tests.contracts.worlds import CountingWorld, observations

REWARDS = st.lists(st.floats(0, 1.5, width=32), min_size=12, max_size=12)


def slow_advantages(rewards, group):
    found = []
    for begin in range(0, len(rewards), group):
        members = [float(r) for r in rewards[begin : begin + group]]
        mean = sum(members) / group
        spread = (sum((r - mean) ** 2 for r in members) / (group - 1)) ** 0.5
        for r in members:
            found.append((r - mean) / (spread + 1e-6) if spread > 1e-4 else 0.0)
    return np.array(found)


@given(REWARDS, st.sampled_from([2, 3, 4, 6]))
@settings(deadline=None)
def test_advantages_equal_a_slow_loop(rewards, group):
    found = group_advantages(np.array(rewards), group)
    assert found == pytest.approx(slow_advantages(rewards, group), abs=1e-6)


@given(st.floats(0, 1.5), st.sampled_from([1, 2, 4]))
def test_equal_rewards_have_no_advantage(reward, group):
    assert not group_advantages(np.full(8, reward), group).any()


@given(REWARDS)
@settings(deadline=None)
def test_a_constant_added_to_a_group_changes_nothing(rewards):
    moved = np.array(rewards)
    moved[:4] += 0.25
    found = group_advantages(np.array(rewards), 4), group_advantages(moved, 4)
    spread = np.array(rewards[:4]).std(ddof=1)
    if abs(spread - 1e-4) > 1e-6:
        assert found[0] == pytest.approx(found[1], abs=1e-4)


def slow_clipped_loss(new, old, advantage, low, high):
    total = 0.0
    for n, o, a in zip(new.ravel(), old.ravel(), advantage.ravel(), strict=True):
        ratio = np.exp(n - o)
        bounded = min(max(ratio, 1 - low), 1 + high)
        total += min(ratio * a, bounded * a)
    return -total / new.size


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_the_clipped_loss_equals_a_slow_loop(seed):
    rng = np.random.default_rng(seed)
    new, old = rng.normal(-3, 0.5, (2, 4, 5, 7))
    advantage = rng.normal(size=(4, 1, 1))
    config = GrpoConfig()
    found = clipped_loss(*(torch.from_numpy(x) for x in (new, old, advantage)), config)
    spread = np.broadcast_to(advantage, new.shape)
    wanted = slow_clipped_loss(new, old, spread, config.clip_low, config.clip_high)
    assert float(found) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize(("advantage", "ratio"), [(1.0, 1.4), (-1.0, 0.7)])
def test_beyond_the_clip_there_is_no_gradient(advantage, ratio):
    new = torch.full((1, 5, 7), float(np.log(ratio)), requires_grad=True)
    clipped_loss(
        new, torch.zeros(1, 5, 7), torch.full((1, 1, 1), advantage), GrpoConfig()
    ).backward()
    assert new.grad.abs().max() == 0.0


# ---------------------------------------------------------------------------------------- learner


class BanditJudge:
    """Progress is the sign of the action before a picture: a bandit with a known best arm."""

    def __init__(self, world):
        self._world = world

    def assess(self, first, images, instruction_ids):
        step = int(images[0, 0, 0, 1])  # the world may have gone on since
        good = (self._world.actions[step - 1][:, 0] > 0.0).astype(float)
        return np.zeros(len(images)), good


def make_policy(seed=0):
    torch.manual_seed(seed)
    return TinyPolicy(TinyPolicyConfig(bins=8, channels=(8, 8, 8), hidden=32)).eval()


def bandit_rollouts(policy, seed, version=0, chunks=1):
    world = CountingWorld(strict=False)
    return imagine(
        world,
        policy,
        BanditJudge(world),
        [Start(o, i % 2) for i, o in enumerate(observations(4))],
        ImagineConfig(chunks=chunks),
        group=8,
        version=version,
        generator=torch.Generator().manual_seed(seed),
    )


def snapshot_of(policy):
    return {name: value.clone() for name, value in policy.state_dict().items()}


def is_unchanged(policy, before):
    return all(torch.equal(value, before[name]) for name, value in policy.state_dict().items())


def test_equal_rewards_change_no_bit_of_the_weights():
    policy = make_policy()
    learner = TinyPolicyLearner(policy, GrpoConfig(), 1.0)
    rollouts = dataclasses.replace(bandit_rollouts(policy, 0), reward_B=np.full(32, 0.7))
    before = snapshot_of(policy)
    metrics = learner.update(rollouts, torch.Generator())
    assert is_unchanged(policy, before)
    assert metrics["useful_chunks"] == 0
    assert learner.version == 0


def test_rollouts_that_are_too_old_are_refused():
    policy = make_policy()
    learner = TinyPolicyLearner(policy, GrpoConfig(max_staleness=1), 1.0)
    learner.version = 5
    rollouts = bandit_rollouts(policy, 0, version=3)
    before = snapshot_of(policy)
    with pytest.raises(ValueError, match="rollouts of version 3 are older than 5 by more than 1"):
        learner.update(rollouts, torch.Generator())
    assert is_unchanged(policy, before)
    learner.update(dataclasses.replace(rollouts, version=4), torch.Generator())
    assert learner.version == 6


def test_a_reward_that_is_nan_raises_and_leaves_the_weights():
    policy = make_policy()
    learner = TinyPolicyLearner(policy, GrpoConfig(), 1.0)
    rewards = np.linspace(0, 1, 32)
    rewards[5] = np.nan
    rollouts = dataclasses.replace(bandit_rollouts(policy, 0), reward_B=rewards)
    before = snapshot_of(policy)
    with pytest.raises(TrainingDivergedError, match="1 of 32 rewards are not finite, must all be"):
        learner.update(rollouts, torch.Generator())
    assert is_unchanged(policy, before)


def test_a_gradient_that_is_nan_raises_and_leaves_the_weights():
    policy = make_policy()
    learner = TinyPolicyLearner(policy, GrpoConfig(), 1.0)
    rollouts = bandit_rollouts(policy, 0)
    rollouts.log_probs_BNKA[:] = torch.nan
    before = snapshot_of(policy)
    with pytest.raises(TrainingDivergedError, match="gradient norm is nan, must be finite"):
        learner.update(rollouts, torch.Generator())
    assert is_unchanged(policy, before)


def test_a_few_updates_find_the_known_best_action():
    policy = make_policy()
    learner = TinyPolicyLearner(policy, GrpoConfig(learning_rate=3e-3, minibatch=16), 1.0)
    generator = torch.Generator().manual_seed(1)

    def share_of_good(seed):
        rollouts = bandit_rollouts(policy, seed, chunks=2)
        centers = policy.bin_centers()
        return float((centers[rollouts.tokens_BNKA[..., 0]] > 0.01).float().mean())

    before = share_of_good(100)
    for update in range(12):
        rollouts = bandit_rollouts(policy, update, version=learner.version, chunks=2)
        centers = policy.bin_centers()
        good = (centers[rollouts.tokens_BNKA[..., 0]] > 0.01).float().mean(dim=(1, 2))
        rollouts = dataclasses.replace(rollouts, reward_B=good.double().numpy())
        learner.update(rollouts, generator)
    after = share_of_good(100)
    assert before < 0.65
    assert after > before + 0.25, f"{before:.2f} before, {after:.2f} after"


def test_chunks_after_the_end_of_a_rollout_teach_nothing():
    updated = []
    for noise in (0, 1):
        policy = make_policy()
        rollouts = bandit_rollouts(policy, 0, chunks=2)
        rollouts.mask_BN[:, 1] = 0.0
        rollouts.reward_B = np.tile(np.arange(8.0), 4)
        rollouts.tokens_BNKA[:, 1] = noise
        TinyPolicyLearner(policy, GrpoConfig(epochs=1), 1.0).update(
            rollouts, torch.Generator().manual_seed(0)
        )
        updated.append(policy)
    assert is_unchanged(updated[0], snapshot_of(updated[1]))


# ------------------------------------------------------------------------------- the whole update


def slow_gradient(logits, tokens, old, advantage, config):
    """Gradient of the clipped loss by the logits at temperature 1, by hand."""
    gradient, count = np.zeros_like(logits), tokens.size
    for place in np.ndindex(tokens.shape):
        row = logits[place]
        probability = np.exp(row - row.max()) / np.exp(row - row.max()).sum()
        token, a = tokens[place], advantage[place[0]]
        ratio = np.exp(np.log(probability[token]) - old[place])
        bounded = min(max(ratio, 1 - config.clip_low), 1 + config.clip_high)
        if ratio * a <= bounded * a:
            chosen = np.arange(len(row)) == token
            gradient[place] = -a * ratio * (chosen - probability) / count
    return gradient


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_the_gradient_of_an_update_equals_slow_numpy(seed):
    rng, config = np.random.default_rng(seed), GrpoConfig()
    logits = rng.normal(size=(3, 5, 7, 6))
    tokens, advantage = rng.integers(0, 6, (3, 5, 7)), rng.normal(size=3)
    old = np.log(1 / 6) + rng.normal(0, 0.4, (3, 5, 7))
    given_logits = torch.from_numpy(logits).requires_grad_()
    log_probs = token_log_probs(given_logits.double(), torch.from_numpy(tokens), 1.0)
    clipped_loss(
        log_probs, torch.from_numpy(old), torch.from_numpy(advantage)[:, None, None], config
    ).backward()
    wanted = slow_gradient(logits, tokens, old, advantage, config)
    assert given_logits.grad.numpy() == pytest.approx(wanted, abs=1e-6)


def test_several_minibatches_move_the_ratio_so_that_the_clip_acts():
    shares = {}
    for minibatch in (1_000, 8):
        policy = make_policy()
        config = GrpoConfig(learning_rate=1e-2, minibatch=minibatch, epochs=1)
        rollouts = bandit_rollouts(policy, 0)
        found = TinyPolicyLearner(policy, config, 1.0).update(rollouts, torch.Generator())
        shares[minibatch] = found["clipped"]
    assert shares[1_000] == 0.0, "one step a batch: the ratio is one"
    assert shares[8] > 0.0


def test_the_share_of_clipped_tokens_counts_the_side_that_acts():
    ratio = torch.tensor([1.4, 1.1, 0.7]).log()[:, None, None].expand(3, 5, 7)
    zeros = torch.zeros(3, 5, 7)
    gained, lost = torch.ones(3), -torch.ones(3)
    assert clipped_share(ratio, zeros, gained, GrpoConfig()) == pytest.approx(1 / 3)
    assert clipped_share(ratio, zeros, lost, GrpoConfig()) == pytest.approx(1 / 3)
    assert clipped_share(ratio[:1], zeros[:1], lost[:1], GrpoConfig()) == 0.0


@pytest.mark.parametrize(("warmup", "share"), [(0, 1.0), (3, 0.25)])
def test_warm_up_gives_the_first_update_a_share_and_never_nothing(warmup, share):
    policy = make_policy()
    learner = TinyPolicyLearner(policy, GrpoConfig(warmup_updates=warmup), 1.0)
    before = snapshot_of(policy)
    learner.update(bandit_rollouts(policy, 0), torch.Generator())
    (group,) = learner.optimizer.param_groups
    assert group["lr"] == pytest.approx(share * GrpoConfig().learning_rate)
    assert not is_unchanged(policy, before)


def test_an_entropy_bonus_keeps_the_tokens_spread():
    left = []
    for bonus in (0.0, 5.0):
        policy = make_policy()
        config = GrpoConfig(learning_rate=3e-3, minibatch=16, entropy=bonus)
        learner = TinyPolicyLearner(policy, config, 1.0)
        for seed in range(6):
            rollouts = bandit_rollouts(policy, seed, version=learner.version)
            learner.update(rollouts, torch.Generator().manual_seed(seed))
        logits = policy(torch.rand(4, 3, 64, 64), torch.zeros(4, dtype=torch.long))
        left.append(float(token_entropy(logits, 1.0).detach()))
    assert left[1] > left[0]
    uniform = token_entropy(torch.zeros(1, 5, 7, 8), 1.0)
    assert float(uniform) == pytest.approx(np.log(8))


def test_rollouts_that_are_not_kept_are_compared_with_nobody():
    reward = np.array([1.0, 2.0, 3.0, 100.0, 5.0, 5.0, 5.0, 7.0])
    kept = np.array([True, True, True, False, True, True, True, False])
    found = group_advantages(reward, 4, kept_B=kept)
    assert found[:3] == pytest.approx(slow_advantages([1.0, 2.0, 3.0], 3), abs=1e-6)
    assert found[3:].tolist() == [0.0] * 5


def test_an_update_that_diverges_in_a_late_minibatch_gives_back_the_weights_of_before():
    policy = make_policy()
    learner = TinyPolicyLearner(policy, GrpoConfig(minibatch=8, learning_rate=1e-2), 1.0)
    rollouts = bandit_rollouts(policy, 0)
    useful = np.flatnonzero(np.abs(group_advantages(rollouts.reward_B, 8)) > 0)
    rollouts.log_probs_BNKA[useful[-1]] = torch.nan
    before = snapshot_of(policy)
    with pytest.raises(TrainingDivergedError, match="as before this update"):
        learner.update(rollouts, torch.Generator().manual_seed(0))
    assert is_unchanged(policy, before)
    assert learner.version == 0
