"""Iter-SFT: own successes alone are kept, and each batch is half of them."""

import numpy as np
import torch

from robot_agent.learn.fit import FitConfig
from robot_agent.learn.imagine import ImagineConfig, Start, imagine
from robot_agent.learn.iter_sft import KeptChunks, imitate_both, kept_chunks
from robot_agent.learn.policy_training import PolicyTrainingConfig
from tests.contracts.worlds import CountingPolicy, CountingWorld, KnowingJudge, observations
from tests.learn.episodes import counting_episodes
from tests.learn.test_grpo import make_policy

CONFIG = PolicyTrainingConfig(fit=FitConfig(steps=60, learning_rate=3e-3), batch=8, color=0.0)


def rolled(ends):
    return imagine(
        CountingWorld(),
        CountingPolicy(),
        KnowingJudge(ends),
        [Start(seen, index % 2) for index, seen in enumerate(observations(2))],
        ImagineConfig(chunks=2),
        group=2,
        version=0,
        generator=torch.Generator().manual_seed(0),
    )


def test_only_chunks_of_successes_are_kept_and_only_up_to_their_end():
    rollouts = rolled({1: 2, 2: 8})
    kept = kept_chunks([rollouts], CountingPolicy().bin_centers().float())
    assert len(kept) == 3, "one chunk of the early success, two of the late one"
    assert kept.images_MHWC[:, 0, 0, 0].tolist() == [1, 2, 2]
    assert kept.instructions_M.tolist() == [0, 1, 1]
    assert kept.actions_MKA.shape == (3, 5, 7)
    tokens = rollouts.tokens_BNKA[2, 1]
    assert torch.equal(kept.actions_MKA[2], CountingPolicy().bin_centers().float()[tokens])


def test_an_unknown_rollout_is_not_kept():
    rollouts = rolled({0: 2})
    rollouts.success_B = np.array([np.nan, 0.0, 0.0, 0.0])
    assert len(kept_chunks([rollouts], CountingPolicy().bin_centers().float())) == 0


def demonstrations():
    episodes = counting_episodes(4, 8)
    episodes.labels_NTA = torch.full((4, 8, 7), -0.8)
    episodes.tasks_N = torch.tensor([0, 1, 0, 1])
    return episodes


def likelihood(policy, images_BCHW, ids, value):
    with torch.no_grad():
        logits = policy(images_BCHW, ids).log_softmax(dim=-1)
    token = int((policy.bin_centers() - value).abs().argmin())
    return float(logits[..., token].mean())


def test_both_demonstrations_and_own_successes_are_learned():
    white = torch.full((6, 64, 64, 3), 255, dtype=torch.uint8)
    kept = KeptChunks(white, torch.zeros(6, dtype=torch.long), torch.full((6, 5, 7), 0.8))
    policy = make_policy()
    own, ids = torch.ones(1, 3, 64, 64), torch.zeros(1, dtype=torch.long)
    shown = torch.zeros(1, 3, 64, 64)
    before = likelihood(policy, own, ids, 0.8), likelihood(policy, shown, ids, -0.8)
    imitate_both(policy, demonstrations(), kept, CONFIG, seed=0)
    assert likelihood(policy, own, ids, 0.8) > before[0] + 0.5
    assert likelihood(policy, shown, ids, -0.8) > before[1] + 0.5


def test_without_a_success_there_are_demonstrations_alone():
    none = KeptChunks(torch.zeros(0), torch.zeros(0), torch.zeros(0))
    policy = make_policy()
    assert imitate_both(policy, demonstrations(), none, CONFIG, seed=0)["loss"] > 0.0
