"""Planted faults are found, each by its name; sound episodes have none."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from robot_agent.core.types import Episode
from robot_agent.core.wx250s import SLEEP_RAD
from robot_agent.store.episode_checks import check_alignment, check_calibration, check_episode
from robot_agent.store.episode_format import EpisodeInfo
from robot_agent.store.strict_json import canonical_json

STEPS, NUM = 24, 40


def sound(seed: int) -> Episode:
    """A square moves over noise as the joints do: by fits and starts, both in the same steps."""
    rng = np.random.default_rng(seed)
    moves = np.repeat(rng.choice([0.0, 1.0], STEPS // 2), 2) * rng.uniform(0.01, 0.05, STEPS)
    moves[0] = 0.03  # never wholly idle
    place = np.concatenate([[0.0], np.cumsum(moves)])
    images = rng.integers(90, 93, (STEPS + 1, 32, 32, 3)).astype(np.uint8)
    for index, at in enumerate(place):
        column = int(2 + 20 * at)
        images[index, 10:20, column : column + 6] = 230
    joints = SLEEP_RAD + np.array([0.0, 0.5, -0.5, 0.0, 0.0, 0.0]) + place[:, None]
    return Episode(
        episode_id=f"e{seed}",
        instruction="open the drawer",
        images=images,
        actions=rng.normal(0, 0.01, (STEPS, 7)),
        proposed=rng.normal(0, 0.01, (STEPS, 7)),
        joints_rad=joints,
        gripper=np.ones(STEPS + 1),
        weights_versions=("v",) * STEPS,
        controllers=("policy",) * STEPS,
        outcome="success",
        judged_by="sim",
        stamps_ns=np.arange(STEPS + 1) * 200_000_000 + rng.integers(0, 20_000_000, STEPS + 1),
    )


def with_row(values: np.ndarray, index: int, value: float) -> np.ndarray:
    changed = values.copy()
    changed[index] = value
    return changed


def frozen(episode: Episode) -> Episode:
    images = episode.images.copy()
    images[4:16] = images[4]
    return replace(episode, images=images)


def with_gap(episode: Episode) -> Episode:
    stamps = episode.stamps_ns.copy()
    stamps[10:] += 700_000_000
    return replace(episode, stamps_ns=stamps)


PLANTED = {
    "frozen": frozen,
    "dropped_frames": with_gap,
    "stamp_order": lambda e: replace(e, stamps_ns=with_row(e.stamps_ns, 8, 0)),
    "not_finite": lambda e: replace(e, actions=with_row(e.actions, 3, np.nan)),
    "jump": lambda e: replace(e, joints_rad=with_row(e.joints_rad, 7, 2.5)),
    "dark": lambda e: replace(e, images=np.zeros_like(e.images)),
    "idle": lambda e: replace(e, joints_rad=np.repeat(e.joints_rad[:1], STEPS + 1, axis=0)),
    "saturated": lambda e: replace(e, actions=np.full((STEPS, 7), 0.25)),
    "no_outcome": lambda e: replace(e, outcome="unknown"),
    "no_instruction": lambda e: replace(e, instruction=" "),
}


@pytest.mark.parametrize("kind", PLANTED)
def test_every_planted_fault_is_found_by_its_name(kind):
    for seed in range(20):
        found = check_episode(PLANTED[kind](sound(seed)))
        assert kind in {finding.kind for finding in found}
        is_label = kind in {"no_outcome", "no_instruction"}
        assert {f.is_fatal for f in found if f.kind == kind} == {not is_label}


def test_no_sound_episode_is_flagged():
    assert [check_episode(sound(seed)) for seed in range(200)] == [[]] * 200


def test_a_still_arm_may_see_the_same_picture():
    episode = sound(0)
    joints = episode.joints_rad.copy()
    joints[4:16] = joints[4]
    kinds = {
        finding.kind for finding in check_episode(replace(frozen(episode), joints_rad=joints))
    }
    assert "frozen" not in kinds


def late(episode: Episode, steps: int) -> Episode:
    if not steps:
        return episode
    first = np.repeat(episode.images[:1], steps, axis=0)
    return replace(episode, images=np.concatenate([first, episode.images[:-steps]]))


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_pictures_that_are_late_by_whole_steps_are_found_over_episodes(steps):
    finding = check_alignment(late(sound(seed), steps) for seed in range(NUM))
    assert finding is not None
    assert f"{steps:+d} steps off" in finding.detail
    assert check_alignment(sound(seed) for seed in range(NUM)) is None
    assert check_alignment(late(sound(seed), steps) for seed in range(10)) is None  # too few


def sealed(**changes) -> EpisodeInfo:
    kinds = {"camera": "a" * 64, "hand-eye": "b" * 64}
    seal = hashlib.sha256(canonical_json(kinds)).hexdigest()
    info = EpisodeInfo(
        id="e", instruction="x", scene="", outcome="success", judged_by="sim", num_steps=1,
        image_size=(4, 4), image_codec="png", jpeg_quality=0, weights_versions=("v",),
        controllers=("policy",), created="", calibration_hash=seal,
        config={"calibration": {"hash": seal, "kinds": kinds, "residuals": {}}},
    )  # fmt: skip
    return replace(info, **changes)


def test_a_whole_calibration_is_no_finding_and_another_than_wanted_is():
    info = sealed()
    assert check_calibration(info) == []
    assert check_calibration(info, info.calibration_hash) == []
    (found,) = check_calibration(info, "c" * 64)
    assert (found.kind, found.is_fatal) == ("wrong_calibration", True)
    assert "must be cccccccccccc" in found.detail


@pytest.mark.parametrize(
    "changes",
    [
        {"calibration_hash": "d" * 64},
        {"config": {}},
        {"config": {"calibration": {"hash": "d" * 64, "kinds": {"camera": "a" * 64}}}},
        {"config": {"calibration": "none"}},
    ],
)
def test_a_calibration_that_disagrees_with_its_hash_is_found(changes):
    assert [found.kind for found in check_calibration(sealed(**changes))] == ["wrong_calibration"]


def test_without_a_calibration_only_a_wanted_one_is_missed():
    info = sealed(calibration_hash="", config={})
    assert check_calibration(info) == []
    assert [found.kind for found in check_calibration(info, "c" * 64)] == ["no_calibration"]
