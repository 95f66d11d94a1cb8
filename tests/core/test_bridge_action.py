"""The seven numbers mean what Bridge published, number by number."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from robot_agent.core.bridge_action import Q01, Q99, Normalization, compose_target
from robot_agent.core.geometry import pose, rotation_from_rpy, rotation_from_vector

_ACTIONS = hnp.arrays(np.float64, (4, 7), elements=st.floats(-1, 1))
_VECTOR = hnp.arrays(np.float64, 3, elements=st.floats(-1, 1))


def _published(T_target, p_measured_m, action):
    """D = T(p) [R | d] T(-p), then D @ T_target: written as matrices, as the paper's code does."""
    there, back = pose(np.eye(3), p_measured_m), pose(np.eye(3), -p_measured_m)
    return there @ pose(rotation_from_rpy(action[3:6]), action[:3]) @ back @ T_target


@given(_VECTOR, _VECTOR, _VECTOR, hnp.arrays(np.float64, 7, elements=st.floats(-0.25, 0.25)))
def test_the_target_is_the_published_formula(w, p_target_m, p_measured_m, action):
    T_target = pose(rotation_from_vector(w), p_target_m)
    wanted = _published(T_target, p_measured_m, action)
    assert np.allclose(compose_target(T_target, p_measured_m, action), wanted, atol=1e-12)


def test_a_worked_example_of_one_step():
    T = compose_target(
        pose(np.eye(3), np.array([0.3, 0.0, 0.1])),
        np.array([0.2, 0.0, 0.1]),
        np.array([0.01, 0.0, 0.02, 0.0, 0.0, np.pi / 2, 1.0]),
    )
    assert np.allclose(T[:3, 3], [0.21, 0.1, 0.12])
    assert np.allclose(T[:3, 0], [0.0, 1.0, 0.0])


@pytest.mark.parametrize("axis", range(3))
def test_translations_count_up_along_their_own_axis_of_the_base(axis):
    T = pose(rotation_from_vector(np.array([0.3, -0.2, 0.9])), np.zeros(3))
    action = np.zeros(7)
    action[axis] = 0.01
    for count in range(1, 11):
        T = compose_target(T, T[:3, 3], action)
        assert np.allclose(T[:3, 3], 0.01 * count * np.eye(3)[axis], atol=1e-12)


def test_the_gripper_does_not_move_the_tool_and_the_inputs_stay():
    T, p = pose(np.eye(3), np.ones(3)), np.zeros(3)
    open_, closed = np.zeros(7), np.eye(7)[6]
    assert (compose_target(T, p, open_) == compose_target(T, p, closed)).all()
    assert (pose(np.eye(3), np.ones(3)) == T).all()


@given(_ACTIONS)
def test_normalising_and_back_changes_nothing(actions):
    norm = Normalization()
    assert np.allclose(norm.unnormalize(norm.normalize(actions)), actions, atol=1e-12)
    assert np.allclose(norm.normalize(norm.unnormalize(actions)), actions, atol=1e-12)


def test_percentiles_become_one_and_the_gripper_uses_zero_and_one():
    norm = Normalization()
    assert np.allclose(norm.normalize(Q01), -1.0)
    assert np.allclose(norm.normalize(Q99), 1.0)
    assert norm.unnormalize(np.zeros(7))[6] == 0.5
