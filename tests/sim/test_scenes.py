"""Instructions name tasks, and a wrong one is told the right ones; scenes vary as they say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_agent.core.errors import InputError
from robot_agent.sim.scenes import HOME, broad_scene
from robot_agent.sim.tasks import TASKS, task_of


def test_case_and_spaces_of_an_instruction_do_not_matter():
    assert task_of("  Open   THE drawer ") == "open"
    assert task_of("close the drawer") == "close"


@pytest.mark.parametrize("instruction", ["", "   ", "open the door"])
def test_an_instruction_of_no_task_is_refused_with_the_known_ones(instruction):
    with pytest.raises(InputError) as refused:
        task_of(instruction)
    assert str(refused.value) == (
        f"instruction '{instruction}' is of no task this robot knows. "
        f"Choose one of: {', '.join(TASKS)}."
    )


@given(st.text())
def test_any_text_is_a_task_or_an_input_error(instruction):
    try:
        assert task_of(instruction) in TASKS.values()
    except InputError as error:
        assert "Choose one of" in str(error)


@given(st.integers(0, 2**32 - 1))
def test_a_varied_scene_stays_near_its_own(seed):
    varied = HOME.varied(np.random.default_rng(seed))
    assert abs(varied.drawer_x_m - HOME.drawer_x_m) <= 0.007
    assert abs(varied.drawer_y_m - HOME.drawer_y_m) <= 0.007
    assert abs(varied.drawer_yaw_rad - HOME.drawer_yaw_rad) <= 0.035
    assert varied.rail_friction_n == HOME.rail_friction_n


def test_broad_scenes_differ_and_follow_from_the_seed():
    scenes = [broad_scene(np.random.default_rng(seed)) for seed in (1, 2, 1)]
    assert scenes[0] == scenes[2]
    assert scenes[0] != scenes[1]
