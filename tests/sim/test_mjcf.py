"""The model is the published arm: kinematics, limits, and a drawer that only contact moves."""

import mujoco
import numpy as np
import pytest

from robot_agent.core import wx250s
from robot_agent.sim.mjcf import build_mjcf

# wx250s.urdf.xacro of Interbotix, in degrees: written down here a second time on purpose.
PUBLISHED_LIMITS_DEG = {
    "waist": (-180, 180),
    "shoulder": (-108, 114),
    "elbow": (-123, 92),
    "forearm_roll": (-180, 180),
    "wrist_angle": (-100, 123),
    "wrist_rotate": (-180, 180),
}


@pytest.fixture(scope="module")
def model():
    return mujoco.MjModel.from_xml_string(build_mjcf())


def test_forward_kinematics_equal_the_product_of_exponentials(model, rng):
    arm = mujoco.MjData(model)
    columns = [int(model.joint(name).qposadr[0]) for name in wx250s.JOINT_NAMES]
    for joints in rng.uniform(wx250s.JOINT_LOWER_RAD, wx250s.JOINT_UPPER_RAD, (1000, 6)):
        arm.qpos[columns] = joints
        mujoco.mj_kinematics(model, arm)
        T = wx250s.forward(joints)
        assert np.abs(arm.site("tool").xpos - T[:3, 3]).max() < 1e-6
        assert np.abs(arm.site("tool").xmat.reshape(3, 3) - T[:3, :3]).max() < 1e-6


@pytest.mark.parametrize("name", wx250s.JOINT_NAMES)
def test_joint_limits_are_the_published_ones(model, name):
    assert model.joint(name).limited[0]
    # The URDF stops 1e-5 rad before half a turn.
    assert np.rad2deg(model.joint(name).range) == pytest.approx(
        PUBLISHED_LIMITS_DEG[name], abs=1e-3
    )


def test_the_camera_has_the_published_intrinsics(model):
    width, height = model.cam_resolution[0]
    sensor_m, focal_m = model.cam_sensorsize[0], model.cam_intrinsic[0][:2]
    assert (width, height) == (640, 480)
    assert focal_m / sensor_m * (width, height) == pytest.approx([623.588, 623.588], rel=1e-5)


def test_nothing_welds_or_drives_the_drawer(model):
    drawer = model.joint("drawer").id
    assert model.neq == 0, "an equality constraint could hold the drawer to the hand"
    assert model.nmocap == 0, "a mocap body could carry it"
    assert model.ntendon == 0
    assert drawer not in model.actuator_trnid[:, 0]


def test_only_the_hand_can_touch_the_drawer(model):
    def touches(a, b):
        return (model.geom_contype[a] & model.geom_conaffinity[b]) or (
            model.geom_contype[b] & model.geom_conaffinity[a]
        )

    solid = [i for i in range(model.ngeom) if model.geom_contype[i]]
    hand = {"wrist_rotate", "left_finger", "right_finger"}
    for i in solid:
        for j in solid:
            bodies = {model.body(model.geom_bodyid[k]).name for k in (i, j)}
            if touches(i, j) and "drawer" in bodies - {"cabinet"} and len(bodies) == 2:
                assert bodies & hand or bodies == {"drawer", "cabinet"}
