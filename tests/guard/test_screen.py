"""One action to the next target: every limit at its edge and just past it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robot_agent.core import wx250s
from robot_agent.core.bridge_action import compose_target
from robot_agent.guard.limits import GuardConfig, at_most_its_speed
from robot_agent.guard.screen import action_between, outside_m, screen
from tests.guard import checker
from tests.guard.paper_arm import WORK_RAD, make_action

_CONFIG = GuardConfig()
_T_WORK = wx250s.forward(WORK_RAD)


def _joints_at(*position_m: float) -> np.ndarray:
    joints_rad = wx250s.inverse(wx250s.pose_at(np.array(position_m)), WORK_RAD)
    assert joints_rad is not None
    return joints_rad


def test_a_step_inside_every_limit_is_bridges_formula_and_nothing_else():
    action = make_action(0.02, -0.01, 0.015, 0.05, -0.1, 0.08, gripper=0.4)
    result = screen(_CONFIG, _T_WORK, WORK_RAD, action)
    assert result.cause is None
    assert result.changes == ()
    assert (result.sent == action).all()
    assert (result.T_target == compose_target(_T_WORK, _T_WORK[:3, 3], action)).all()
    reached = wx250s.forward(result.joints_rad)
    assert np.linalg.norm(reached[:3, 3] - result.T_target[:3, 3]) < 1e-4


def test_joints_are_not_rounded():
    result = screen(_CONFIG, _T_WORK, WORK_RAD, make_action(0.01))
    assert (np.round(result.joints_rad, 6) != result.joints_rad).any()


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("side", ["low", "high"])
def test_a_target_stops_at_the_face_of_the_box(axis, side):
    face = (_CONFIG.box_low_m if side == "low" else _CONFIG.box_high_m)[axis]
    position = np.array([0.28, 0.0, 0.15])
    position[axis] = face + (0.02 if side == "low" else -0.02)
    joints_rad = _joints_at(*position)
    action = make_action()
    action[axis] = -0.019 if side == "low" else 0.019
    inside = screen(_CONFIG, wx250s.forward(joints_rad), joints_rad, action)
    assert inside.changes == ()
    action[axis] *= 2
    stopped = screen(_CONFIG, wx250s.forward(joints_rad), joints_rad, action)
    assert "outside the workspace box: moved to its face" in stopped.changes[0]
    if stopped.cause is None and not any("joint" in words for words in stopped.changes):
        assert stopped.T_target[axis, 3] == pytest.approx(face, abs=1e-9)
        assert abs(stopped.sent[axis]) == pytest.approx(0.02, abs=2e-4)


def test_the_table_counts_when_it_is_higher_than_the_box():
    config = GuardConfig(table_height_m=0.1, table_margin_m=0.02)
    joints_rad = _joints_at(0.28, 0.0, 0.13)
    result = screen(config, wx250s.forward(joints_rad), joints_rad, make_action(0, 0, -0.03))
    assert result.T_target[2, 3] == pytest.approx(0.12)


def test_the_target_does_not_run_away_from_a_tool_that_is_stuck():
    T_target = _T_WORK
    for _ in range(20):
        result = screen(_CONFIG, T_target, WORK_RAD, make_action(0.0, 0.03, 0.0))
        assert result.cause is None
        T_target = result.T_target
    lead_m = np.linalg.norm(T_target[:3, 3] - _T_WORK[:3, 3])
    assert lead_m == pytest.approx(_CONFIG.max_lead_m, abs=1e-6)
    assert "pulled back" in result.changes[-1]


def test_a_tool_outside_the_box_comes_back_at_the_speed_of_a_step():
    joints_rad = _joints_at(0.28, 0.0, 0.15)
    joints_rad[1] -= 1.0
    before_m = wx250s.forward(joints_rad)[2, 3]
    assert before_m > 0.36
    result = screen(_CONFIG, wx250s.forward(joints_rad), joints_rad, make_action())
    assert result.cause is None
    back_m = before_m - wx250s.forward(result.joints_rad)[2, 3]
    assert 0.0 < back_m <= _CONFIG.max_translation_m + 1e-4


def test_the_tool_speed_ceiling_holds_for_the_whole_step():
    slow = GuardConfig(max_tool_speed_mps=0.1)
    result = screen(slow, _T_WORK, WORK_RAD, make_action(0.04, 0.03, 0.0))
    moved_m = result.T_target[:3, 3] - _T_WORK[:3, 3]
    assert np.linalg.norm(moved_m) == pytest.approx(0.02)
    assert moved_m[0] / moved_m[1] == pytest.approx(4 / 3)


def test_a_joint_step_is_scaled_and_the_target_follows_the_joints():
    slow = GuardConfig(max_joint_speed_radps=0.2)
    result = screen(slow, _T_WORK, WORK_RAD, make_action(0.0, 0.04, 0.0))
    assert np.abs(result.joints_rad - WORK_RAD).max() == pytest.approx(0.04)
    assert "joint step" in result.changes[-1]
    assert np.allclose(result.T_target, wx250s.forward(result.joints_rad))
    again = compose_target(_T_WORK, _T_WORK[:3, 3], result.sent)
    assert np.allclose(again, result.T_target, atol=1e-12)


def test_a_joint_stops_at_its_margin():
    joints_rad = WORK_RAD.copy()
    joints_rad[5] = wx250s.JOINT_UPPER_RAD[5] - 0.12
    T = wx250s.forward(joints_rad)
    for yaw in (0.2, -0.2):
        result = screen(_CONFIG, T, joints_rad, make_action(0, 0, 0, 0, 0, yaw))
        if result.cause is None:
            high = wx250s.JOINT_UPPER_RAD - _CONFIG.joint_margin_rad
            assert (result.joints_rad <= high + 1e-12).all()


def test_a_measured_joint_past_its_margin_may_stay_and_come_back_but_not_go_on():
    joints_rad = WORK_RAD.copy()
    joints_rad[5] = wx250s.JOINT_UPPER_RAD[5] - 0.01
    T = wx250s.forward(joints_rad)
    results = [screen(_CONFIG, T, joints_rad, make_action(0, 0, 0, 0, 0, y)) for y in (0.1, -0.1)]
    reached = [r.joints_rad[5] for r in results if r.cause is None]
    assert reached
    assert max(reached) <= joints_rad[5] + 1e-12
    assert min(reached) < joints_rad[5] - 0.05


def test_an_unreachable_target_is_refused_and_names_its_cause():
    T_far = _T_WORK.copy()
    T_far[:3, :3] = np.diag([-1.0, -1.0, 1.0]) @ T_far[:3, :3] @ np.diag([-1.0, 1.0, -1.0])
    result = screen(_CONFIG, T_far, WORK_RAD, make_action())
    assert result.cause in ("ik_failed", "branch_flip")
    assert (result.T_target == T_far).all()
    assert (result.joints_rad == WORK_RAD).all()


def test_another_branch_is_refused_just_past_the_limit():
    action = make_action(0, 0.05, 0)
    needed = np.abs(screen(_CONFIG, _T_WORK, WORK_RAD, action).joints_rad - WORK_RAD).max()
    assert 0.1 < needed < 0.3
    above = GuardConfig(max_branch_step_rad=float(needed) + 1e-6)
    below = GuardConfig(max_branch_step_rad=float(needed) - 1e-6)
    assert screen(above, _T_WORK, WORK_RAD, action).cause is None
    assert screen(below, _T_WORK, WORK_RAD, action).cause == "branch_flip"


def test_an_elbow_that_would_leave_its_box_is_refused_and_one_that_returns_is_not():
    elbow_z = wx250s.body_points(WORK_RAD)["elbow"][2]
    rising = [make_action(0, 0, dz) for dz in (0.03, -0.03)]
    results = [screen(_CONFIG, _T_WORK, WORK_RAD, action).joints_rad for action in rising]
    heights = [wx250s.body_points(joints_rad)["elbow"][2] for joints_rad in results]
    up, down = rising if heights[0] > heights[1] else rising[::-1]
    tight = GuardConfig(
        body_high_m=(0.6, 0.45, float(elbow_z) - 0.004), box_high_m=(0.48, 0.3, 0.3)
    )
    assert screen(tight, _T_WORK, WORK_RAD, up).cause == "body_limit"
    assert screen(tight, _T_WORK, WORK_RAD, down).cause is None


def test_outside_is_measured_to_the_nearest_face():
    low, high = np.zeros(3), np.ones(3)
    assert outside_m(np.array([0.5, 0.0, 1.0]), low, high) == 0.0
    assert outside_m(np.array([0.5, -0.2, 1.1]), low, high) == pytest.approx(0.2)


_STEPS = st.tuples(*[st.floats(-0.15, 0.15)] * 3, *[st.floats(-0.75, 0.75)] * 3)


@settings(max_examples=60, deadline=None)
@given(_STEPS, st.floats(-0.5, 1.5), st.floats(-0.3, 0.3), st.floats(-0.3, 0.3))
def test_what_was_sent_composes_to_the_target_and_is_safe(steps, gripper, q0, q2):
    joints_rad = WORK_RAD + np.array([q0, 0.0, q2, 0.0, 0.0, 0.0])
    T_before = wx250s.forward(joints_rad)
    result = screen(_CONFIG, T_before, joints_rad, make_action(*steps, gripper=gripper))
    if result.cause is None:
        again = compose_target(T_before, T_before[:3, 3], result.sent)
        assert np.allclose(again, result.T_target, atol=1e-9)
        rows = (joints_rad[None], result.joints_rad[None], result.T_target[None])
        assert checker.faults(*rows, np.zeros(1), np.ones(1, bool)) == []


@given(_STEPS.map(lambda s: make_action(*s, gripper=0.3)))
def test_action_between_inverts_compose_target(action):
    T = compose_target(_T_WORK, np.array([0.25, 0.02, 0.1]), action)
    assert np.allclose(action_between(_T_WORK, T, np.array([0.25, 0.02, 0.1]), 0.3), action)


def test_no_point_of_the_arm_goes_too_far():
    """Any pose, any step: elbow, wrist, tool and fingertips, by the URDF's chain too."""
    rng = np.random.default_rng(8)
    accepted = 0
    for config in (GuardConfig(), at_most_its_speed(GuardConfig())):
        for _ in range(400):
            position_m = rng.uniform([0.1, -0.25, 0.02], [0.47, 0.3, 0.34])
            T = wx250s.pose_at(position_m, rng.uniform(-1.2, 0.3))
            q = wx250s.inverse(T, wx250s.NEUTRAL_RAD + rng.normal(0.0, 0.2, 6))
            if q is None:
                continue
            action = np.append(rng.uniform(-1, 1, 6) * ([0.1] * 3 + [0.5] * 3), 1.0)
            found = screen(config, wx250s.forward(q), q, action)
            if found.cause is None:
                accepted += 1
                ways = wx250s.extreme_points(found.joints_rad) - wx250s.extreme_points(q)
                assert np.linalg.norm(ways, axis=1).max() <= config.max_way_m + 1e-9
                pairs = np.stack([q, found.joints_rad])
                for points in checker.points(pairs).values():
                    assert np.linalg.norm(points[1] - points[0]) <= config.max_way_m + 1e-6
    assert accepted > 300
