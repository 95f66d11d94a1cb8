"""Recorded reports of each kind of device become the samples that were meant."""

from types import SimpleNamespace

import numpy as np
import pytest

from robot_agent.core import wx250s
from robot_agent.core.errors import ConfigError, InputError
from robot_agent.core.geometry import rotation_from_rpy
from robot_agent.teleop.follower import Follower, FollowerButtons, hand_pose, leader_pose
from robot_agent.teleop.gamepad import LAYOUTS, Gamepad
from robot_agent.teleop.gripper import GripperPickup
from robot_agent.teleop.hid import HidMouse
from robot_agent.teleop.mapping import MappingConfig, delta_from_deflection
from robot_agent.teleop.sample import ToolView
from robot_agent.teleop.spacemouse import SpaceMouse, deflection_from_hid
from tests.teleop.playback import MS, TOOL, play, recording


def test_a_gamepad_moves_while_its_shoulder_button_is_held():
    pad = Gamepad(MappingConfig())
    said = list(
        play(
            pad,
            recording("gamepad.jsonl"),
            lambda row, ns: pad.read(row["axes"], row["buttons"], ns),
            extra_ms=0,
        )
    )
    held = [ms for ms, sample in said if sample.deadman]
    assert (held[0], held[-1]) == (520, 1960)
    forward = [sample.delta[0] for ms, sample in said if 520 <= ms < 2000]
    assert forward == sorted(forward)
    assert max(forward) == pytest.approx(0.02)
    assert not any(sample.delta[1] for _, sample in said), "a worn stick creeps"
    before = [sample.gripper for ms, sample in said if ms < 1200]
    after = [sample.gripper for ms, sample in said if 1240 <= ms < 2000]
    assert set(before) == {None}
    assert set(after) == {0.0}
    assert said[-1][1].gripper is None
    assert [sample.event for _, sample in said if sample.event] == ["success"] * 5


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_can_move_grip_and_judge(layout):
    pad, found = Gamepad(MappingConfig(), layout), LAYOUTS[layout]
    axes, buttons = [0.0] * 8, [0] * 16
    axes[found.z[0]], buttons[found.deadman] = 1.0, 1
    pad.read(axes, buttons, 0)
    assert pad.poll(0, TOOL).delta[2] == pytest.approx(0.02)
    for number, event in found.events.items():
        down = list(buttons)
        down[number] = 1
        pad = Gamepad(MappingConfig(), layout)
        pad.read(axes, down, 0)
        assert pad.poll(0, TOOL).event == event


def test_a_gamepad_of_another_kind_or_with_nonsense_is_refused():
    pad = Gamepad(MappingConfig())
    with pytest.raises(InputError, match="2 axes and 3 buttons"):
        pad.read([0.0, 0.0], [0, 0, 0], 0)
    with pytest.raises(InputError, match="finite"):
        pad.read([float("nan")] * 8, [0] * 11, 0)
    assert pad.poll(0, TOOL) is None, "nonsense is no sign of life"
    with pytest.raises(ConfigError, match="joy or game_controller"):
        Gamepad(MappingConfig(), "wheel")


def test_a_cap_moves_while_it_is_deflected_and_lets_go_a_moment_later():
    mouse = SpaceMouse(MappingConfig())

    def feed(row, ns):
        mouse.move(np.array(row["twist"]), ns)
        mouse.press(row["buttons"], ns)

    said = list(play(mouse, recording("spacenav.jsonl"), feed, extra_ms=2000))
    held = [ms for ms, sample in said if sample.deadman]
    assert 1040 <= held[0] <= 1120
    assert 2680 <= held[-1] <= 2840  # the button at 2200 to 2300 ms, then half a second
    assert max(sample.delta[0] for _, sample in said) > 0.012
    assert max(np.abs(sample.delta[1]) for _, sample in said) == 0.0
    assert {sample.gripper for ms, sample in said if 2240 <= ms <= 2600} == {0.0}
    # It rests in silence for two seconds, and is not lost.
    assert said[-1][1].stamp_ns == said[-1][0] * MS


def test_a_cap_that_falls_silent_while_deflected_is_lost():
    mouse = SpaceMouse(MappingConfig())
    mouse.move(np.array([0.8, 0, 0, 0, 0, 0]), 0)
    sample = mouse.poll(300 * MS, TOOL)
    assert sample.deadman
    assert sample.stamp_ns == 0


def _hid(**changes):
    state = {"t": 0.0, "x": 0.0, "y": 0.0, "z": 0.0, "roll": 0.0, "pitch": 0.0, "yaw": 0.0}
    return SimpleNamespace(**{**state, "buttons": [0, 0], **changes})


def test_a_usb_mouse_pushed_forward_moves_the_tool_forward_and_unplugged_is_said():
    states = [_hid(t=1.0, y=0.0, x=0.0), _hid(t=2.0, x=0.0, y=1.0), None]
    device = SimpleNamespace(read=lambda: states.pop(0), close=lambda: None)
    mouse = SpaceMouse(MappingConfig())
    hid = HidMouse(mouse, lambda: device)
    hid.look(0)
    hid.look(20 * MS)
    sample = mouse.poll(20 * MS, TOOL)
    assert np.allclose(sample.delta[:3], [0.02, 0, 0])
    hid.look(40 * MS)
    assert mouse.poll(300 * MS, TOOL).stamp_ns == 20 * MS, "silence of a held cap is a loss"

    def unplugged():
        raise OSError("no device")

    device.read = unplugged
    with pytest.raises(InputError, match="cannot be read: no device"):
        hid.look(60 * MS)


def test_a_person_who_faces_the_arm_has_the_mapping_of_hil_serl():
    values = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    config = MappingConfig(dead_zone=0.0, frame_rpy_deg=(0.0, 0.0, 180.0))
    delta = delta_from_deflection(deflection_from_hid(values), config, None)
    x, y, z, roll, pitch, yaw = values
    assert np.allclose(delta[:3] / 0.02, [-y, x, z])
    assert np.allclose(delta[3:] / 0.12, [-roll, -pitch, -yaw])


def follow(device, feed, rows, **options):
    """Play a pose to a follower over a guard that carries out what is asked every 0.2 s."""
    arm = SimpleNamespace(T=TOOL.T_base_tool.copy(), since=0, steps=0, is_operated=False)
    said = []
    for ms, sample in play(
        device, rows, feed, tool=lambda: ToolView(arm.T, 1.0, arm.is_operated), **options
    ):
        said.append((ms, sample))
        arm.is_operated = sample.deadman
        if sample.deadman and ms - arm.since >= 200:
            arm.since = ms
            T = arm.T.copy()
            T[:3, 3] += sample.delta[:3]
            T[:3, :3] = rotation_from_rpy(sample.delta[3:]) @ T[:3, :3]
            arm.T = T
    return arm.T, said


def test_the_tool_repeats_the_hands_motion_since_the_grip():
    hand = Follower(MappingConfig(), FollowerButtons(gripper_axis=0))

    def feed(row, ns):
        hand.follow(hand_pose(np.array(row["p"]), np.array(row["q"], float)), ns)
        hand.press(row["axes"], row["buttons"], ns)

    rows = recording("hand.jsonl")
    T, said = follow(hand, feed, rows, extra_ms=0)
    held = [ms for ms, sample in said if sample.deadman]
    assert (held[0], held[-1]) == (520, 2760)
    first = next(sample for _, sample in said if sample.deadman)
    assert not first.delta.any(), "a grip moves nothing by itself"
    # 0.1 m and 0.05 m at 0.1 m/s, of which 0.112 m are the straight way.
    moved_m = T[:3, 3] - TOOL.T_base_tool[:3, 3]
    assert np.allclose(moved_m, [0, 0.1, 0.05], atol=0.004), moved_m
    assert np.allclose(
        T[:3, :3], rotation_from_rpy(np.array([0, 0, 0.3])) @ TOOL.T_base_tool[:3, :3], atol=0.02
    )
    openings = [(ms, sample.gripper) for ms, sample in said if sample.deadman]
    assert {opening for ms, opening in openings if ms < 1500} == {None}, "not moved on purpose"
    assert {opening for ms, opening in openings if ms >= 1520} == {0.0}


def test_lost_tracking_ends_the_grip_until_it_is_taken_again():
    hand = Follower(MappingConfig())
    pose = np.eye(4)

    def at(x, ms):
        T = pose.copy()
        T[0, 3] = x
        hand.follow(T, ms * MS)

    def grip(is_down, ms):
        hand.press([], [int(is_down)], ms * MS)

    at(0.0, 0)
    grip(True, 0)
    hand.poll(0, TOOL)
    with pytest.raises(InputError, match=r"jumped by 0\.50 m, limit 0\.10 m"):
        at(0.5, 20)
    assert not hand.poll(20 * MS, TOOL).deadman
    grip(True, 40)
    assert not hand.poll(40 * MS, TOOL).deadman
    grip(False, 60)
    grip(True, 80)
    sample = hand.poll(80 * MS, TOOL)
    assert sample.deadman
    assert not sample.delta.any()


def test_a_follower_is_as_old_as_the_older_of_pose_and_buttons():
    hand = Follower(MappingConfig())
    assert hand.poll(0, TOOL) is None
    hand.follow(np.eye(4), 500 * MS)
    hand.press([], [1], 100 * MS)
    assert hand.poll(500 * MS, TOOL).stamp_ns == 100 * MS


def test_a_leader_of_the_same_kind_is_followed_with_its_gripper():
    leader = Follower(MappingConfig())
    start = wx250s.NEUTRAL_RAD
    goal = start + np.array([0.2, 0.05, -0.05, 0.0, 0.1, 0.1])
    rows = [{"t_ms": 20 * k, "u": min(k / 100, 1.0)} for k in range(200)]

    def feed(row, ns):
        leader.open(1.0 if row["u"] < 0.5 else 0.3)
        leader.follow(leader_pose(start + row["u"] * (goal - start)), ns)
        leader.press([], [1], ns)

    T, said = follow(leader, feed, rows, extra_ms=0)
    way = leader_pose(goal)[:3, 3] - leader_pose(start + 0.0 * goal)[:3, 3]
    assert np.allclose(T[:3, 3] - TOOL.T_base_tool[:3, 3], way, atol=0.006)
    assert said[-1][1].gripper == pytest.approx(0.3)
    with pytest.raises(InputError, match="leader joints"):
        leader_pose(np.zeros(5))
    with pytest.raises(InputError):
        leader_pose(np.array([np.nan] * 6))


def test_a_trigger_takes_hold_only_when_it_is_moved_after_the_takeover():
    pickup = GripperPickup()
    assert pickup.look(0.2, is_held=True) is None
    assert pickup.look(0.3, is_held=True) is None
    assert pickup.look(0.4, is_held=True) == 0.4
    assert pickup.look(0.2, is_held=True) == 0.2
    assert pickup.look(0.2, is_held=False) is None
    assert pickup.look(0.9, is_held=True) is None


def test_the_button_that_grips_says_nothing():
    hand = Follower(MappingConfig(), FollowerButtons(deadman=1))
    hand.follow(np.eye(4), 0)
    hand.press([], [0, 1], 0)
    assert hand.poll(0, TOOL).event == ""
    with pytest.raises(InputError, match="are configured"):
        Follower(MappingConfig(), FollowerButtons(deadman=7)).press([], [0], 0)
