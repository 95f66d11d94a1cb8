"""Scripted hands act through the guard: demonstrations succeed, play holds near misses."""

import numpy as np
import pytest

from robot_agent.core import wx250s
from robot_agent.sim.demonstrator import Demonstrator, Style, demonstration_style
from robot_agent.sim.play import play_hands
from robot_agent.sim.robot import SimRobot
from robot_agent.sim.scenes import HOME, NOVEL, broad_scene
from robot_agent.sim.truth import Truth

RESETS = 40
MAX_STEPS = 30


@pytest.fixture(scope="module")
def robot():
    return SimRobot(HOME)


def truth_at(tool_m, drawer_m):
    return Truth(
        T_base_tool=wx250s.pose_at(np.array(tool_m)),
        finger_m=wx250s.FINGER_OPEN_M,
        drawer_m=drawer_m,
        T_base_object=np.zeros((4, 4)),
        T_base_fixture=np.eye(4),
    )


def attempt(robot, scene, task, style, seed):
    """Return whether one scripted episode succeeded, and the tool positions of its steps."""
    robot.reset(seed, task, scene)
    rng = np.random.default_rng(seed)
    hand = Demonstrator(scene.varied(np.random.default_rng(seed)), task, style)
    tools = []
    for _ in range(MAX_STEPS):
        robot.execute(hand.disturb(hand.act(robot.world.truth), rng))
        tools.append(robot.world.tool_m)
        if robot.world.success(task):
            break
    return robot.world.success(task), np.array(tools)


@pytest.mark.slow
@pytest.mark.parametrize("scene", [HOME, *NOVEL.values()], ids=lambda scene: scene.name)
def test_demonstrations_succeed_through_the_guard(robot, scene):
    done = 0
    for index in range(RESETS):
        style = demonstration_style(np.random.default_rng(index))
        succeeded, _ = attempt(robot, scene, ("open", "close")[index % 2], style, 1000 + index)
        done += succeeded
    assert done >= 0.9 * RESETS, f"{scene.name}: {done} of {RESETS}"


def test_the_drawer_stays_when_the_hand_passes_above(robot):
    robot.reset(5, "open", HOME)
    opening = robot.world.drawer_m
    scene = HOME.varied(np.random.default_rng(5))
    hand = Demonstrator(scene, "open", Style(aim_m=(0.0, 0.0, 0.075)))
    apart = []
    for _ in range(MAX_STEPS):
        robot.execute(hand.act(robot.world.truth))
        handle = [scene.drawer_x_m - opening, scene.drawer_y_m]
        apart.append(float(np.linalg.norm(robot.world.tool_m[:2] - handle)))
    assert min(apart) < 0.05, "the hand never was above the handle"
    assert abs(robot.world.drawer_m - opening) < 1e-4, "moved without a touch"


def is_near_miss(hand):
    x, y, z = np.abs(hand.style.aim_m)
    return x >= 0.025 or y >= 0.055 or z >= 0.022


def steps_of_near_misses(robot, seed):
    """Return the steps of a play episode in which a near-miss hand is at the handle, in vain."""
    rng = np.random.default_rng(seed)
    scene = broad_scene(rng)
    robot.reset(seed, "", scene)
    outward = np.array([np.cos(scene.drawer_yaw_rad), np.sin(scene.drawer_yaw_rad), 0.0])
    found = 0
    for hand in play_hands(scene, rng, 24):
        opening = robot.world.drawer_m
        robot.execute(hand.disturb(hand.act(robot.world.truth), rng))
        front = np.array([scene.drawer_x_m, scene.drawer_y_m, 0.075])
        handle = front - (opening + 0.0225) * outward
        is_near = np.linalg.norm(robot.world.tool_m - handle) < 0.09
        is_still = abs(robot.world.drawer_m - opening) < 5e-4
        found += is_near_miss(hand) and is_near and is_still
    return found


def test_at_least_three_in_ten_play_episodes_hold_a_near_miss(robot):
    with_one = sum(steps_of_near_misses(robot, seed) >= 4 for seed in range(30))
    assert with_one >= 0.3 * 30, f"{with_one} of 30"


def test_a_clean_action_does_not_depend_on_the_noise():
    hand = Demonstrator(HOME, "close", Style(noise=0.45))
    seen, rng = truth_at([0.2, 0.0, 0.2], 0.05), np.random.default_rng(0)
    clean = hand.act(seen)
    disturbed = [hand.disturb(clean, rng) for _ in range(2)]
    assert np.array_equal(clean, hand.act(seen))
    assert not np.array_equal(*disturbed)
    assert np.linalg.norm(clean[:3]) <= 0.026 + 1e-12


def test_the_gripper_stays_closed_in_a_demonstration():
    hand = Demonstrator(HOME, "open", Style())
    assert hand.act(truth_at([0.2, 0.0, 0.2], 0.05))[6] == 0.0
