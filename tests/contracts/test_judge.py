"""What every `Judge` promises: probabilities in any order; the most doubtful member decides."""

import numpy as np
import pytest
import torch

from robot_agent.core.errors import InputError
from robot_agent.models.classifier_judge import ClassifierJudge
from robot_agent.models.tiny_judge import TinyJudge

KNOWN = ("open the drawer", "close the drawer")


def members(count, loudness=30.0):
    found = []
    for seed in range(count):
        torch.manual_seed(seed)
        found.append(TinyJudge())
        with torch.no_grad():
            found[-1].success.weight.mul_(loudness)
    return found


def pairs(batch=6, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (2, batch, 64, 64, 3), dtype=np.uint8)
    return images[0], images[1], rng.integers(0, 2, batch)


def test_success_and_progress_lie_between_zero_and_one():
    for found in ClassifierJudge(members(2), KNOWN).assess(*pairs()):
        assert found.shape == (6,)
        assert found.min() >= 0.0
        assert found.max() <= 1.0


def test_the_order_of_the_batch_does_not_matter():
    judge, (first, images, ids) = ClassifierJudge(members(1), KNOWN), pairs()
    order = np.array([3, 1, 5, 0, 2, 4])
    for whole, turned in zip(
        judge.assess(first, images, ids),
        judge.assess(first[order], images[order], ids[order]),
        strict=True,
    ):
        assert whole[order] == pytest.approx(turned, abs=0.02)


def test_the_most_doubtful_member_decides():
    both, found = members(2), pairs()
    each = np.stack([ClassifierJudge([one], KNOWN).assess(*found) for one in both])
    together = np.stack(ClassifierJudge(both, KNOWN).assess(*found))
    assert np.array_equal(together, each.min(axis=0))
    assert (each[0, 0] < each[1, 0]).any()
    assert (each[0, 0] > each[1, 0]).any()


def test_progress_of_closing_is_the_complement_of_opening():
    judge, (first, images, _) = ClassifierJudge(members(1), KNOWN), pairs()
    _, opened = judge.assess(first, images, np.zeros(6, np.int64))
    _, closed = judge.assess(first, images, np.ones(6, np.int64))
    assert opened + closed == pytest.approx(np.ones(6), abs=1e-6)


def test_a_clip_is_read_from_its_first_and_last_frames():
    judge = ClassifierJudge(members(1), KNOWN)
    clip = np.random.default_rng(2).integers(0, 256, (1, 4, 64, 64, 3), dtype=np.uint8)
    found = judge.score(clip, ["open the drawer"])
    assert judge.score(clip[:, [0, 3]], ["open the drawer"]) == found
    assert judge.score(clip[:, [3, 0]], ["open the drawer"]) != found


class Witnesses(ClassifierJudge):
    def __init__(self, success, progress):
        super().__init__(members(1), KNOWN)
        self.said = np.array([success]), np.array([progress])

    def assess(self, first, images, instruction_ids):
        return self.said


@pytest.mark.parametrize(
    ("success", "progress", "wanted"),
    [(0.5, 0.8, 0.5), (0.9, 0.8, 0.9), (0.5, 1.0, 0.83), (0.5, 0.4, 0.04), (0.0, 1.0, 0.0)],
)
def test_success_and_progress_bear_witness_together(success, progress, wanted):
    clip = np.zeros((1, 2, 64, 64, 3), np.uint8)
    found = Witnesses(success, progress).score(clip, ["open the drawer"])
    assert found == pytest.approx([wanted], abs=0.01)


def test_what_a_member_does_not_know_is_unknown():
    clip = np.zeros((1, 2, 64, 64, 3), np.uint8)
    assert np.isnan(Witnesses(np.nan, 0.9).score(clip, ["open the drawer"])).all()


def test_a_clip_of_an_unknown_task_is_refused():
    judge = ClassifierJudge(members(1), KNOWN)
    with pytest.raises(InputError, match="Choose one of: open the drawer, close the drawer"):
        judge.score(np.zeros((1, 2, 64, 64, 3), np.uint8), ["dance"])
