"""Partial reward by the simulator's state: rises towards the task, falls towards its opposite."""

import numpy as np
import pytest

from robot_agent.sim.fixtures import BASIN, BASKET
from robot_agent.sim.progress import progress, share_of, shares_of_objects
from robot_agent.sim.scenes import CELL_SCENES, TRAVEL_M
from robot_agent.sim.tasks import CLOSE, OPEN, TO_BASKET, TO_SINK
from robot_agent.sim.truth import Truth

SINK = CELL_SCENES["sink"]


def truth(drawer_m=0.0, object_y_m=None):
    T_fixture, T_object = np.eye(4), np.zeros((4, 4))
    if object_y_m is not None:
        T_fixture[:3, 3] = SINK.sink_x_m, SINK.sink_y_m, 0.0
        T_object = np.eye(4)
        T_object[:3, 3] = SINK.sink_x_m, SINK.sink_y_m + object_y_m, 0.1
    return Truth(np.eye(4), 0.0, drawer_m, T_object, T_fixture)


@pytest.mark.parametrize(("opening", "share"), [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0), (1.2, 1.0)])
def test_a_drawers_share_is_its_opening(opening, share):
    found = truth(opening * TRAVEL_M)
    assert share_of(found) == pytest.approx(share)
    assert progress(OPEN, found) == pytest.approx(share)
    assert progress(CLOSE, found) == pytest.approx(1.0 - share)


def test_an_eggplants_share_is_its_way_from_basin_to_basket():
    middle = (BASIN.center_y_m + BASKET.center_y_m) / 2.0
    for y_m, share in ((BASIN.center_y_m, 0.0), (middle, 0.5), (BASKET.center_y_m, 1.0)):
        found = truth(object_y_m=y_m)
        assert progress(TO_BASKET, found) == pytest.approx(share)
        assert progress(TO_SINK, found) == pytest.approx(1.0 - share)
        recorded = shares_of_objects(found.object_m[None, None])
        assert recorded[0, 0] == pytest.approx(share), "a recording says something else"
