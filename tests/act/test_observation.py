"""Pairing of pictures and joints, and the camera that freezes."""

import numpy as np
import pytest

from robot_agent.act.observation import FrameHealth, ObservationPairing, PairingConfig

MS = 1_000_000


def picture(value: int) -> np.ndarray:
    return np.full((48, 64, 3), value, np.uint8)


def joints(value: float) -> np.ndarray:
    return np.full(6, value)


@pytest.mark.parametrize(("skew_ms", "is_paired"), [(0, True), (50, True), (51, False)])
def test_a_picture_is_paired_with_joints_at_most_50_ms_away(skew_ms: int, is_paired: bool) -> None:
    pairing = ObservationPairing()
    pairing.add_joints(joints(0.1), 1.0, 1000 * MS)
    pairing.add_image(picture(1), (1000 + skew_ms) * MS)
    assert (pairing.newest(2000 * MS) is not None) == is_paired
    assert pairing.dropped == (0 if is_paired else 1)


def test_the_nearest_joints_are_taken_and_the_age_is_said() -> None:
    pairing = ObservationPairing()
    for stamp_ms, value in ((980, 0.1), (1001, 0.2), (1020, 0.3)):
        pairing.add_joints(joints(value), 1.0, stamp_ms * MS)
    pairing.add_image(picture(1), 1000 * MS)
    found = pairing.newest(1300 * MS)
    assert found is not None
    assert found.joints_rad[0] == 0.2
    assert found.age_s == pytest.approx(0.3)


def test_a_picture_from_before_the_boundary_does_not_count() -> None:
    pairing = ObservationPairing()
    pairing.add_joints(joints(0.1), 1.0, 1000 * MS)
    pairing.add_image(picture(1), 1000 * MS)
    assert pairing.newest(1000 * MS, not_before_ns=1001 * MS) is None
    pairing.add_image(picture(2), 1010 * MS)
    found = pairing.newest(1010 * MS, not_before_ns=1001 * MS)
    assert found is not None
    assert found.stamp_ns == 1010 * MS


def test_a_picture_that_is_not_newer_is_ignored() -> None:
    pairing = ObservationPairing()
    pairing.add_joints(joints(0.1), 1.0, 1000 * MS)
    pairing.add_image(picture(1), 1000 * MS)
    pairing.add_image(picture(2), 1000 * MS)
    found = pairing.newest(1000 * MS)
    assert found is not None
    assert found.image_hwc[0, 0, 0] == 1


def test_the_nearest_picture_is_found_on_either_side() -> None:
    pairing = ObservationPairing()
    for stamp_ms in (950, 1000, 1050, 1100):
        pairing.add_joints(joints(stamp_ms / 1e3), 1.0, stamp_ms * MS)
        pairing.add_image(picture(stamp_ms % 251), stamp_ms * MS)
    for wanted_ms, stamp_ms in ((1020, 1000), (1030, 1050), (2000, 1100)):
        found = pairing.nearest(1100 * MS, wanted_ms * MS)
        assert found is not None
        assert found.stamp_ns == stamp_ms * MS


def test_what_was_cleared_does_not_come_back() -> None:
    pairing = ObservationPairing()
    pairing.add_joints(joints(0.1), 1.0, 1000 * MS)
    pairing.add_image(picture(1), 1000 * MS)
    pairing.clear()
    assert pairing.newest(1000 * MS) is None
    assert pairing.newest_stamp_ns() == 0


def test_equal_pictures_of_a_resting_arm_are_no_fault() -> None:
    health = FrameHealth(PairingConfig())
    for _ in range(100):
        health.look(picture(7), joints(0.0))
    assert not health.is_frozen
    # One picture was under way when the arm moved; the next shows it.
    health.look(picture(7), joints(0.2))
    assert not health.is_frozen
    health.look(picture(8), joints(0.2))
    assert not health.is_frozen


def test_five_equal_pictures_after_a_motion_are_a_frozen_camera() -> None:
    health = FrameHealth(PairingConfig())
    health.look(picture(7), joints(0.0))
    verdicts = []
    for _ in range(5):
        health.look(picture(7), joints(0.2))
        verdicts.append(health.is_frozen)
    assert verdicts == [False] * 4 + [True]
    health.look(picture(8), joints(0.2))
    assert not health.is_frozen


def test_equal_pictures_that_waited_while_the_arm_began_to_move_are_no_fault() -> None:
    pairing = ObservationPairing()
    for t in range(20):  # at rest for 200 ms, then it moves
        pairing.add_joints(joints(0.0 if t < 10 else 0.1 * t), 1.0, (1000 + 20 * t) * MS)
    for t in range(8):  # of the rest, but they come when everything is over
        pairing.add_image(picture(7), (1000 + 20 * t) * MS)
    assert not pairing.is_frozen
    for t in range(12, 17):  # the same picture although the arm moved: that is one
        pairing.add_image(picture(7), (1000 + 20 * t) * MS)
    assert pairing.is_frozen


@pytest.mark.parametrize("delay_ms", [0, 40, 60, 200, 500])
def test_pictures_whose_joints_are_far_in_time_are_dropped_and_after_three_periods_a_fault(
    delay_ms: int,
) -> None:
    pairing, skewed_ms = ObservationPairing(), []
    for now_ms in range(2000, 4000, 20):
        pairing.add_joints(joints(0.1), 1.0, (now_ms - delay_ms) * MS)
        pairing.add_image(picture(now_ms % 251), now_ms * MS, now_ms * MS)
        if pairing.is_skewed(now_ms * MS):
            skewed_ms.append(now_ms - 2000)
    if delay_ms <= 60:  # a picture of 60 ms ago then has its joints
        assert not skewed_ms
    else:
        assert skewed_ms[0] == pytest.approx(600, abs=30)
        assert pairing.newest(4000 * MS) is None
    pairing.clear()
    assert not pairing.is_skewed(9000 * MS), "what was before the episode does not count"


def test_nothing_to_pair_is_silence_and_no_skew() -> None:
    pairing = ObservationPairing()
    pairing.add_image(picture(1), 1000 * MS)
    assert not pairing.is_skewed(1000 * MS)
    assert not pairing.is_skewed(9000 * MS)


def test_a_stamp_from_the_future_is_replaced_and_after_five_no_picture_is_taken() -> None:
    pairing, hour_ms = ObservationPairing(), 3_600_000
    newest = []
    for index in range(7):
        now_ms = 1000 + 33 * index
        pairing.add_image(picture(index), (now_ms + hour_ms) * MS, now_ms * MS)
        newest.append(pairing.newest_stamp_ns() // MS - 1000)
    assert newest == [0, 33, 66, 99, 132, 132, 132]
    pairing.add_image(picture(9), 1300 * MS, 1310 * MS)
    assert pairing.newest_stamp_ns() == 1300 * MS
    pairing.add_image(picture(10), 1400 * MS, 1310 * MS)
    assert pairing.newest_stamp_ns() == 1400 * MS, "100 ms ahead are let pass"
