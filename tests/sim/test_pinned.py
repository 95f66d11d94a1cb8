"""The table's scenes are what they were when the shipped weights were made."""

import numpy as np
import pytest

from robot_agent.sim.robot import SimRobot
from robot_agent.sim.scenes import HOME, NOVEL

START_RAD = [-0.399115375, -0.278205931, 0.265612144, -9e-09, 1.583390113, -0.399115379]
START_OPENING_M = 0.048507483
# Joints and opening after ACTIONS from reset 7; grey levels of the first picture in 4 x 4 parts.
PINNED = {
    "home": (
        [-0.366652391, 0.435432299, -0.077197428, 0.117666225, 1.259374315, -0.604715293],
        0.048507483,
        [
            [136.3, 156.8, 49.5, 94.6],
            [136.3, 127.6, 145.7, 122.5],
            [136.3, 136.2, 132.2, 137.9],
            [135.9, 136.7, 137.4, 138.2],
        ],
    ),
    "kitchen": (
        [-0.359753298, 0.455390455, -0.102770696, 0.116007725, 1.263266295, -0.596541732],
        0.048507483,
        [
            [95.7, 57.6, 52.9, 109.0],
            [96.0, 95.9, 73.2, 97.6],
            [95.7, 94.0, 94.0, 99.0],
            [95.7, 96.8, 98.7, 100.6],
        ],
    ),
    "study": (
        [-0.333901491, 0.368693565, -0.124607488, 0.177430407, 1.28098692, -0.590338628],
        0.019680307,
        [
            [187.0, 155.7, 47.6, 107.9],
            [187.0, 143.3, 78.2, 162.9],
            [187.0, 187.0, 176.7, 188.0],
            [150.3, 187.5, 187.8, 188.8],
        ],
    ),
    "nursery": (
        [-0.377844513, 0.349539072, 0.000614518, 0.108477894, 1.26724223, -0.621284029],
        0.060019021,
        [
            [215.1, 184.0, 167.8, 212.3],
            [216.3, 173.9, 140.0, 182.4],
            [216.3, 198.9, 137.8, 182.8],
            [216.4, 216.9, 217.1, 217.3],
        ],
    ),
}
ACTIONS = np.array(
    [[0.02, 0.01, -0.02, 0.0, 0.0, 0.05, 0.0]] * 4
    + [[0.025, -0.012, -0.01, 0.02, 0.0, 0.0, 0.0]] * 6
    + [[-0.02, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]] * 4
)


@pytest.fixture(scope="module")
def robot():
    made = SimRobot(HOME)
    yield made
    made.world.close()


@pytest.mark.parametrize("name", PINNED)
def test_a_scene_of_the_table_is_what_it_was(robot, name):
    joints_rad, opening_m, levels = PINNED[name]
    robot.reset(7, "open", {"home": HOME, **NOVEL}[name])
    assert robot.world.joints_rad == pytest.approx(START_RAD, abs=1e-8)
    assert robot.world.drawer_m == pytest.approx(START_OPENING_M, abs=1e-8)
    parts = robot.world.render_model_view().reshape(4, 16, 4, 16, 3).mean((1, 3, 4))
    assert parts == pytest.approx(np.array(levels), abs=0.6), "looks different"
    for action in ACTIONS:
        robot.execute(action)
    assert robot.world.joints_rad == pytest.approx(joints_rad, abs=1e-5)
    assert robot.world.drawer_m == pytest.approx(opening_m, abs=1e-5)


def test_leaving_the_table_and_coming_back_changes_nothing(robot):
    from robot_agent.sim.scenes import CELL_SCENES

    robot.reset(7, "to_sink", CELL_SCENES["sink"])
    test_a_scene_of_the_table_is_what_it_was(robot, "study")
