"""AutoEval's two cells: boxes, reset pose, start states, rules, and contact alone."""

import mujoco
import numpy as np
import pytest

from robot_agent.core import wx250s
from robot_agent.core.errors import InputError
from robot_agent.core.geometry import pose
from robot_agent.sim.cells import CELLS
from robot_agent.sim.fixtures import BASIN, BASKET
from robot_agent.sim.mjcf import build_mjcf
from robot_agent.sim.robot import SimRobot
from robot_agent.sim.scenes import CELL_SCENES
from robot_agent.sim.tasks import CLOSE, OPEN, TO_BASKET, TO_SINK, TWIN, find_task, is_inside
from robot_agent.sim.truth import Truth


@pytest.fixture(scope="module")
def robots():
    made = {cell: SimRobot(CELL_SCENES[cell]) for cell in ("drawer", "sink")}
    yield made
    for robot in made.values():
        robot.world.close()


def truth_with(
    drawer_m=0.0, object_m=(0.0, 0.0, 0.1), tool_m=(0.0, 0.0, 0.3), speed_mps=0.0, yaw_rad=0.0
):
    c, s = np.cos(yaw_rad), np.sin(yaw_rad)
    turned = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    return Truth(
        T_base_tool=wx250s.pose_at(np.array(tool_m)),
        finger_m=wx250s.FINGER_OPEN_M,
        drawer_m=drawer_m,
        T_base_object=pose(turned, np.array(object_m)),
        T_base_fixture=np.eye(4),
        object_speed_mps=speed_mps,
    )


# ------------------------------------------------------------------------------------------ tasks


def test_the_twin_has_autoevals_words_and_step_limits():
    assert [(task.instruction, task.max_steps) for task in TWIN] == [
        ("open the drawer", 70),
        ("close the drawer", 70),
        ("put the eggplant in the yellow basket", 100),
        ("put the eggplant in the blue sink", 100),
    ]


def test_a_task_is_found_by_name_or_words_in_its_own_cell_only():
    assert find_task("sink", "put the  eggplant in the BLUE sink") is TO_SINK
    assert find_task("drawer", "open") is OPEN
    assert find_task("table", "open") is not OPEN
    with pytest.raises(InputError, match=r"Choose one of: open \(open the drawer\)"):
        find_task("drawer", "put the eggplant in the blue sink")
    with pytest.raises(InputError, match="cell 'garage' is unknown"):
        find_task("garage", "open")


@pytest.mark.parametrize(
    ("drawer_m", "is_open", "is_shut"),
    [(0.0, False, True), (0.003, False, True), (0.0031, False, False), (0.0149, False, False),
     (0.015, True, False), (0.12, True, False)],
)  # fmt: skip
def test_the_drawers_rules_have_sharp_edges(drawer_m, is_open, is_shut):
    truth = truth_with(drawer_m=drawer_m)
    assert (OPEN.is_solved(truth), CLOSE.is_solved(truth)) == (is_open, is_shut)


@pytest.mark.parametrize("box", [BASIN, BASKET], ids=lambda box: box.name)
def test_inside_means_both_ends_between_the_walls_and_below_the_rim(box):
    y = box.center_y_m
    assert is_inside(truth_with(object_m=(0.0, y, 0.098)), box.name)
    assert not is_inside(truth_with(object_m=(0.0, y, box.rim_m + 0.01)), box.name)
    assert not is_inside(truth_with(object_m=(box.half_x_m - 0.01, y, 0.098)), box.name)
    at_wall = (0.0, y + box.half_y_m - 0.01, 0.098)
    assert is_inside(truth_with(object_m=at_wall), box.name)
    assert not is_inside(truth_with(object_m=at_wall, yaw_rad=1.5), box.name)


def test_the_eggplant_counts_only_at_rest_and_let_alone():
    inside = {"object_m": (0.0, BASKET.center_y_m, 0.098)}
    above = (0.0, BASKET.center_y_m, 0.16)
    assert TO_BASKET.is_solved(truth_with(**inside, tool_m=above))
    assert not TO_SINK.is_solved(truth_with(**inside, tool_m=above))
    assert not TO_BASKET.is_solved(truth_with(**inside, tool_m=above, speed_mps=0.03))
    near = (0.0, BASKET.center_y_m, 0.15)
    assert not TO_BASKET.is_solved(truth_with(**inside, tool_m=near)), "the hand is still there"


# ----------------------------------------------------------------------------------------- resets


@pytest.mark.parametrize("task", TWIN, ids=lambda task: task.name)
def test_a_reset_starts_at_autoevals_pose_with_the_task_undone(robots, task):
    robot = robots[task.cell]
    starts = []
    for seed in range(10):
        robot.reset(seed, task.name)
        truth = robot.world.truth
        assert truth.tool_m == pytest.approx([0.258325, 0.0, 0.19065], abs=1e-3)
        assert np.abs(robot.state()[3:6]).max() < 5e-3, "points straight down"
        assert robot.state()[6] == pytest.approx(1.0, abs=0.05)
        assert not task.is_solved(truth)
        assert truth.object_speed_mps < 1e-3
        if task.cell == "drawer":
            low_m, high_m = task.opening_m
            assert low_m <= truth.drawer_m <= high_m
        else:
            assert is_inside(truth, task.start_in)
        starts.append([truth.drawer_m, *truth.object_m, truth.T_base_object[0, 1]])
    assert np.std(starts, axis=0).max() > 1e-3, "every reset is the same"
    robot.reset(3, task.name)
    again = [robot.world.truth.drawer_m, *robot.world.truth.object_m]
    assert np.array_equal(again, starts[3][:4])


# ------------------------------------------------------------------------------------------ boxes


@pytest.mark.parametrize("cell", ["drawer", "sink"])
def test_the_tool_stays_in_the_cells_box_whatever_is_asked(robots, cell, rng):
    robot, guard = robots[cell], CELLS[cell].guard
    robot.reset(1)
    low, high = np.array(guard.box_low_m) - 0.010, np.array(guard.box_high_m) + 0.010
    directions = rng.normal(0, 1, (4, 3))
    for index in range(40):
        away = directions[index // 10]
        robot.execute(np.array([*(0.04 * away / np.linalg.norm(away)), 0, 0, 0, 1.0]))
        if index >= 2:
            tool = robot.world.tool_m
            assert (tool > low).all(), f"{tool} left the box"
            assert (tool < high).all(), f"{tool} left the box"


def test_the_first_action_takes_the_tool_from_the_reset_pose_into_the_drawers_box(robots):
    robot = robots["drawer"]
    robot.reset(0, "open")
    sent = robot.execute(np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]))
    assert sent[2] == pytest.approx(0.163698 - 0.19065, abs=1e-3), "as AutoEval's clipping does"
    assert "moved to its face" in robot.guard.state.changes[0]


# ---------------------------------------------------------------------------------------- contact


def test_only_friction_and_the_fingers_rack_act_on_the_eggplant():
    model = mujoco.MjModel.from_xml_string(build_mjcf(CELL_SCENES["sink"]))
    assert (model.nmocap, model.ntendon, model.neq) == (0, 0, 1)
    assert model.eq_type[0] == mujoco.mjtEq.mjEQ_JOINT
    coupled = {model.joint(int(index)).name for index in (model.eq_obj1id[0], model.eq_obj2id[0])}
    assert coupled == set(wx250s.FINGER_NAMES)
    free = model.joint("object").id
    assert free not in model.actuator_trnid[:, 0]
    mass = model.body_mass[model.body("object").id]
    assert 0.04 <= mass <= 0.06


def test_switching_the_cell_switches_the_box():
    robot = SimRobot(CELL_SCENES["drawer"])
    assert robot.guard.config.box_high_m[2] == pytest.approx(0.163698)
    robot.reset(0, "to_basket", CELL_SCENES["sink"])
    assert robot.guard.config.box_high_m[2] == pytest.approx(0.233970)
    assert is_inside(robot.world.truth, "sink")
    robot.world.close()
