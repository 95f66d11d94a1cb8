"""Axes: nothing at severity 0, further with more, each on its own."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from robot_agent.core.errors import ConfigError
from robot_agent.sim.scenes import HOME
from robot_agent.sim.variation import AXES, check_axes, vary

SINK = replace(HOME, cell="sink")


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("scene", [HOME, SINK], ids=["drawer", "sink"])
def test_severity_0_changes_nothing(scene, axis):
    assert all(vary(scene, {axis: 0.0}, seed) == scene for seed in range(20))


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("scene", [HOME, SINK], ids=["drawer", "sink"])
def test_severity_1_changes_something_and_follows_from_the_seed(scene, axis):
    varied = [vary(scene, {axis: 1.0}, seed) for seed in range(12)]
    assert all(each != scene for each in varied)
    assert len({str(each) for each in varied}) > 1
    assert vary(scene, {axis: 1.0}, 3) == varied[3]


def numbers(scene):
    plain = asdict(scene)
    plain.pop("distractors")
    plain["table_contrast"] = plain.pop("table_texture")["contrast"]
    plain["wall_contrast"] = plain.pop("wall_texture")["contrast"]
    found = {}
    for name, value in plain.items():
        if isinstance(value, int | float):
            found[name] = np.array([value])
        elif isinstance(value, tuple):
            found[name] = np.array(value, float)
    return found


@pytest.mark.parametrize("axis", [axis for axis in AXES if axis != "object_shape"])
@pytest.mark.parametrize("scene", [HOME, SINK], ids=["drawer", "sink"])
def test_more_severity_goes_further_the_same_way(scene, axis):
    base = numbers(scene)
    for seed in range(10):
        before = {name: np.zeros_like(value) for name, value in base.items()}
        for severity in (0.2, 0.5, 1.0):
            away = {
                name: np.abs(value - base[name])
                for name, value in numbers(vary(scene, {axis: severity}, seed)).items()
            }
            assert all((away[name] >= before[name] - 1e-12).all() for name in base), (axis, seed)
            before = away


def test_another_shape_is_more_likely_with_more_severity():
    others = [
        sum(vary(HOME, {"object_shape": s}, seed).handle_shape != "bar" for seed in range(200))
        for s in (0.0, 0.3, 1.0)
    ]
    assert others[0] == 0
    assert 35 < others[1] < 85
    assert others[2] == 200


def test_fewer_things_are_the_first_of_more():
    for seed in range(10):
        few, many = (vary(HOME, {"distractors": s}, seed).distractors for s in (0.4, 1.0))
        assert few == many[: len(few)]
        assert 1 <= len(few) <= 2
        assert len(many) <= 5


def test_axes_do_not_disturb_each_other():
    both = vary(HOME, {"mass": 0.7, "light": 0.5}, 4)
    assert both == vary(vary(HOME, {"light": 0.5}, 4), {"mass": 0.7}, 4)
    assert both == vary(HOME, {"light": 0.5, "mass": 0.7}, 4)


@pytest.mark.parametrize(
    ("axes", "told"),
    [
        ({"weather": 0.5}, "axis 'weather' is unknown. Choose from: camera_pose, light,"),
        ({"light": 1.5}, "axis 'light': severity 1.5 is outside [0, 1]. 0 is home,"),
        ({"light": float("nan")}, "severity nan is outside [0, 1]"),
        ({"light": True}, "severity True must be a number in [0, 1]"),
        ({"light": "much"}, "severity 'much' must be a number in [0, 1]"),
    ],
)
def test_a_wrong_axis_is_told_with_its_value_limit_and_remedy(axes, told):
    with pytest.raises(ConfigError) as refused:
        check_axes(axes)
    assert told in str(refused.value)
