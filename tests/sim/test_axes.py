"""Every axis means on the arm what Bridge means; statistics that do not are found out."""

import numpy as np
import pytest

from robot_agent.core.bridge_action import Normalization
from robot_agent.sim.axes import AXES, wiggle_axes


def found(unnormalize):
    return {(check.axis, check.asked > 0.0): check.passed for check in wiggle_axes(unnormalize)}


def test_bridges_own_scaling_moves_every_axis_both_ways():
    checks = wiggle_axes(Normalization().unnormalize)
    assert [check.axis for check in checks] == [axis for axis in AXES for _ in range(2)]
    assert all(check.passed for check in checks)
    for check in checks[:-2]:
        assert check.moved == pytest.approx(check.asked, rel=0.02)
        assert check.leak < 1e-3


@pytest.mark.parametrize(
    ("change", "axes"),
    [
        (lambda a: a * np.array([1, -1, 1, 1, 1, 1, 1]), {"dy"}),
        (lambda a: a[..., [1, 0, 2, 3, 4, 5, 6]], {"dx", "dy"}),
        (lambda a: a[..., [0, 1, 2, 4, 3, 5, 6]], {"droll", "dpitch"}),
        (lambda a: np.append(a[..., :6], 1.0 - a[..., 6:]), {"gripper"}),
        (lambda a: a * np.array([1, 1, 3, 1, 1, 1, 1]), {"dz"}),
    ],
    ids=["sign", "order", "angles", "gripper", "size"],
)
def test_scaling_of_another_meaning_is_found_by_its_axis(change, axes):
    normalization = Normalization()
    checks = found(lambda unit: change(normalization.unnormalize(unit)))
    assert {axis for (axis, _), passed in checks.items() if not passed} == axes
