"""Does every number of an action do on the arm what Bridge means by it? Tried in simulation."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from robot_agent.core import wx250s
from robot_agent.core.bridge_action import Normalization
from robot_agent.core.geometry import vector_from_rotation
from robot_agent.core.types import FloatArray
from robot_agent.sim.robot import SimRobot
from robot_agent.sim.scenes import HOME, Scene

AXES = ("dx", "dy", "dz", "droll", "dpitch", "dyaw", "gripper")
_STEPS, _REST = 4, 3
_STEP = np.array([0.008] * 3 + [0.05] * 3)
"""Size of one step of the wiggle [m, rad]: well inside every limit."""
_SMALLEST, _LARGEST = 0.6, 1.7
"""Motion as a part of the asked one: percentiles of the same robot differ by less."""
_LEAK = 0.35
"""Largest motion along another axis of its kind, as a part of the asked one."""

Unnormalize = Callable[[FloatArray], FloatArray]


@dataclass(frozen=True)
class AxisCheck:
    """What one axis did."""

    axis: str
    asked: float
    """Motion that Bridge means [m, rad, opening]."""
    moved: float
    leak: float
    """Largest motion along the other two axes of its kind [m, rad]."""

    @property
    def passed(self) -> bool:
        """Whether the arm moved as asked, and nowhere else."""
        if self.axis == "gripper":
            return (self.moved > 0.5) == (self.asked > 0.5)
        is_faithful = _SMALLEST <= self.moved / self.asked <= _LARGEST
        return is_faithful and self.leak <= _LEAK * abs(self.asked)


def wiggle_axes(unnormalize: Unnormalize, scene: Scene | None = None) -> list[AxisCheck]:
    """Move along each axis there and back, behind the guard; return what the arm did.

    The number in [-1, 1] that means a motion by Bridge's own statistics goes through the policy's:
    statistics in another order, of another sign or of another size show on the arm.

    Args:
        unnormalize: From the policy's numbers in [-1, 1] (7,) to Bridge actions (7,).
        scene: Where; the shipped home scene by default.
    """
    robot = SimRobot(scene or HOME)
    found = []
    for index in range(6):
        for sign in (1.0, -1.0):
            found.append(_wiggle(robot, unnormalize, index, sign * float(_STEP[index])))
    found += [_open_or_close(robot, unnormalize, opening) for opening in (0.0, 1.0)]
    robot.world.close()
    return found


def _wiggle(robot: SimRobot, unnormalize: Unnormalize, index: int, step: float) -> AxisCheck:
    robot.reset(0)
    still = np.zeros(7)
    still[6] = 1.0
    for _ in range(_REST):
        robot.execute(still)
    wanted = still.copy()
    wanted[index] = step
    action = unnormalize(Normalization().normalize(wanted))
    before = wx250s.forward(robot.world.joints_rad)
    for _ in range(_STEPS):
        robot.execute(action)
    for _ in range(_REST):
        robot.execute(still)
    after = wx250s.forward(robot.world.joints_rad)
    # Translation in base axes; rotation as a vector in base axes, which small angles add up to.
    if index < 3:
        moved = after[:3, 3] - before[:3, 3]
    else:
        moved = vector_from_rotation(after[:3, :3] @ before[:3, :3].T)
    axis = index % 3
    leak = float(np.abs(np.delete(moved, axis)).max())
    return AxisCheck(AXES[index], _STEPS * step, float(moved[axis]), leak)


def _open_or_close(robot: SimRobot, unnormalize: Unnormalize, opening: float) -> AxisCheck:
    robot.reset(0)
    still = np.zeros(7)
    still[6] = 1.0 - opening
    for _ in range(_STEPS):
        robot.execute(still)
    wanted = np.zeros(7)
    wanted[6] = opening
    action = unnormalize(Normalization().normalize(wanted))
    for _ in range(_STEPS + _REST):
        robot.execute(action)
    return AxisCheck("gripper", opening, float(robot.state()[6]), 0.0)
