# ruff: noqa: N806 - T_base_tool and its kin keep the names of the formulas
"""What is really so in a simulated world; no policy and no judge sees it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from robot_agent.core import wx250s
from robot_agent.core.geometry import pose
from robot_agent.core.types import FloatArray


@dataclass(frozen=True, eq=False)
class Truth:
    """One moment, in base_link."""

    T_base_tool: FloatArray
    """Tool pose (4, 4), from the simulator's own kinematics."""
    finger_m: float
    """Position of the left finger."""
    drawer_m: float
    """Opening of the drawer; 0 where there is none."""
    T_base_object: FloatArray
    """Pose (4, 4) of the loose object, its long axis along x; zeros where there is none."""
    T_base_fixture: FloatArray
    """Pose (4, 4) of cabinet or sink."""
    object_speed_mps: float = 0.0

    @property
    def tool_m(self) -> FloatArray:
        """Tool position (3,)."""
        return self.T_base_tool[:3, 3]

    @property
    def object_m(self) -> FloatArray:
        """Middle of the loose object (3,)."""
        return self.T_base_object[:3, 3]

    def in_fixture(self, point_m: FloatArray) -> FloatArray:
        """Return a point (3,) of base_link in the fixture's frame."""
        turned: FloatArray = self.T_base_fixture[:3, :3].T @ (point_m - self.T_base_fixture[:3, 3])
        return turned


def read_truth(model: Any, data: Any) -> Truth:
    """Return what a model of any cell and its state say."""
    joints = {model.joint(index).name: model.joint(index) for index in range(model.njnt)}
    drawer, loose = joints.get("drawer"), joints.get("object")
    tool, fixture = data.site("tool"), data.body("sink" if drawer is None else "cabinet")
    finger = joints[wx250s.FINGER_NAMES[0]]
    T_base_object, speed_mps = np.zeros((4, 4)), 0.0
    if loose is not None:
        body = data.body("object")
        T_base_object = pose(body.xmat.reshape(3, 3), body.xpos)
        column = int(loose.dofadr[0])
        speed_mps = float(np.linalg.norm(data.qvel[column : column + 3]))
    return Truth(
        T_base_tool=pose(tool.xmat.reshape(3, 3), tool.xpos),
        finger_m=float(data.qpos[finger.qposadr[0]]),
        drawer_m=0.0 if drawer is None else float(data.qpos[drawer.qposadr[0]]),
        T_base_object=T_base_object,
        T_base_fixture=pose(fixture.xmat.reshape(3, 3), fixture.xpos),
        object_speed_mps=speed_mps,
    )
