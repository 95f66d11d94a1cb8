"""Rotations and poses keep the axioms of SE(3), also at zero and at half a turn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_agent.core.geometry import (
    pose,
    rotation_from_rpy,
    rotation_from_vector,
    rpy_from_rotation,
    skew,
    vector_from_rotation,
)

_ANGLE = st.floats(-3.0, 3.0)
_VECTOR = st.tuples(_ANGLE, _ANGLE, _ANGLE).map(np.array)
_RPY = st.tuples(_ANGLE, st.floats(-1.5, 1.5), _ANGLE).map(np.array)


@given(_VECTOR, _VECTOR)
def test_skew_is_the_cross_product(w, x):
    assert np.allclose(skew(w) @ x, np.cross(w, x))


@given(_VECTOR)
def test_a_rotation_is_orthogonal_and_keeps_its_axis(w):
    R = rotation_from_vector(w)
    assert np.allclose(R @ R.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(R) == pytest.approx(1.0)
    assert np.allclose(R @ w, w, atol=1e-9)


@given(_VECTOR)
def test_a_rotation_comes_back_from_its_vector(w):
    R = rotation_from_vector(w)
    again = vector_from_rotation(R)
    assert np.linalg.norm(again) <= np.pi + 1e-9
    assert np.allclose(rotation_from_vector(again), R, atol=1e-6)


@pytest.mark.parametrize(
    "angle", [0.0, 1e-13, 1e-10, 1e-8, 1e-4, np.pi - 1e-5, np.pi - 1e-9, np.pi]
)
@pytest.mark.parametrize(
    "axis", [[1, 0, 0], [0, 1, 0], [0, 0, -1], [0.6, 0.0, 0.8], [-0.48, 0.6, 0.64]]
)
def test_small_and_half_turns_are_exact(angle, axis):
    R = rotation_from_vector(angle * np.array(axis, float))
    again = vector_from_rotation(R)
    assert np.linalg.norm(again) == pytest.approx(angle, abs=3e-8)
    assert np.allclose(rotation_from_vector(again), R, atol=1e-6)


@given(_RPY)
def test_angles_come_back_from_a_rotation(rpy):
    assert np.allclose(rpy_from_rotation(rotation_from_rpy(rpy)), rpy, atol=1e-9)


@given(_RPY)
def test_angles_compose_about_fixed_axes(rpy):
    turns = [
        rotation_from_vector(angle * axis) for angle, axis in zip(rpy, np.eye(3), strict=True)
    ]
    assert np.allclose(rotation_from_rpy(rpy), turns[2] @ turns[1] @ turns[0], atol=1e-12)


@given(_VECTOR, _VECTOR, _VECTOR, _VECTOR)
def test_poses_form_a_group(w_a, p_a, w_b, p_b):
    T_a, T_b = pose(rotation_from_vector(w_a), p_a), pose(rotation_from_vector(w_b), p_b)
    R_a = T_a[:3, :3]
    inverse = pose(R_a.T, -R_a.T @ p_a)
    assert np.allclose(T_a @ inverse, np.eye(4), atol=1e-9)
    assert np.allclose((T_a @ T_b)[:3, 3], R_a @ p_b + p_a, atol=1e-9)
