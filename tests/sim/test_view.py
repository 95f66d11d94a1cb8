"""What the models see tells heights apart, in every cell, at their 64 pixels."""

import numpy as np
import pytest

from robot_agent.core import wx250s
from robot_agent.sim import snapshot
from robot_agent.sim.fixtures import HANDLE_GAP_M
from robot_agent.sim.scenes import CELL_SCENES
from robot_agent.sim.world import MODEL_SIZE_PX, SimWorld

# SimplerEnv's Bridge camera; another test shows that the model renders with it.
FOCAL_PX, CENTER_PX = 623.588, (319.501, 239.545)


def show_tool_at(world, tool_m):
    """Draw the arm with its tool at a place, everything else as the reset left it."""
    seed = np.array([np.arctan2(tool_m[1], tool_m[0]), -0.3, 0.4, 0.0, 1.5, 0.0])
    joints = wx250s.inverse(wx250s.pose_at(np.array(tool_m)), seed, max_iterations=200)
    assert joints is not None
    qpos = snapshot.take(world)
    columns = [np.flatnonzero(qpos == joint)[0] for joint in world.joints_rad]
    qpos[columns] = joints
    snapshot.show(world, qpos)
    return world.render_model_view().astype(int)


def pixel(world, point_m):
    """Project a point with the camera of the model, to the models' pixels."""
    camera = world._data.camera("bridge")
    right, up, back = camera.xmat.reshape(3, 3).T @ (np.array(point_m) - camera.xpos)
    large = np.array([CENTER_PX[0] - FOCAL_PX * right / back, CENTER_PX[1] + FOCAL_PX * up / back])
    return large * MODEL_SIZE_PX / (640, 480)


def compare(world, first_m, second_m):
    """Return how far the tool moves and how many pixels change, between two places."""
    pictures = [show_tool_at(world, place) for place in (first_m, second_m)]
    changed = np.abs(pictures[0] - pictures[1]).max(axis=2) > 40
    places = [pixel(world, place) for place in (first_m, second_m)]
    for place in places:
        assert ((place > 0) & (place < MODEL_SIZE_PX)).all(), "out of the picture"
    return float(np.linalg.norm(places[0] - places[1])), int(changed.sum())


@pytest.fixture
def world(request):
    made = SimWorld(CELL_SCENES[request.param])
    made.reset(0, {"drawer": "close", "table": "close", "sink": "to_basket"}[request.param])
    yield made
    made.close()


@pytest.mark.parametrize("world", ["drawer", "table"], indirect=True)
def test_over_the_handle_and_behind_it_are_more_than_three_pixels_apart(world):
    truth = world.truth
    corner = truth.T_base_fixture[:3, 3]
    bar_x = corner[0] - truth.drawer_m - HANDLE_GAP_M
    over = (bar_x, corner[1], 0.105)  # the tips are 9 mm over the bar
    behind = (bar_x + HANDLE_GAP_M / 2, corner[1], 0.062)
    apart, changed = compare(world, over, behind)
    assert apart > 3.0, f"{apart:.1f} of {MODEL_SIZE_PX} pixels"
    assert changed > 100, f"{changed} of {MODEL_SIZE_PX**2} pixels change"


@pytest.mark.parametrize("world", ["sink"], indirect=True)
def test_over_the_eggplant_and_at_it_are_more_than_three_pixels_apart(world):
    x, y, z = world.truth.object_m
    apart, changed = compare(world, (x, y, z + 0.05), (x, y, z + 0.004))
    assert apart > 3.0, f"{apart:.1f} of {MODEL_SIZE_PX} pixels"
    assert changed > 60, f"{changed} of {MODEL_SIZE_PX**2} pixels change"
