"""Rollouts in a world that counts: the right action meets the right frame, the finished leave."""

import numpy as np
import pytest
import torch

from robot_agent.learn.imagine import ImagineConfig, Start, imagine
from tests.contracts.worlds import (
    CountingPolicy,
    CountingWorld,
    KnowingJudge,
    counting_action,
    observations,
)

CHUNKS, CHUNK = 3, 5
ENDS = {1: 3, 2: 9, 5: 14}
"""Rollout: frame from which the judge calls success."""


def rolled(ends=ENDS, policy=None, starts=3, group=2, judge=None, **settings):
    world, judge = CountingWorld(), judge or KnowingJudge(ends)
    rollouts = imagine(
        world,
        policy or CountingPolicy(),
        judge,
        [Start(o, i % 2) for i, o in enumerate(observations(starts))],
        ImagineConfig(chunks=CHUNKS, **settings),
        group=group,
        version=4,
        generator=torch.Generator().manual_seed(0),
    )
    return world, rollouts


def test_action_t_is_chosen_for_frame_t():
    world, _ = rolled({})
    for step, actions in enumerate(world.actions):
        wanted = np.tile(counting_action(step), (len(actions), 1))
        assert np.abs(actions[:, 0] - wanted[:, 0]).max() < 1e-9


def test_a_policy_that_is_one_step_late_is_caught():
    class Late(CountingPolicy):
        def forward(self, image_BCHW, instruction_B):
            return super().forward(image_BCHW, instruction_B).roll(1, dims=1)

    with pytest.raises(AssertionError, match="action was chosen for frame"):
        rolled({}, policy=Late())


def test_a_rollout_ends_at_the_second_frame_in_a_row_of_success():
    _, rollouts = rolled()
    assert rollouts.steps_B.tolist() == [15, 4, 10, 15, 15, 15]
    assert rollouts.success_B.tolist() == [0, 1, 1, 0, 0, 1]


def test_the_judge_may_be_shown_the_last_frames_of_each_chunk_only():
    judge = KnowingJudge(ENDS)
    _, rollouts = rolled(judge=judge, judged_frames=2)
    assert {int(count) for _, counts in judge.seen for count in counts} == {4, 5, 9, 10, 14, 15}
    assert rollouts.steps_B.tolist() == [15, 5, 10, 15, 15, 15]
    assert rollouts.success_B.tolist() == [0, 1, 1, 0, 0, 1]


def test_a_success_of_one_frame_is_none():
    _, rollouts = rolled({0: 15})
    assert rollouts.success_B[0] == 0.0


def test_the_mask_covers_the_chunks_that_began():
    _, rollouts = rolled()
    assert rollouts.mask_BN.tolist() == [
        [1, 1, 1],
        [1, 0, 0],
        [1, 1, 0],
        [1, 1, 1],
        [1, 1, 1],
        [1, 1, 1],
    ]


def test_finished_rollouts_leave_the_batch():
    world, _ = rolled()
    assert world.batches == [6] * 5 + [5] * 5 + [4] * 5


def test_imagination_stops_when_every_rollout_is_done():
    world, rollouts = rolled(dict.fromkeys(range(6), 1))
    assert len(world.batches) == CHUNK
    assert rollouts.mask_BN[:, 1:].sum() == 0


def test_reward_is_success_and_half_of_the_best_progress():
    _, rollouts = rolled()
    steps = np.array([15, 5, 10, 15, 15, 15])  # progress is noted to the end of the chunk
    smooth = (steps + steps - 1) / 2 / 100
    assert rollouts.reward_B == pytest.approx(rollouts.success_B + 0.5 * smooth)


def test_each_chunk_keeps_the_picture_it_was_chosen_from():
    _, rollouts = rolled()
    for row, n in torch.nonzero(rollouts.mask_BN).tolist():
        picture = rollouts.images_BNHWC[row, n]
        assert picture[0, 0, :2].tolist() == [row, n * CHUNK]


def test_log_probabilities_are_those_of_the_tokens_drawn():
    _, rollouts = rolled()
    assert rollouts.log_probs_BNKA.abs().max() < 1e-3, "this policy is certain"
    assert rollouts.version == 4
    assert rollouts.group == 2


def test_the_clip_is_the_first_rollout_frame_by_frame():
    _, rollouts = rolled({0: 6})
    assert rollouts.clip[:, 0, 0, 1].tolist() == list(range(11))
    assert (rollouts.clip[:, 0, 0, 0] == 0).all()


def test_groups_stand_together_with_one_instruction_each():
    _, rollouts = rolled()
    assert rollouts.instructions_B.tolist() == [0, 0, 1, 1, 0, 0]
