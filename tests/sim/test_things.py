"""Things stand out of the way, are seen, and are touched by nothing."""

from dataclasses import replace

import mujoco
import numpy as np
import pytest

from robot_agent.core.errors import ConfigError
from robot_agent.sim.household import home_variant, household
from robot_agent.sim.mjcf import build_mjcf
from robot_agent.sim.placing import KEEP_OUT_M, has_room, place_things
from robot_agent.sim.scenes import HOME
from robot_agent.sim.things import HEIGHT_M, KINDS, RADIUS_M, Thing
from robot_agent.sim.variation import vary
from robot_agent.sim.world import SimWorld


@pytest.fixture(scope="module")
def alone():
    world = SimWorld(replace(HOME, jitter=0.0))
    yield world.render(320, 240).astype(int)
    world.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_thing_has_the_stated_size_and_touches_nothing(kind):
    scene = replace(HOME, distractors=(Thing(kind, 0.3, 0.3, 0.0, (0.5, 0.5, 0.5)),))
    model = mujoco.MjModel.from_xml_string(build_mjcf(scene))
    body = model.body("thing_0").id
    geoms = np.flatnonzero(model.geom_bodyid == body)
    assert len(geoms) >= 3
    assert not model.geom_contype[geoms].any()
    assert not model.geom_conaffinity[geoms].any()
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for geom in geoms:
        center, half = model.geom_aabb[geom].reshape(2, 3)
        frame = data.geom_xmat[geom].reshape(3, 3)
        middle, reach = data.geom_xpos[geom] + frame @ center, np.abs(frame) @ half
        low, high = np.minimum(low, middle - reach), np.maximum(high, middle + reach)
    assert low[2] == pytest.approx(0.0, abs=0.002)
    assert high[2] == pytest.approx(HEIGHT_M[kind], abs=0.006)
    assert np.hypot(*(high - low)[:2]) / 2 < 1.9 * RADIUS_M[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_a_thing_is_seen_where_it_stands(kind, alone):
    world = SimWorld(replace(HOME, jitter=0.0, distractors=(Thing(kind, 0.36, 0.28),)))
    apart = np.abs(world.render(320, 240).astype(int) - alone).sum(axis=2) > 30
    world.close()
    rows, columns = np.nonzero(apart)
    assert len(rows) > 400
    assert columns.max() < 160, "it stands on the left"


def test_a_thing_changes_no_motion():
    def end(scene):
        world = SimWorld(scene, 5)
        goal = world.joints_rad + 0.15
        for _ in range(30):
            world.tick(goal, -200.0)
        return world.joints_rad, world.drawer_m

    joints, drawer_m = end(HOME)
    others, other_m = end(
        replace(HOME, distractors=place_things(HOME, 5, np.random.default_rng(1)))
    )
    assert np.array_equal(joints, others)
    assert drawer_m == other_m


def test_every_placed_thing_is_out_of_the_way():
    scenes = [vary(HOME, {"distractors": 1.0, "fixture_pose": 1.0}, seed) for seed in range(30)]
    scenes += [home_variant(seed) for seed in range(30)]
    scenes += [home.scene for home in household().values()]
    assert sum(len(scene.distractors) for scene in scenes) > 100
    (low_x, low_y), (high_x, high_y) = KEEP_OUT_M
    for scene in scenes:
        for index, thing in enumerate(scene.distractors):
            assert has_room(scene, thing, scene.distractors[:index])
            reach = thing.radius_m
            beside_x = thing.x_m < low_x - reach or thing.x_m > high_x + reach
            beside_y = thing.y_m < low_y - reach or thing.y_m > high_y + reach
            corner = np.hypot(
                max(low_x - thing.x_m, 0, thing.x_m - high_x),
                max(low_y - thing.y_m, 0, thing.y_m - high_y),
            )
            assert beside_x or beside_y or corner >= reach


def test_the_keep_out_box_holds_where_the_hand_works():
    """A thing in the middle of the work has no room, nor one on the drawer's cabinet."""
    assert not has_room(HOME, Thing("fruit", 0.25, 0.0))
    assert not has_room(HOME, Thing("fruit", HOME.drawer_x_m + 0.1, HOME.drawer_y_m))
    assert has_room(HOME, Thing("fruit", 0.36, 0.28))


def test_an_unknown_thing_is_refused():
    with pytest.raises(ConfigError, match="thing 'cat' is unknown"):
        Thing("cat", 0.0, 0.0)
