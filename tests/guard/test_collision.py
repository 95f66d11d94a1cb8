"""The arm against itself, its base and the table: against brute force, and to the edge."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_agent.core import wx250s
from robot_agent.guard.collision import (
    clearances_m,
    closest,
    gap_names,
    is_way_clear,
    segment_distances,
)
from robot_agent.guard.limits import GuardConfig, at_most_its_speed
from robot_agent.guard.screen import screen
from tests.guard import checker
from tests.guard.paper_arm import WORK_RAD, PaperArm, make_action

_CONFIG = GuardConfig()
_WIDE = GuardConfig(box_low_m=(0.05, -0.4, 0.0), box_high_m=(0.6, 0.4, 0.5))
"""A box that lets the tool come near the base."""


def _joints_at(*position_m: float, tilt_rad: float = 0.0) -> np.ndarray:
    T = wx250s.pose_at(np.array(position_m), tilt_rad)
    joints_rad = wx250s.inverse(T, WORK_RAD, max_iterations=80)
    assert joints_rad is not None
    return joints_rad


_POINT = st.tuples(*[st.floats(-1.0, 1.0)] * 3)


@settings(max_examples=200, deadline=None)
@given(_POINT, _POINT, _POINT, _POINT)
def test_the_distance_of_two_segments_is_what_a_grid_of_points_finds(a, b, c, d):
    first, second = np.array([[a, b]]), np.array([[c, d]])
    lengths = [np.linalg.norm(s[0, 1] - s[0, 0]) for s in (first, second)]
    if min(lengths) < 1e-3:
        return
    share = np.linspace(0.0, 1.0, 101)[:, None]
    rows = [s[0, 0] + share * (s[0, 1] - s[0, 0]) for s in (first, second)]
    found = float(segment_distances(first, second)[0])
    grid = float(np.linalg.norm(rows[0][:, None] - rows[1][None], axis=-1).min())
    assert grid - sum(lengths) / 200 - 1e-9 <= found <= grid + 1e-9


@pytest.mark.parametrize(
    ("second", "distance"),
    [
        ([[0, 1, 0], [1, 1, 0]], 1.0),  # parallel, side by side
        ([[3, 0, 0], [4, 0, 0]], 2.0),  # on one line
        ([[0.5, -1, 2], [0.5, 1, 2]], 2.0),  # crossing above
        ([[0.5, -1, 0], [0.5, 1, 0]], 0.0),  # meeting
        ([[2, 1, 0], [3, 1, 0]], 2**0.5),  # ends
    ],
)
def test_the_distance_of_segments_that_one_can_work_out_in_the_head(second, distance):
    first = np.array([[[0.0, 0, 0], [1, 0, 0]]])
    for pair in ((first, np.array([second], float)), (np.array([second], float), first)):
        assert segment_distances(*pair)[0] == pytest.approx(distance, abs=1e-12)


def test_gaps_of_any_configuration_agree_with_brute_force(rng):
    joints = rng.uniform(wx250s.JOINT_LOWER_RAD, wx250s.JOINT_UPPER_RAD, (120, 6))
    ours = np.array([clearances_m(q, 0.0).min() for q in joints])
    brute = checker.gaps_m(joints, spacing_m=0.003)
    assert (ours <= brute + 1e-9).all()
    assert (brute - ours).max() < 5e-4
    assert 0.2 < (brute < 0.0).mean() < 0.9, "a poor sample"


def test_known_poses_touch_nothing_and_rest_is_narrow():
    for pose_rad in (np.zeros(6), wx250s.NEUTRAL_RAD, WORK_RAD):
        assert clearances_m(pose_rad, 0.0).min() > 0.05
    at_rest = dict(zip(gap_names(), clearances_m(wx250s.SLEEP_RAD, 0.0), strict=True))
    assert -0.02 < min(at_rest.values()) < _CONFIG.min_clearance_m
    assert at_rest["hand and upper arm"] < 0.0, "capsules are wider than the links"


def test_the_gap_to_the_table_counts_from_its_height():
    joints_rad = _joints_at(0.3, 0.0, 0.05, tilt_rad=-1.0)
    low, high = clearances_m(joints_rad, 0.0), clearances_m(joints_rad, 0.04)
    assert low[-1] - high[-1] == pytest.approx(0.04)
    assert (low[:-7] == high[:-7]).all()


def test_a_hand_that_would_touch_the_table_is_refused_just_past_the_margin():
    """Tilted by 1.2 rad the gripper lies lower than the tool's box knows."""
    start_rad = _joints_at(0.32, 0.0, 0.045, tilt_rad=-1.15)
    action = make_action(0.0, 0.0, -0.02)
    free = GuardConfig(min_clearance_m=0.005)
    goal_rad = screen(free, wx250s.forward(start_rad), start_rad, action).joints_rad
    gap_m = float(clearances_m(goal_rad, 0.0).min())
    assert 0.006 < gap_m < 0.05
    for margin_m, cause in ((gap_m - 1e-6, None), (gap_m + 1e-6, "collision")):
        config = GuardConfig(min_clearance_m=margin_m)
        found = screen(config, wx250s.forward(start_rad), start_rad, action)
        assert found.cause == cause
    assert found.changes[-1].startswith("gripper and table would be 0.0")
    assert (found.joints_rad == start_rad).all()


def test_what_is_too_close_may_open_and_not_close():
    near_rad = _joints_at(0.10, 0.0, 0.05, tilt_rad=-0.3)
    assert clearances_m(near_rad, 0.0).min() < 0.03
    config = GuardConfig(min_clearance_m=0.04)
    T = wx250s.forward(near_rad)
    closer = screen(config, T, near_rad, make_action(-0.004, 0.0, -0.02))
    farther = screen(config, T, near_rad, make_action(0.02, 0.0, 0.0))
    assert closer.cause == "collision"
    assert farther.cause is None


_BESIDE = np.array([0.0, -0.6, 1.5, -1.57, 1.9, 0.0])
"""The hand beside the upper arm; rolled the other way it is on the other side, and free too."""
_OTHER_SIDE = _BESIDE * [1, 1, 1, -1, 1, 1]


def test_the_middle_of_the_way_counts_too():
    for pose_rad in (_BESIDE, _OTHER_SIDE):
        assert clearances_m(pose_rad, 0.0).min() > _CONFIG.min_clearance_m
    words = closest(_CONFIG, _OTHER_SIDE, _BESIDE)
    assert words == "gripper and upper arm would be -0.057 m apart, limit 0.010 m"


def test_an_accepted_step_touches_nothing_on_its_whole_way(rng):
    """Any step from a free pose near base and table, at ten places of its way, by brute force."""
    steps = refused = 0
    for config in (_WIDE, at_most_its_speed(_WIDE)):
        for _ in range(120):
            position_m = rng.uniform([0.06, -0.2, 0.0], [0.3, 0.2, 0.12])
            T = wx250s.pose_at(position_m, rng.uniform(-1.3, 0.6))
            q = wx250s.inverse(T, wx250s.NEUTRAL_RAD + rng.normal(0.0, 0.2, 6))
            if q is None or clearances_m(q, 0.0).min() < config.min_clearance_m:
                continue
            action = np.append(rng.uniform(-1, 1, 6) * ([0.05] * 3 + [0.25] * 3), 1.0)
            found = screen(config, wx250s.forward(q), q, action)
            refused += found.cause == "collision"
            if found.cause is None:
                steps += 1
                way = q + np.linspace(0.0, 1.0, 10)[:, None] * (found.joints_rad - q)
                assert checker.gaps_m(way).min() > 0.0
    assert steps > 30
    assert refused > 5


def test_a_policy_that_drives_the_hand_into_the_base_holds_before_it_touches():
    arm = PaperArm(_WIDE, _joints_at(0.2, 0.0, 0.04))
    for _ in range(40):
        arm.run(make_action(-0.02, 0.0, 0.0))
    assert arm.state.hold_causes == ("collision",)
    assert arm.state.latched == ()
    assert 0.0 < checker.gaps_m(arm.joints_rad[None])[0] < 0.03
    reached_m = arm.tool_m[0]
    arm.run(make_action(0.02, 0.0, 0.0))
    assert arm.state.mode == "active"
    assert arm.tool_m[0] > reached_m


def test_the_checker_sees_a_planted_touch():
    """Proves that the fuzz test's judge can find what it looks for."""
    joints = _joints_at(0.2, 0.0, 0.04)[None].repeat(20, axis=0)
    touching = joints.copy()
    touching[0, 1] += 0.35  # the forearm goes down
    T = np.array([wx250s.forward(q) for q in touching])
    found = checker.faults(joints, touching, T, np.zeros(20), np.ones(20, bool))
    assert any(line.startswith("touches: 1 of 1") for line in found)


def test_the_way_to_rest_is_clear_over_the_table_and_not_through_it_or_the_arm():
    low = _joints_at(0.3, 0.0, 0.03)
    assert is_way_clear(_CONFIG, wx250s.NEUTRAL_RAD, wx250s.SLEEP_RAD)
    assert is_way_clear(_CONFIG, wx250s.SLEEP_RAD, np.zeros(6))
    assert is_way_clear(_CONFIG, low, wx250s.SLEEP_RAD)
    assert not is_way_clear(GuardConfig(table_height_m=0.1), low, wx250s.SLEEP_RAD)
    assert not is_way_clear(_CONFIG, _BESIDE, _OTHER_SIDE)
