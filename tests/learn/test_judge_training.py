"""Judge training: both pictures of a pair are changed alike, and outcomes follow the opening."""

import torch

from robot_agent.learn.judge_training import (
    JudgeBatch,
    JudgeTrainingConfig,
    augmented,
    outcomes,
    success_loss,
)


def pairs(count=4):
    images = torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    return JudgeBatch(images, images.clone(), torch.zeros(count))


def test_both_pictures_of_a_pair_are_changed_alike_and_pairs_differently():
    config = JudgeTrainingConfig(color=0.3, shift_px=3)
    first, image = augmented(pairs(), config, torch.Generator().manual_seed(1))
    assert first.shape == (4, 3, 64, 64)
    assert torch.equal(first, image)
    assert not torch.equal(first, pairs().first_BCHW)


def test_without_augmentation_nothing_changes():
    config = JudgeTrainingConfig(brightness=0.0)
    first, _ = augmented(pairs(), config, torch.Generator())
    assert torch.equal(first, pairs().first_BCHW)


def test_a_shift_moves_pictures_by_no_more_than_its_limit():
    config = JudgeTrainingConfig(brightness=0.0, shift_px=2)
    whole = pairs().first_BCHW
    seen = set()
    for seed in range(30):
        first, _ = augmented(pairs(), config, torch.Generator().manual_seed(seed))
        found = [
            (dy, dx)
            for dy in range(-2, 3)
            for dx in range(-2, 3)
            if torch.equal(first[..., 2:62, 2:62], whole[..., 2 + dy : 62 + dy, 2 + dx : 62 + dx])
        ]
        assert len(found) == 1
        seen.add(found[0])
    assert len(seen) > 5


def test_outcomes_follow_the_opening():
    found = outcomes(torch.tensor([0.0, 0.125, 0.5, 0.875, 1.0]), JudgeTrainingConfig())
    assert found.tolist() == [[0, 1], [0, 1], [0, 0], [1, 0], [1, 0]]


def test_what_belongs_to_another_place_teaches_nothing():
    nan = float("nan")
    known = torch.tensor([[1.0, nan, 0.0], [nan, 0.0, nan]])
    images = torch.zeros(2, 3, 64, 64)
    batch = JudgeBatch(images, images, torch.zeros(2), known)
    logits = torch.zeros(2, 3, requires_grad=True)
    success_loss(logits, batch, JudgeTrainingConfig()).backward()
    assert torch.equal(logits.grad != 0.0, ~known.isnan())
    assert torch.equal(logits.grad[~known.isnan()] < 0.0, known[~known.isnan()] == 1.0)


def test_without_known_outcomes_they_follow_the_opening():
    images = torch.zeros(2, 3, 64, 64)
    batch = JudgeBatch(images, images, torch.tensor([1.0, 0.0]))
    logits = torch.zeros(2, 2, requires_grad=True)
    success_loss(logits, batch, JudgeTrainingConfig()).backward()
    assert (logits.grad < 0.0).tolist() == [[True, False], [False, True]]
