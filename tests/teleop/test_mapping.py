"""Dead zone, scale and frame: continuous, odd, and never more than was asked for."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_agent.core import wx250s
from robot_agent.core.errors import ConfigError, InputError
from robot_agent.core.geometry import rotation_from_rpy
from robot_agent.teleop.mapping import (
    MappingConfig,
    delta_from_deflection,
    delta_to_pose,
    without_dead_zone,
)
from robot_agent.teleop.sample import ToolView, require_finite, require_pose

axis = st.floats(-1.5, 1.5)


@given(value=axis, zone=st.floats(0.0, 0.9))
def test_a_dead_zone_is_odd_bounded_and_begins_at_nothing(value, zone):
    here = float(without_dead_zone(np.array([value]), zone)[0])
    there = float(without_dead_zone(np.array([-value]), zone)[0])
    assert here == -there
    assert abs(here) <= 1.0
    assert (here == 0.0) == (min(abs(value), 1.0) <= zone)
    nudged = float(without_dead_zone(np.array([value + 1e-6]), zone)[0])
    assert 0.0 <= nudged - here < 2e-5


@given(deflection=st.lists(axis, min_size=6, max_size=6), frame=st.sampled_from(["base", "tool"]))
def test_no_deflection_asks_for_more_than_the_speed(deflection, frame):
    config = MappingConfig(frame=frame, frame_rpy_deg=(10.0, -40.0, 90.0))
    tool = ToolView(wx250s.forward(wx250s.NEUTRAL_RAD), 1.0, True)
    delta = delta_from_deflection(np.array(deflection), config, tool)
    assert np.linalg.norm(delta[:3]) <= math.sqrt(3) * 0.1 * 0.2 + 1e-12
    assert np.linalg.norm(delta[3:]) <= math.sqrt(3) * 0.6 * 0.2 + 1e-12


def test_the_frame_of_the_tool_turns_with_the_tool():
    push = np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    tool = ToolView(wx250s.pose_at(np.array([0.28, 0.0, 0.15])), 1.0, True)  # x points down
    base = delta_from_deflection(push, MappingConfig(), tool)
    along = delta_from_deflection(push, MappingConfig(frame="tool"), tool)
    assert np.allclose(base[:3], [0.02, 0, 0])
    assert np.allclose(along[:3], [0, 0, -0.02], atol=1e-12)


def test_an_operator_who_faces_the_robot_turns_the_axes():
    push = np.array([1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    config = MappingConfig(frame_rpy_deg=(0.0, 0.0, 180.0))
    assert np.allclose(delta_from_deflection(push, config, None)[:3], [-0.02, 0, 0])


def test_the_way_to_a_pose_is_walked_in_steps_and_ends_there():
    T, goal = np.eye(4), np.eye(4)
    goal[:3, 3], goal[:3, :3] = (0.05, -0.02, 0.03), rotation_from_rpy(np.array([0.2, -0.1, 0.4]))
    config = MappingConfig()
    for _ in range(10):
        delta = delta_to_pose(goal, T, config)
        assert np.linalg.norm(delta[:3]) <= 0.02 + 1e-12
        assert np.linalg.norm(delta[3:]) <= 0.12 + 1e-12
        T[:3, 3] += delta[:3]
        T[:3, :3] = rotation_from_rpy(delta[3:]) @ T[:3, :3]
    assert np.allclose(T, goal, atol=1e-3)


@pytest.mark.parametrize(
    "wrong", [{"speed_mps": 0.3}, {"scale": 9.0}, {"dead_zone": 1.0}, {"turn_radps": 0.0}]
)
def test_a_mapping_beyond_the_guards_reach_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        MappingConfig(**wrong)


def test_angles_and_frames_that_cannot_be_meant_are_refused():
    with pytest.raises(ConfigError, match="must be base or tool"):
        MappingConfig(frame="camera")
    with pytest.raises(ConfigError, match="three finite angles"):
        MappingConfig(frame_rpy_deg=(0.0, float("nan"), 0.0))


def test_what_is_no_pose_is_refused_and_what_is_one_is_kept():
    with pytest.raises(InputError, match=r"length 0\.000"):
        require_pose("hand", np.zeros(3), np.zeros(4))
    with pytest.raises(InputError):
        require_pose("hand", np.array([0.0, float("inf"), 0.0]), np.array([0, 0, 0, 1.0]))
    with pytest.raises(InputError, match="finite"):
        require_finite("stick", np.array([0.0, float("nan")]))
    T = require_pose(
        "hand", np.array([1.0, 2.0, 3.0]), np.array([0, 0, math.sin(0.2), math.cos(0.2)])
    )
    assert np.allclose(T[:3, :3], rotation_from_rpy(np.array([0, 0, 0.4])))
    assert T[:3, 3].tolist() == [1.0, 2.0, 3.0]
