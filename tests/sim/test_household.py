"""The file of homes: twelve novel ones, refused when wrong; and the home distribution."""

from dataclasses import replace

import numpy as np
import pytest

from robot_agent.core.errors import ConfigError, InputError
from robot_agent.evaluate.comparison import seeds_of
from robot_agent.evaluate.trial_journal import fingerprint_of_scene
from robot_agent.sim.attempt import attempt
from robot_agent.sim.household import (
    draw_home,
    home_variant,
    household,
    load_home_axes,
    load_household,
    scene_named,
    scenes_named,
)
from robot_agent.sim.robot import SimRobot
from robot_agent.sim.scenes import CELL_SCENES, HOME, NOVEL
from robot_agent.sim.tasks import tasks_of
from robot_agent.sim.world import SimWorld


def test_the_suite_is_twelve_homes_half_of_them_with_a_sink():
    homes = household()
    assert [home.cell for home in homes.values()].count("sink") == 6
    assert len(homes) == 12
    assert len({str(replace(home.scene, name="")) for home in homes.values()}) == 12
    for home in homes.values():
        assert home.description.endswith(".")
        assert any(value > 0.0 for value in home.axes.values())


def test_every_axis_is_somewhere_in_the_suite():
    from robot_agent.sim.variation import AXES

    used = {axis for home in household().values() for axis in home.axes}
    assert used == set(AXES)


def test_the_home_distribution_is_mild_and_named_home():
    assert max(load_home_axes().values()) <= 0.3
    variants = [home_variant(seed) for seed in range(5)]
    assert {variant.name for variant in variants} == {"home"}
    assert len({str(variant) for variant in variants}) == 5
    assert home_variant(2) == variants[2]


FILE = """
version: {version}
home: {{light: 0.2}}
household:
  - {{name: {name}, cell: {cell}, seed: {seed}, description: A home., axes: {{{axis}: {value}}}}}
  - {{name: other, cell: drawer, seed: 0, description: Another., axes: {{}}}}
"""
RIGHT = {"version": 1, "name": "a", "cell": "drawer", "seed": 0, "axis": "mass", "value": 0.5}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"axis": "weather"}, "scene 'a': axis 'weather' is unknown. Choose from: camera_pose,"),
        ({"value": 1.2}, "scene 'a': axis 'mass': severity 1.2 is outside [0, 1]."),
        ({"name": "other"}, "scene 'other' must have a name of its own without '@'. Rename it."),
        ({"name": "kitchen"}, "scene 'kitchen' must have a name of its own"),
        ({"name": "a@real"}, "scene 'a@real' must have a name of its own without '@'"),
        (
            {"cell": "stove"},
            "scene 'a': cell 'stove' is unknown. Choose one of: table, drawer, sink.",
        ),
        ({"seed": -1}, "scene 'a': seed -1 must be 0 or more."),
        ({"version": 2}, "version 2 is unknown, must be 1. Update the program."),
    ],
)
def test_a_wrong_file_is_refused_with_value_limit_and_remedy(tmp_path, wrong, told):
    path = tmp_path / "homes.yaml"
    path.write_text(FILE.format(**RIGHT), encoding="utf-8")
    assert load_household(path).household[0].scene.name == "a"
    path.write_text(FILE.format(**{**RIGHT, **wrong}), encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        load_household(path)
    assert "homes.yaml" in str(refused.value)
    assert told in str(refused.value)


def test_names_find_scenes_and_physics():
    assert scene_named("home") is HOME
    assert scene_named("kitchen") is NOVEL["kitchen"]
    assert scene_named("farmhouse").name == "farmhouse"
    real = scene_named("kitchen@real")
    assert real == replace(NOVEL["kitchen"], name="kitchen@real", physics="real")
    assert scene_named("home@trainer").physics == "trainer"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "garage",
            "scene 'garage' is unknown. Choose one of: home, drawer, sink, kitchen, study",
        ),
        ("home@mars", "physics 'mars' is unknown. Choose one of: trainer, real."),
        ("home@", "physics '' is unknown."),
    ],
)
def test_an_unknown_name_is_refused_with_the_names(name, told):
    with pytest.raises(InputError) as refused:
        scene_named(name)
    assert str(refused.value).startswith(told)


def test_suites_have_names():
    assert [scene.name for scene in scenes_named("table")] == ["home", *NOVEL]
    assert [scene.name for scene in scenes_named("household")] == [*household()]
    assert [scene.name for scene in scenes_named("novel@real")] == [f"{n}@real" for n in NOVEL]
    assert [scene.name for scene in scenes_named("home, farmhouse")] == ["home", "farmhouse"]


def test_other_physics_start_alike_and_count_as_other_trials():
    starts = [seeds_of(name, "open the drawer", 5) for name in ("home", "home@real")]
    assert starts[0] == starts[1]
    first, second = (fingerprint_of_scene(scene_named(n)) for n in ("home", "home@real"))
    assert first != second


@pytest.mark.slow
@pytest.mark.parametrize("name", list(household()))
def test_the_hands_can_work_in_a_household_and_it_does_not_look_like_home(name):
    scene = scene_named(name)
    robot, home = SimRobot(scene), SimWorld(CELL_SCENES[scene.cell])
    apart = np.abs(robot.world.render(64, 48).astype(int) - home.render(64, 48).astype(int))
    home.close()
    assert apart.mean() > 10.0, "looks like home"
    tries = [
        attempt(robot, scene, task, seed).is_success
        for task in tasks_of(scene.cell)
        for seed in (0, 1)
    ]
    robot.world.close()
    assert sum(tries) >= 3, f"{sum(tries)} of {len(tries)}"


def test_a_share_of_homes_is_drawn_from_the_distribution():
    drawn = [draw_home("sink", 0.5, np.random.default_rng(seed)) for seed in range(40)]
    plain = [scene == CELL_SCENES["sink"] for scene in drawn]
    assert 8 <= sum(plain) <= 32
    assert {scene.cell for scene in drawn} == {"sink"}
    again = draw_home("sink", 1.0, np.random.default_rng(0))
    assert again == draw_home("sink", 1.0, np.random.default_rng(0)) != CELL_SCENES["sink"]
