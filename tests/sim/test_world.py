"""One simulated arm before one drawer: camera, servos, start states, success."""

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from robot_agent.core.geometry import rotation_from_vector
from robot_agent.sim import snapshot
from robot_agent.sim.scenes import HOME, NOVEL
from robot_agent.sim.world import SimWorld

ROOT = Path(__file__).resolve().parents[2]
# SimplerEnv's Bridge camera, in base_link; OpenCV's axes.
FOCAL_PX, CENTER_PX = 623.588, np.array([319.501, 239.545])
POSITION_M, LOOK = np.array([0.0, -0.16, 0.36]), np.array([1.0, 0.553, -1.085])


@pytest.fixture(scope="module")
def world():
    made = SimWorld(HOME)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def start(request):
    if "world" in request.fixturenames:
        made = request.getfixturevalue("world")
        made.scene = HOME
        made.reset(0)


def camera_axes():
    forward = LOOK / np.linalg.norm(LOOK)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward])


def put_drawer(world, opening_m):
    qpos = snapshot.take(world)
    (column,) = np.flatnonzero(qpos == world.drawer_m)
    qpos[column] = opening_m
    snapshot.show(world, qpos)


# ----------------------------------------------------------------------------------------- camera


@pytest.mark.parametrize("pixel", [(320, 240), (120, 90), (540, 400), (560, 60), (80, 420)])
def test_a_point_is_rendered_where_the_published_camera_projects_it(pixel):
    own = SimWorld(HOME)
    depth_m = 0.15
    ray = np.array([*(np.array(pixel) - CENTER_PX) / FOCAL_PX, 1.0])
    marker = own._model.geom("wall")
    marker.pos[:] = POSITION_M + camera_axes().T @ (depth_m * ray)
    marker.size[:] = 0.0015
    marker.rgba[:] = (1.0, 0.0, 0.0, 1.0)
    snapshot.show(own, snapshot.take(own))
    picture = own.render().astype(int)
    own.close()
    red = (picture[..., 0] > 60) & (picture[..., 0] > 3 * picture[..., 1:].max(axis=2))
    rows, columns = np.nonzero(red)
    assert len(rows) > 20, "the marker is not in the picture"
    # One pixel: half of it is the question whether a pixel's centre or its corner is whole.
    assert np.abs(np.array([columns.mean(), rows.mean()]) - pixel).max() < 1.0


def test_the_small_picture_is_the_large_one_averaged(world):
    for scene in (HOME, *NOVEL.values()):
        world.scene = scene
        world.reset(1)
        averaged = cv2.resize(world.render(), (64, 64), interpolation=cv2.INTER_AREA)
        apart = np.abs(averaged.astype(int) - world.render_model_view().astype(int))
        assert apart.mean() < 1.5, f"{scene.name}: {apart.mean():.2f} grey levels"


@pytest.mark.parametrize("backend", ["nonsense", "glfw"])
def test_rendering_that_cannot_start_says_what_to_install(backend):
    code = (
        "from robot_agent.core.errors import SimulationError\n"
        "try:\n"
        "    from robot_agent.sim.world import SimWorld\n"
        "    from robot_agent.sim.scenes import HOME\n"
        "    SimWorld(HOME).render(64, 48)\n"
        "except SimulationError as error:\n"
        "    print(error)\n"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("DISPLAY", "WAYLAND_DISPLAY")}
    said = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**environment, "MUJOCO_GL": backend},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    assert f"rendering cannot start with MUJOCO_GL={backend}: " in said
    assert "Install libegl1 and libgl1-mesa-dri, or try MUJOCO_GL=osmesa with libosmesa6." in said


# ----------------------------------------------------------------------------------------- servos


@pytest.mark.parametrize("joint", range(6))
def test_a_step_settles_with_the_profile_and_does_not_overshoot(world, joint):
    start = world.joints_rad
    goal = start.copy()
    goal[joint] += 0.1 if joint != 1 else -0.1
    share = []
    for _ in range(30):
        world.tick(goal, 0.0)
        share.append((world.joints_rad[joint] - start[joint]) / (goal[joint] - start[joint]))
    assert share[5] < 0.6, "faster than a 250 ms profile"
    assert share[15] > 0.95, "320 ms after the step: the profile and 70 ms of servo lag"
    assert max(share) < 1.005, "overshoot"
    assert abs(share[-1] - 1.0) < 0.002


def test_an_arm_told_to_stay_stays(world):
    start = world.joints_rad
    for _ in range(50):
        world.tick(start, 0.0)
    assert np.abs(world.joints_rad - start).max() < 1e-3


def test_positive_gripper_effort_opens_and_negative_closes(world):
    joints = world.joints_rad
    for _ in range(50):
        world.tick(joints, -350.0)
    closed = world.finger_m
    for _ in range(50):
        world.tick(joints, 350.0)
    assert closed < 0.016
    assert world.finger_m > 0.034


# ----------------------------------------------------------------------------------- start states


def drive(world, seed):
    world.reset(seed)
    turned = world.joints_rad + np.array([0.2, 0.1, 0.1, 0.0, -0.1, 0.3])
    states = []
    for _ in range(15):
        world.tick(turned, -100.0)
        states.append(snapshot.take(world))
    return np.stack(states), world.render_model_view()


def test_the_same_seed_gives_the_same_states_and_picture(world):
    states, picture = drive(world, 11)
    drive(world, 12)
    again, same_picture = drive(world, 11)
    assert np.array_equal(states, again)
    assert np.array_equal(picture, same_picture)


def test_another_seed_gives_another_state(world):
    assert not np.array_equal(drive(world, 11)[0], drive(world, 12)[0])


def test_both_tasks_share_their_start_states(world):
    for seed in range(20):
        world.reset(seed, "open")
        opened = snapshot.take(world)
        world.reset(seed, "close")
        assert np.array_equal(opened, snapshot.take(world))
        assert not world.success("open")
        assert not world.success("close")


# ---------------------------------------------------------------------------------------- success


@pytest.mark.parametrize(
    ("opening_m", "is_open", "is_closed"),
    [
        (0.0, False, True),
        (0.015, False, True),
        (0.015 + 1e-9, False, False),
        (0.06, False, False),
        (0.105 - 1e-9, False, False),
        (0.105, True, False),
        (0.12, True, False),
    ],
)
def test_success_has_sharp_edges(world, opening_m, is_open, is_closed):
    put_drawer(world, opening_m)
    assert (world.success("open"), world.success("close")) == (is_open, is_closed)


def test_an_untouched_drawer_stays(world):
    opening_m, joints = world.drawer_m, world.joints_rad
    for _ in range(100):
        world.tick(joints, 0.0)
    assert abs(world.drawer_m - opening_m) < 1e-4


def test_the_camera_of_a_turned_scene_still_looks_at_the_table(world):
    world.scene = NOVEL["kitchen"]
    world.reset(0)
    home, turned = SimWorld(HOME)._model.camera("bridge"), world._model.camera("bridge")
    turn = rotation_from_vector(np.array([0.0, 0.0, NOVEL["kitchen"].camera_azimuth_rad]))
    center = np.array([0.332, 0.0235, 0.0])
    assert np.linalg.norm(turned.pos - center) == pytest.approx(np.linalg.norm(home.pos - center))
    sideways = (turn @ (home.pos - center))[:2]
    angle = np.arctan2(*sideways[::-1]) - np.arctan2(*(turned.pos - center)[1::-1])
    assert abs(angle) < 1e-6
