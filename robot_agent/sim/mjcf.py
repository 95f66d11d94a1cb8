"""The MuJoCo model: our own MJCF of the wx250s, a table, a cell's fixture and the Bridge camera.

Source of the arm: joint offsets, axes, limits of Interbotix `wx250s.urdf.xacro`; shapes are ours.
"""

from collections.abc import Callable
from dataclasses import dataclass

from robot_agent.core.wx250s import FINGER_LIMITS_M, JOINT_LOWER_RAD, JOINT_NAMES, JOINT_UPPER_RAD
from robot_agent.sim import fixtures

CAMERA_POSITION_M = (0.0, -0.16, 0.36)
CAMERA_LOOK = (1.0, 0.553, -1.085)
"""Bridge camera in base_link (SimplerEnv, widowx defaults)."""
CAMERA_FOCAL_PX = 623.588
CAMERA_CENTER_PX = (319.501, 239.545)
CAMERA_SIZE_PX = (640, 480)

# (name, offset from the parent [m], axis, link geoms, mass [kg])
_BLACK = 'rgba="0.10 0.10 0.11 1"'
_GREY = 'rgba="0.22 0.22 0.24 1"'
_LINKS = (
    ("waist", "0 0 0.072", "0 0 1", f'<geom type="cylinder" size="0.035 0.03" {_BLACK}/>', 0.5),
    (
        "shoulder",
        "0 0 0.03865",
        "0 1 0",
        f'<geom type="box" size="0.022 0.03 0.03" {_GREY}/>'
        f'<geom type="capsule" fromto="0 0 0 0.04975 0 0.25" size="0.022" {_BLACK}/>',
        0.5,
    ),
    (
        "elbow",
        "0.04975 0 0.25",
        "0 1 0",
        f'<geom type="box" size="0.022 0.03 0.025" {_GREY}/>'
        f'<geom type="capsule" fromto="0 0 0 0.15 0 0" size="0.020" {_BLACK}/>',
        0.35,
    ),
    (
        "forearm_roll",
        "0.175 0 0",
        "1 0 0",
        f'<geom type="capsule" fromto="0 0 0 0.06 0 0" size="0.018" {_GREY}/>',
        0.15,
    ),
    (
        "wrist_angle",
        "0.075 0 0",
        "0 1 0",
        f'<geom type="box" size="0.03 0.022 0.018" pos="0.02 0 0" {_BLACK}/>',
        0.12,
    ),
    (
        "wrist_rotate",
        "0.065 0 0",
        "1 0 0",
        f'<geom type="box" size="0.022 0.038 0.016" pos="0.025 0 0" {_GREY}/>',
        0.10,
    ),
)
_KP = (900.0, 1200.0, 900.0, 250.0, 250.0, 120.0)
_KV = (40.0, 60.0, 40.0, 10.0, 10.0, 5.0)


@dataclass(frozen=True)
class _Cell:
    """What the model of one cell has of its own, as MJCF."""

    fixture: Callable[[], str]
    flags: str = ""
    joints: str = ""
    table: str = ""
    equality: str = ""


_CELLS = {
    "table": _Cell(fixtures.drawer),
    "drawer": _Cell(fixtures.drawer),
    "sink": _Cell(
        fixtures.sink,
        # The midphase knows the object only at the size that it was compiled with.
        flags='<flag midphase="disable"/>',
        # Stiffer ends: fingers that press on a wall must not be spread by it.
        joints='<joint solreflimit="0.008 1" solimplimit="0.95 0.99 0.001"/>',
        # Something loose may fall on it.
        table='class="fixture"',
        # One motor drives both fingers through a rack, which centers what they close on. The
        # drawer only needs them shut.
        equality="""<equality>
    <joint joint1="left_finger" joint2="right_finger" solref="0.008 1"/>
  </equality>""",
    ),
}
_DEFAULTS = """<geom contype="0" conaffinity="0" group="1"/>
    <default class="solid">
      <geom contype="1" conaffinity="1" friction="0.8 0.01 0.001" solref="0.008 1"/>
    </default>
    <default class="drawer">
      <geom contype="2" conaffinity="1" friction="0.5 0.01 0.001" solref="0.008 1"/>
    </default>
    <default class="fixture">
      <geom contype="2" conaffinity="1" friction="0.5 0.01 0.001" solref="0.012 1"/>
    </default>
    <default class="loose">
      <geom contype="1" conaffinity="1" condim="6" friction="1.0 0.01 0.001" solref="0.012 1"/>
    </default>"""


def build_mjcf(cell: str = "table") -> str:
    """Return the model of a cell as MJCF text; scenes change it in place afterwards."""
    own = _CELLS[cell]
    return f"""
<mujoco model="wx250s_table">
  <compiler angle="radian" autolimits="true"/>
  <option timestep="0.004" integrator="implicitfast" cone="elliptic" impratio="3">
    {own.flags}
  </option>
  <visual>
    <headlight ambient="0.35 0.35 0.35" diffuse="0.15 0.15 0.15" specular="0 0 0"/>
    <map znear="0.02" zfar="10"/>
    <global offwidth="640" offheight="480"/>
    <quality offsamples="0" shadowsize="0"/>
  </visual>
  <default>
    {own.joints}
    {_DEFAULTS}
  </default>
  <worldbody>
    <light name="sun" pos="0.3 0 1.5" dir="-0.3 0.4 -1" directional="true" castshadow="false"/>
    <geom name="table" {own.table} type="box" size="0.7 0.8 0.02" pos="0.4 0 -0.02"/>
    <geom name="wall" type="box" size="0.02 1.6 1.0" pos="1.0 0 0.4"/>
    <camera name="bridge" pos="0 0 0" resolution="{CAMERA_SIZE_PX[0]} {CAMERA_SIZE_PX[1]}"
      focalpixel="{CAMERA_FOCAL_PX} {CAMERA_FOCAL_PX}" sensorsize="0.0064 0.0048"
      principalpixel="{320 - CAMERA_CENTER_PX[0]} {CAMERA_CENTER_PX[1] - 240}"/>
    {own.fixture()}
    <body name="base">
      <geom type="box" size="0.06 0.05 0.036" pos="-0.01 0 0.036" {_BLACK}/>
      {_arm()}
    </body>
  </worldbody>
  <actuator>
    {_actuators()}
  </actuator>
  {own.equality}
</mujoco>
"""


def _arm() -> str:
    opening, closing = "", ""
    for index, (name, offset, axis, geoms, mass) in enumerate(_LINKS):
        low, high = JOINT_LOWER_RAD[index], JOINT_UPPER_RAD[index]
        opening += (
            f'<body name="{name}" pos="{offset}" gravcomp="1">'
            f'<joint name="{name}" axis="{axis}" range="{low} {high}" armature="0.02" '
            f'damping="1"/>'
            f'<inertial pos="0.03 0 0" mass="{mass}" diaginertia="0.0005 0.0005 0.0005"/>{geoms}'
        )
        closing += "</body>"
    return opening + _hand() + closing


def _hand() -> str:
    low, high = FINGER_LIMITS_M[0] - 0.004, FINGER_LIMITS_M[1]
    fingers = ""
    for name, side in (("left_finger", 1), ("right_finger", -1)):
        fingers += f"""
      <body name="{name}" pos="0.066 0 0" gravcomp="1">
        <joint name="{name}" type="slide" axis="0 {side} 0" range="{low} {high}" damping="20"
          armature="0.05"/>
        <inertial pos="0.02 0 0" mass="0.03" diaginertia="0.00001 0.00001 0.00001"/>
        <geom class="solid" type="box" size="0.024 0.005 0.007" pos="0.018 0 0" {_GREY}/>
      </body>"""
    return f"""
      <geom class="solid" type="box" size="0.012 0.040 0.012" pos="0.052 0 0" {_BLACK}/>
      {fingers}
      <site name="tool" pos="0.093575 0 0" rgba="0 0 0 0"/>"""


def _actuators() -> str:
    lines = [
        f'<position name="{name}" joint="{name}" kp="{kp}" kv="{kv}"/>'
        for name, kp, kv in zip(JOINT_NAMES, _KP, _KV, strict=True)
    ]
    lines += [f'<motor name="{name}" joint="{name}" gear="1"/>' for name in _FINGERS]
    return "\n    ".join(lines)


_FINGERS = ("left_finger", "right_finger")
