"""Wiggle test, latency, workspace and view find what was planted and pass what is right."""

import numpy as np
import pytest

from robot_agent.calibrate import frames
from robot_agent.calibrate.latency import Recorded, excitation, find_delay, solve_latency, speed
from robot_agent.calibrate.poses import bridge_camera
from robot_agent.calibrate.view import compare_view, overlay, reference_intrinsics
from robot_agent.calibrate.workspace import solve_workspace
from robot_agent.core import wx250s
from robot_agent.core.bridge_action import compose_target
from robot_agent.core.config import load_config
from robot_agent.core.errors import CalibrationError
from robot_agent.core.geometry import pose, rotation_from_vector
from robot_agent.guard.limits import GuardConfig


class PaperArm:
    """Carries out Bridge actions exactly, after `mistake` has changed them."""

    def __init__(self, mistake=lambda action: action):
        self.T, self.opening, self.mistake = (
            wx250s.pose_at(np.array([0.3, 0.0, 0.2])),
            0.2,
            mistake,
        )

    def pose(self):
        return self.T, self.opening

    def act(self, action):
        done = self.mistake(action.copy())
        self.T = compose_target(self.T, self.T[:3, 3], done)
        self.opening = float(done[6])

    def settle(self):
        pass


def wrong_axes(mistake):
    return {
        v.axis: v.words for v in frames.judge(frames.wiggle(PaperArm(mistake))) if not v.is_right
    }


def test_an_arm_that_moves_as_bridge_means_passes():
    verdicts = frames.judge(frames.wiggle(PaperArm()))
    assert [v.axis for v in verdicts] == list(frames.AXES)
    assert all(v.is_right for v in verdicts)
    assert [v.scale for v in verdicts] == pytest.approx([1.0] * 7)


@pytest.mark.parametrize("axis", range(6))
def test_a_flipped_sign_is_caught(axis):
    def flip(action):
        action[axis] = -action[axis]
        return action

    found = wrong_axes(flip)
    assert list(found) == [frames.AXES[axis]]
    assert "sign is flipped" in found[frames.AXES[axis]]


def test_swapped_axes_are_caught():
    found = wrong_axes(lambda action: action[[1, 0, 2, 3, 5, 4, 6]])
    assert set(found) == {"dx", "dy", "dpitch", "dyaw"}
    assert "moved along +dy: axes are swapped" in found["dx"]


def test_a_turned_base_a_wrong_scale_and_a_dead_arm_are_caught():
    turn = rotation_from_vector(np.array([0.0, 0.0, 0.6]))
    found = wrong_axes(lambda action: np.concatenate([turn @ action[:3], action[3:]]))
    assert "34 degrees askew" in found["dx"]
    assert "of what was asked" in wrong_axes(lambda action: np.append(0.3 * action[:6], 1.0))["dz"]
    assert "nothing moved" in wrong_axes(lambda action: np.append(np.zeros(6), action[6]))["droll"]


def test_a_gripper_that_closes_at_one_is_caught():
    def invert(action):
        action[6] = 1.0 - action[6]
        return action

    assert "1 must be open" in wrong_axes(invert)["gripper"]


@pytest.mark.parametrize("delay_s", [0.0, 0.08, 0.21, 0.5])
def test_a_planted_delay_is_found_within_one_frame(rng, delay_s):
    actions = np.cumsum([action[1] for action in excitation(16.0, 3)])
    t = np.arange(0.0, 16.0, 0.02)
    position = np.interp(t, 0.2 * np.arange(len(actions)), actions)
    pictures_s = np.arange(0.5, 15.5, 1 / 30)
    seen = np.interp(pictures_s - delay_s, t, position)
    shade = np.clip(
        128 + 1000 * seen[:, None, None, None] + rng.normal(0, 1, (1, 8, 8, 3)), 0, 255
    )
    recorded = Recorded(
        commands_rad=position[:, None],
        commands_s=t,
        joints_rad=position[:, None],
        joints_s=t,
        pictures=list(shade.astype(np.uint8)),
        pictures_s=pictures_s,
    )
    result = solve_latency(recorded)
    assert result.command_to_picture.delay_s == pytest.approx(delay_s, abs=1 / 30)
    assert result.command_to_joints.delay_s == pytest.approx(0.0, abs=0.005)
    assert all(gate.is_kept for gate in result.gates)


def test_a_picture_that_shows_no_motion_is_refused():
    t = np.arange(0.0, 6.0, 0.02)
    moving = speed(np.sin(t)[:, None] ** 3, t)
    with pytest.raises(CalibrationError, match="a signal does not vary"):
        find_delay(moving, (np.zeros(len(t)), t))
    with pytest.raises(CalibrationError, match=r"overlap by 0.0 s, must be at least 2 s"):
        find_delay(moving, (moving[0], moving[1] + 100.0))


def touches(points_m):
    seed = np.array([0.0, -0.3, 0.4, 0.0, 1.5, 0.0])
    found = [
        wx250s.inverse(wx250s.pose_at(np.array(p)), seed, max_iterations=200) for p in points_m
    ]
    assert all(joints is not None for joints in found)
    return found


TABLE = [(x, y, 0.03) for x in (0.2, 0.34) for y in (-0.15, 0.0, 0.15)]


def test_taught_limits_are_loaded_by_the_guard_and_never_looser(tmp_path):
    result = solve_workspace(
        touches(TABLE), touches([(0.05, -0.1, 0.1), (0.33, 0.12, 0.2)]), GuardConfig()
    )
    assert result.plane_rms_m < 2e-4
    path = tmp_path / "limits.yaml"
    path.write_text(result.limits_yaml())
    limits, coded = load_config(GuardConfig, [path]), GuardConfig()
    assert limits.box_low_m[0] == coded.box_low_m[0]  # taught 0.05, the guard's 0.10 stays
    assert "x: taught 0.050 m, the guard's limit 0.100 m stays" in result.changes
    assert limits.box_high_m == pytest.approx((0.33, 0.12, 0.2), abs=1e-3)
    assert limits.floor_m == pytest.approx(0.033, abs=1e-3)
    assert all(gate.is_kept for gate in result.gates)


def test_a_crooked_table_or_touches_on_a_line_break_gates():
    box = touches([(0.15, -0.1, 0.05), (0.33, 0.12, 0.2)])
    bumpy = [(x, y, z + 0.02 * (i % 2)) for i, (x, y, z) in enumerate(TABLE)]
    broken = [
        g.name for g in solve_workspace(touches(bumpy), box, GuardConfig()).gates if not g.is_kept
    ]
    assert "table plane rms" in broken
    line = [(0.2 + 0.03 * k, 0.0, 0.03) for k in range(5)]
    broken = [
        g.name for g in solve_workspace(touches(line), box, GuardConfig()).gates if not g.is_kept
    ]
    assert "spread of the touches" in broken


def test_too_few_touches_and_wrong_units_are_refused():
    box = touches([(0.15, -0.1, 0.05), (0.33, 0.12, 0.2)])
    with pytest.raises(CalibrationError, match="3 touches of the table, must be at least 4"):
        solve_workspace(touches(TABLE[:3]), box, GuardConfig())
    with pytest.raises(CalibrationError, match="Are they in radians"):
        solve_workspace([np.degrees(q) for q in touches(TABLE)], box, GuardConfig())
    with pytest.raises(CalibrationError, match=r"leaves less than 0.02 m on a side"):
        solve_workspace(touches(TABLE), [box[0], box[0]], GuardConfig())


def test_the_bridge_view_goes_and_a_moved_camera_does_not():
    same = compare_view(bridge_camera(), reference_intrinsics())
    assert same.apart_m < 1e-9
    assert same.apart_px < 1e-6
    moved = bridge_camera().copy()
    moved[:3, 3] -= 0.08 * moved[:3, 0]  # 80 mm to its left: it must go right
    result = compare_view(moved, reference_intrinsics())
    assert [g.is_kept for g in result.gates] == [False, True, False]
    assert result.advice.startswith("move it 80 mm right, 0 mm ")
    nodded = bridge_camera() @ pose(rotation_from_vector(np.array([-0.2, 0.0, 0.0])), np.zeros(3))
    assert "11.5 degrees up" in compare_view(nodded, reference_intrinsics()).advice


def test_the_overlay_shows_both_grids():
    live = np.zeros((240, 320, 3), np.uint8)
    moved = bridge_camera().copy()
    moved[:3, 3] += np.array([0.02, 0.02, 0.0])
    drawn = overlay(live, None, moved, reference_intrinsics())
    assert drawn.shape == (480, 640, 3)
    assert (drawn == (0, 255, 0)).all(axis=2).sum() > 300
    assert (drawn == (255, 220, 0)).all(axis=2).sum() > 300
