"""Imagination against reality, per task: an exploited world model is found out."""

import dataclasses

import numpy as np
import pytest

from robot_agent.learn.reality import (
    captured_starts,
    closed_loop_gaps,
    failure_starts,
    judged_outcomes,
    outcome_of,
    replay,
    run_by,
    start_frames,
)
from robot_agent.models.scaling import resize_squashed
from robot_agent.models.tiny_imagination import TinyImagination
from robot_agent.models.tiny_team import INSTRUCTIONS
from robot_agent.models.tiny_world import TinyWorld
from robot_agent.store.start_frames import StartFrame
from tests.learn.episodes import real_episode

OPEN, CLOSE = "open the drawer", "close the drawer"


def ten_of_each(successes_open, successes_close):
    episodes = [real_episode(f"o{i}", instruction=OPEN) for i in range(10)]
    episodes += [real_episode(f"c{i}", instruction=CLOSE) for i in range(10)]
    outcomes = [i < successes_open for i in range(10)] + [i < successes_close for i in range(10)]
    return episodes, outcomes


def test_an_exploited_task_is_stopped_and_an_honest_one_goes_on():
    episodes, outcomes = ten_of_each(1, 7)
    exploited, honest = closed_loop_gaps({OPEN: 0.95, CLOSE: 0.8}, episodes, outcomes, 0.3)
    assert (exploited.instruction, exploited.stopped) == (OPEN, True)
    assert (honest.instruction, honest.stopped) == (CLOSE, False)
    assert str(exploited).startswith("open the drawer: imagined 0.95, real 0.10 of 10: ")
    assert str(honest).startswith("close the drawer: imagined 0.80, real 0.70 of 10: ")
    assert str(exploited).split(": ")[-1] != str(honest).split(": ")[-1]


def test_reality_that_is_better_than_imagined_stops_nothing():
    episodes, outcomes = ten_of_each(9, 9)
    assert not any(g.stopped for g in closed_loop_gaps({OPEN: 0.1}, episodes, outcomes, 0.3))


def test_a_few_unlucky_episodes_are_granted_one_standard_error():
    episodes, outcomes = ten_of_each(4, 0)
    error = np.sqrt(0.25 / 10)
    (just,) = closed_loop_gaps({OPEN: 0.4 + 0.3 + error - 1e-6}, episodes, outcomes, 0.3)
    (beyond,) = closed_loop_gaps({OPEN: 0.4 + 0.3 + error + 1e-6}, episodes, outcomes, 0.3)
    assert not just.stopped
    assert beyond.stopped


def test_a_task_without_real_episodes_has_no_gap():
    assert closed_loop_gaps({OPEN: 1.0}, [], [], 0.3) == []


class HalfJudge:
    def score(self, frames, instructions):
        assert frames.shape == (1, 3, 64, 64, 3)
        return np.array([0.5])


@pytest.mark.parametrize(("threshold", "wanted"), [(0.4, True), (0.5, False), (0.6, False)])
def test_the_judge_decides_at_its_threshold(threshold, wanted):
    assert judged_outcomes(HalfJudge(), [real_episode()], threshold) == [wanted]


def test_what_a_person_said_stands():
    person = dataclasses.replace(real_episode(), judged_by="operator", outcome="success")
    refused = dataclasses.replace(real_episode(), judged_by="operator", outcome="failure")
    assert judged_outcomes(HalfJudge(), [person, refused], 0.9) == [True, False]
    assert judged_outcomes(HalfJudge(), [refused], 0.1) == [False]


def test_every_episode_starts_every_task_to_be_practised():
    episodes = [real_episode("a", size=(48, 64)), real_episode("b", seed=1)]
    starts = start_frames(episodes, [CLOSE, OPEN], (OPEN, CLOSE))
    assert [start.instruction_id for start in starts] == [1, 0, 1, 0]
    assert starts[0].observation.image_hwc.shape == (64, 64, 3)
    assert np.array_equal(starts[3].observation.image_hwc, episodes[1].images[0])


def test_a_replay_shows_the_real_episode_beside_the_imagined_one_from_the_same_first_picture():
    episode = real_episode("e", instruction=OPEN)
    frames = replay(TinyImagination(TinyWorld()), episode)
    assert frames.shape == (episode.num_steps + 1, 64, 128, 3)
    real = np.stack([resize_squashed(image, 64) for image in episode.images])
    assert np.array_equal(frames[:, :, :64], real)
    assert np.array_equal(frames[0, :, 64:], frames[0, :, :64])
    assert not np.array_equal(frames[-1, :, 64:], frames[-1, :, :64])


def test_only_the_episodes_of_one_version_are_compared_with_its_promise():
    def by(*versions: str):
        return dataclasses.replace(real_episode(versions[0]), weights_versions=versions)

    steps = real_episode().num_steps
    new, old = by(*["v2"] * steps), by(*["v1"] * steps)
    cut_short = by(*["v2"] * (steps - 1), "v1")
    own, outcomes = run_by("v2", [new, old, cut_short, new], [True, False, False, False])
    assert own == [new, new]
    assert outcomes == [True, False]
    assert run_by("v3", [new], [True]) == ([], [])


class SilentJudge:
    def score(self, frames, instructions):
        return np.full(len(frames), np.nan)


def test_what_the_judge_cannot_say_is_unknown_and_no_failure():
    assert judged_outcomes(SilentJudge(), [real_episode()], 0.5) == [None]
    assert outcome_of(SilentJudge(), real_episode(), 0.5) == "unknown"
    assert outcome_of(HalfJudge(), real_episode(), 0.6) == "failure"


def test_unknown_episodes_are_in_no_gap():
    episodes, _ = ten_of_each(0, 0)
    outcomes = [True] * 2 + [None] * 8 + [None] * 10
    (gap,) = closed_loop_gaps({OPEN: 0.9, CLOSE: 0.9}, episodes, outcomes, 0.3)
    assert (gap.instruction, gap.real, gap.num_real) == (OPEN, 1.0, 2)


def test_practice_begins_half_way_through_what_the_weights_alone_failed():
    failed, won, unclear = (real_episode(n, seed=i) for i, n in enumerate(("f", "w", "u")))
    taken = dataclasses.replace(
        real_episode("t", seed=3), controllers=("policy", "policy", "operator", "operator")
    )
    other = real_episode("o", instruction=CLOSE, seed=4)
    episodes, outcomes = [failed, won, unclear, taken, other], [False, True, None, False, False]
    (start,) = failure_starts(episodes, outcomes, (OPEN, CLOSE), [OPEN])
    assert start.instruction_id == 0
    assert np.array_equal(start.observation.image_hwc, failed.images[2])


def test_a_captured_view_is_practised_from_for_its_task_alone(rng):
    frames = [
        StartFrame(
            scene="kitchen",
            instruction=task,
            image_hwc=rng.integers(0, 256, (120, 160, 3), np.uint8),
            joints_rad=np.full(6, 0.1 * index),
            gripper=1.0,
        )
        for index, task in enumerate(INSTRUCTIONS)
    ]
    (start,) = captured_starts(frames, INSTRUCTIONS[1:], INSTRUCTIONS)
    assert start.instruction_id == 1
    assert start.observation.image_hwc.shape == (64, 64, 3)
    assert start.observation.joints_rad[0] == 0.1
