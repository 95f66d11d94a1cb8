"""Corrections: found by who was in control, imitated, and kept apart from what the policy did."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from robot_agent.learn.anchor import Anchor, divergence
from robot_agent.learn.corrections import (
    CorrectionConfig,
    corrections_of,
    imitate,
    is_corrected,
    takeover_starts,
    takeovers,
    without_corrections,
)
from robot_agent.learn.fit import FitConfig
from robot_agent.learn.reality import judged_outcomes, run_by
from robot_agent.models.scaling import scale_actions
from robot_agent.models.tiny_policy import TinyPolicy, TinyPolicyConfig
from tests.learn.episodes import counting_episodes, real_episode

OPEN, CLOSE = KNOWN = ("open the drawer", "close the drawer")
P, H = "policy", "operator"  # H: in the hand of the operator


def episode(*controllers, instruction=OPEN, seed=0):
    made = real_episode("e", len(controllers), instruction=instruction, seed=seed)
    versions = tuple("gamepad" if who == H else "v1" for who in controllers)
    return dataclasses.replace(made, controllers=controllers, weights_versions=versions)


def test_a_takeover_is_where_the_operator_begins():
    assert takeovers(episode(P, P, H, H, P, H)) == [2, 5]
    assert takeovers(episode(H, P)) == [0]
    assert takeovers(episode(P, "none", P)) == []
    assert is_corrected(episode(P, H))
    assert not is_corrected(episode(P, "none"))


def test_without_corrections_an_episode_ends_at_its_first_takeover():
    whole, cut, gone = episode(P, P), episode(P, P, P, H, P), episode(H, P)
    kept = without_corrections([whole, cut, gone])
    assert kept[0] is whole
    assert [e.num_steps for e in kept] == [2, 3]
    assert np.array_equal(kept[1].images, cut.images[:4])
    assert np.array_equal(kept[1].actions, cut.actions[:3])


def test_practice_begins_at_the_takeover_and_shortly_before_for_the_episodes_own_task():
    made = episode(P, P, P, P, H, H, instruction=CLOSE)
    starts = takeover_starts([made, episode(P, H)], KNOWN, [CLOSE], before=3)
    assert [start.instruction_id for start in starts] == [1, 1]
    seen = [start.observation.image_hwc for start in starts]
    assert np.array_equal(seen[0], made.images[1])
    assert np.array_equal(seen[1], made.images[4])


def test_a_takeover_early_in_an_episode_begins_before_it_at_the_first_picture():
    (first, taken) = takeover_starts([episode(P, H)], KNOWN, [OPEN], before=10)
    assert np.array_equal(first.observation.image_hwc, episode(P, H).images[0])
    assert not np.array_equal(taken.observation.image_hwc, first.observation.image_hwc)


def test_only_actions_of_the_operator_inside_the_episode_are_imitated():
    made = episode(P, H, H, P, H, H)
    found = corrections_of([made], KNOWN)
    weights = {
        tuple(image.tolist()): weight.tolist()
        for image, weight in zip(
            (found.images_BCHW[:, :, 0, 0] * 255).round(), found.weights_BK, strict=True
        )
    }
    at = [weights[tuple(made.images[t, 0, 0].astype(float).tolist())] for t in range(6)]
    assert at[1] == [1, 1, 0, 1, 1]
    assert at[2] == [1, 0, 1, 1, 0]
    assert at[5] == [1, 0, 0, 0, 0]
    assert at[0] == [-1, 0, 0, -1, 0]  # two takeovers follow
    assert at[3] == [-1, 0, 0, 0, 0]


def test_what_was_sent_is_imitated_and_what_was_proposed_is_blamed():
    made = dataclasses.replace(episode(P, H), proposed=np.full((2, 7), 0.01))
    found = corrections_of([made], KNOWN)
    assert torch.allclose(found.chunks_BKA[0, 0], scale_actions(made.proposed)[0])
    assert torch.allclose(found.chunks_BKA[1, 0], scale_actions(made.actions)[1])


def test_a_proposal_that_is_no_number_is_not_blamed():
    proposed = np.zeros((3, 7))
    proposed[0, 2] = np.nan
    made = dataclasses.replace(episode(P, P, H), proposed=proposed)
    assert len(corrections_of([made], KNOWN)) == 2


# ---------------------------------------------------------------------------------------- imitate


def make_policy():
    torch.manual_seed(0)
    return TinyPolicy(TinyPolicyConfig(bins=8, channels=(8, 8, 8), hidden=32)).eval()


def config(**changes):
    made = CorrectionConfig(
        fit=FitConfig(steps=30, learning_rate=3e-3, warmup_steps=2),
        batch=8,
        anchor=0.0,
        color=0.0,
        way=1.0,
    )
    return dataclasses.replace(made, **changes)


def likelihood(policy, corrections, rows):
    """Mean log-probability of the nearest tokens of those chunks' first actions."""
    logits = policy(corrections.images_BCHW[rows], corrections.instructions_B[rows])
    centers = policy.bin_centers()
    tokens = (corrections.chunks_BKA[rows].clamp(-1, 1)[..., None] - centers).abs().argmin(-1)
    log_probs = F.log_softmax(logits, -1).gather(-1, tokens[..., None])[..., 0]
    return float(log_probs[:, 0].detach().mean())


def corrected(seed=0):
    made = episode(P, P, P, P, P, H, H, H, H, H, H, H, seed=seed)
    lifted = np.tile([0.0, 0.0, 0.02, 0.0, 0.0, 0.0, 1.0], (12, 1))
    pushed = np.tile([0.02, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], (12, 1))
    return corrections_of([dataclasses.replace(made, actions=lifted, proposed=pushed)], KNOWN)


def test_imitation_makes_the_operators_actions_likely():
    policy, corrections = make_policy(), corrected()
    before = likelihood(policy, corrections, slice(5, None))
    metrics = imitate(policy, corrections, None, config(), seed=0)
    assert likelihood(policy, corrections, slice(5, None)) > before + 0.5
    assert np.isfinite(metrics["loss"])


def test_blame_makes_the_proposals_before_a_takeover_less_likely_than_imitation_alone_does():
    alone, blamed, corrections = make_policy(), make_policy(), corrected()
    imitate(alone, corrections, None, config(), seed=0)
    imitate(blamed, corrections, None, config(blame=1.0), seed=0)
    rows = slice(0, 5)
    assert likelihood(blamed, corrections, rows) < likelihood(alone, corrections, rows) - 0.2


@pytest.mark.parametrize("episodes", [[], [episode(P, P, P)]])
def test_without_corrections_no_bit_of_the_weights_changes(episodes):
    policy = make_policy()
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    assert imitate(policy, corrections_of(episodes, KNOWN), None, config(), seed=0) == {}
    assert all(torch.equal(value, before[name]) for name, value in policy.state_dict().items())


def test_the_same_seed_imitates_to_the_same_weights():
    policies = [make_policy(), make_policy()]
    for policy in policies:
        imitate(policy, corrected(), None, config(color=0.2), seed=3)
    first, second = (policy.state_dict() for policy in policies)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_weights_end_part_of_the_way_from_those_before():
    before, whole, part = make_policy(), make_policy(), make_policy()
    imitate(whole, corrected(), None, config(way=1.0), seed=3)
    imitate(part, corrected(), None, config(way=0.25), seed=3)
    for old, end, found in zip(
        before.parameters(), whole.parameters(), part.parameters(), strict=True
    ):
        assert torch.allclose(found, old + 0.25 * (end - old), atol=1e-6)
    assert not all(map(torch.equal, before.parameters(), part.parameters()))


def test_an_anchor_keeps_imitation_close_to_the_weights_before_on_old_scenes():
    moved = []
    for weight in (0.0, 30.0):
        policy = make_policy()
        anchor = Anchor(policy, counting_episodes(), batch=16)
        imitate(policy, corrected(), anchor, config(anchor=weight), seed=0)
        found = anchor.on_old_scenes(policy, torch.Generator().manual_seed(1))
        moved.append(float(found.detach()))
    assert moved[1] < 0.5 * moved[0]


def test_the_divergence_equals_a_slow_loop_and_is_zero_between_equals():
    rng = np.random.default_rng(0)
    base, other = rng.normal(size=(2, 2, 5, 7, 8))
    total = 0.0
    for one, two in zip(base.reshape(-1, 8), other.reshape(-1, 8), strict=True):
        p, q = np.exp(one) / np.exp(one).sum(), np.exp(two) / np.exp(two).sum()
        total += (p * np.log(p / q)).sum()
    a, b = (torch.log_softmax(torch.from_numpy(x), -1) for x in (base, other))
    assert float(divergence(a, b)) == pytest.approx(total / 70, abs=1e-9)
    assert float(divergence(a, a)) == 0.0


# ---------------------------------------------------------------------------------------- reality


class YesJudge:
    def score(self, frames, instructions):
        return np.array([1.0])


def test_a_takeover_is_a_failure_of_the_weights_however_the_episode_ended():
    assert judged_outcomes(YesJudge(), [episode(P, P), episode(P, H)], 0.2) == [True, False]


def test_an_episode_belongs_to_the_weights_that_ran_it_until_the_takeover():
    made = episode(P, H)
    assert run_by("v1", [made], [False]) == ([made], [False])
    assert run_by("gamepad", [made], [False]) == ([], [])
