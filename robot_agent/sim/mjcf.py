"""The MuJoCo model: our own MJCF of the wx250s, a table, a fixture and the Bridge camera.

Source of the arm: joint offsets, axes, limits of Interbotix `wx250s.urdf.xacro`; shapes are ours.
"""

from collections.abc import Mapping

from robot_agent.core.wx250s import FINGER_LIMITS_M, JOINT_LOWER_RAD, JOINT_NAMES, JOINT_UPPER_RAD
from robot_agent.sim.fixtures import fixture_mjcf
from robot_agent.sim.physics import TRAINER, Physics
from robot_agent.sim.scenes import HOME, Scene
from robot_agent.sim.target import assets_mjcf, free_mjcf, held_mjcf
from robot_agent.sim.textures import SIZE_PX, Texture
from robot_agent.sim.things import things_mjcf

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


def build_mjcf(scene: Scene = HOME, physics: Physics = TRAINER) -> str:
    """Return the model as MJCF text; what the text does not hold is changed in place afterwards.

    Shapes, masses, textures and things follow from `scene`, so two scenes of equal text share one
    compiled model.
    """
    meshes, bodies = things_mjcf(scene.distractors)
    focal_px = CAMERA_FOCAL_PX * physics.focal_scale
    shadows, is_sink = str(physics.shadows).lower(), scene.cell == "sink"
    return f"""
<mujoco model="wx250s_table">
{_settings(scene, physics)}
  <asset>
    {_materials(scene)}{meshes}{assets_mjcf(scene)}
  </asset>
  <worldbody>
    <light name="sun" pos="0.3 0 1.5" dir="-0.3 0.4 -1" directional="true" castshadow="{shadows}"/>
    <geom name="table" {_TABLE if is_sink else ""} type="box" size="0.7 0.8 0.02" pos="0.4 0 -0.02"
      {_material("table", scene)}/>
    <geom name="wall" type="box" size="0.02 1.6 1.0" pos="1.0 0 0.4" {_material("wall", scene)}/>
    <camera name="bridge" pos="0 0 0" resolution="{CAMERA_SIZE_PX[0]} {CAMERA_SIZE_PX[1]}"
      focalpixel="{focal_px} {focal_px}" sensorsize="0.0064 0.0048"
      principalpixel="{320 - CAMERA_CENTER_PX[0]} {CAMERA_CENTER_PX[1] - 240}"/>
    {fixture_mjcf(scene, physics)}
    {bodies}{free_mjcf(scene)}
    <body name="base">
      <geom type="box" size="0.06 0.05 0.036" pos="-0.01 0 0.036" {_BLACK}/>
      {_arm(physics, held_mjcf(scene))}
    </body>
  </worldbody>
  <actuator>
    {_actuators(physics, _TORQUES_NM if is_sink else (0.0,) * 6)}
  </actuator>
  {_RACK if is_sink else ""}
</mujoco>
"""


_TORQUES_NM = (4.1, 8.2, 8.2, 4.1, 4.1, 1.5)
"""Stall torques of XM430-W350, two of them at shoulder and elbow, and XL430. At the sink servos
without a limit squeeze a light object until the contact bursts."""
_TABLE = 'class="fixture"'
"""In the sink's cell something loose may fall on the table."""
_RACK = """<equality>
    <joint joint1="left_finger" joint2="right_finger" solref="0.008 1"/>
  </equality>"""
"""One motor drives both fingers through a rack, which centers what they close on. The drawer only
needs them shut."""


def _settings(scene: Scene, physics: Physics) -> str:
    solid, fixed, loose = (f"{mu * physics.friction_scale} 0.01 0.001" for mu in (0.8, 0.5, 1.0))
    contact = f'solref="{_words(physics.solref)}" solimp="{_words(physics.solimp)}"'
    # Softer, so that what is grasped neither slips nor jumps.
    soft = f'solref="{1.5 * physics.solref[0]} {physics.solref[1]}"'
    integrator, flags, joints = physics.integrator, "", ""
    if scene.board:
        integrator = "implicitfast"  # Euler bursts where a calibration reaches farther than tasks
    if scene.cell == "sink":
        # The others leave out gyroscopic terms, so that a light object spins up when squeezed.
        integrator = "implicit"
        flags = '<flag midphase="disable"/>'  # it knows the object only at its compiled size
        # Stiffer ends: fingers that press on a wall must not be spread by it.
        joints = '<joint solreflimit="0.008 1" solimplimit="0.95 0.99 0.001"/>'
    return f"""  <compiler angle="radian" autolimits="true"/>
  <option timestep="{physics.timestep_s}" integrator="{integrator}" cone="{physics.cone}"
    impratio="{physics.impratio}">{flags}</option>
  <visual>
    <headlight ambient="0.35 0.35 0.35" diffuse="0.15 0.15 0.15" specular="0 0 0"/>
    <map znear="0.02" zfar="10" shadowclip="0.3"/>
    <global offwidth="640" offheight="480"/>
    <quality offsamples="{physics.samples}" shadowsize="{1024 * physics.shadows}"/>
  </visual>
  <default>
    {joints}
    <geom contype="0" conaffinity="0" group="1"/>
    <default class="solid">
      <geom contype="1" conaffinity="1" friction="{solid}" {contact}/>
    </default>
    <default class="drawer">
      <geom contype="2" conaffinity="1" friction="{fixed}" {contact}/>
    </default>
    <default class="fixture">
      <geom contype="2" conaffinity="1" friction="{fixed}" {soft}/>
    </default>
    <default class="loose">
      <geom contype="1" conaffinity="1" condim="6" friction="{loose}" {soft}/>
    </default>
  </default>"""


def _arm(physics: Physics, held: str) -> str:
    opening, closing = "", ""
    for index, (name, offset, axis, geoms, mass) in enumerate(_LINKS):
        low, high = JOINT_LOWER_RAD[index], JOINT_UPPER_RAD[index]
        opening += (
            f'<body name="{name}" pos="{offset}" gravcomp="{physics.gravity_compensation}">'
            f'<joint name="{name}" axis="{axis}" range="{low} {high}" armature="0.02" '
            f'damping="{physics.damping_scale}"/>'
            f'<inertial pos="0.03 0 0" mass="{mass}" diaginertia="0.0005 0.0005 0.0005"/>{geoms}'
        )
        closing += "</body>"
    return opening + _hand(physics) + held + closing


def _hand(physics: Physics) -> str:
    low, high = FINGER_LIMITS_M[0] - 0.004, FINGER_LIMITS_M[1]
    fingers = ""
    for name, side in (("left_finger", 1), ("right_finger", -1)):
        fingers += f"""
      <body name="{name}" pos="0.066 0 0" gravcomp="1">
        <joint name="{name}" type="slide" axis="0 {side} 0" range="{low} {high}"
          damping="{20 * physics.damping_scale}" armature="0.05"/>
        <inertial pos="0.02 0 0" mass="0.03" diaginertia="0.00001 0.00001 0.00001"/>
        <geom class="solid" type="box" size="0.024 0.005 0.007" pos="0.018 0 0" {_GREY}/>
      </body>"""
    return f"""
      <geom class="solid" type="box" size="0.012 0.040 0.012" pos="0.052 0 0" {_BLACK}/>
      {fingers}
      <site name="tool" pos="0.093575 0 0" rgba="0 0 0 0"/>"""


def _actuators(physics: Physics, torques_nm: tuple[float, ...]) -> str:
    lines = []
    for name, kp, kv, torque in zip(JOINT_NAMES, _KP, _KV, torques_nm, strict=True):
        limit = f' forcerange="{-torque} {torque}"' if torque else ""
        gains = f'kp="{kp * physics.kp_scale}" kv="{kv * physics.kv_scale}"'
        lines.append(f'<position name="{name}" joint="{name}" {gains}{limit}/>')
    lines += [f'<motor name="{name}" joint="{name}" gear="1"/>' for name in _FINGERS]
    return "\n    ".join(lines)


_FINGERS = ("left_finger", "right_finger")


def textures(scene: Scene) -> Mapping[str, Texture]:
    """Return the surfaces of a scene that have a pattern, by the name of their geom."""
    both = {"table": scene.table_texture, "wall": scene.wall_texture}
    return {name: texture for name, texture in both.items() if not texture.is_plain}


def _materials(scene: Scene) -> str:
    """Return a blank texture and a material for each surface; `SimWorld` fills in the pattern.

    The texture's description is in a comment, so that the text of two patterns differs.
    """
    return "".join(
        f'<!-- {texture} --><texture name="{name}" type="2d" builtin="flat" width="{SIZE_PX}" '
        f'height="{SIZE_PX}"/><material name="{name}" texture="{name}" texuniform="true" '
        f'texrepeat="{_REPEATS_PER_M[name]} {_REPEATS_PER_M[name]}"/>'
        for name, texture in textures(scene).items()
    )


def _material(name: str, scene: Scene) -> str:
    return f'material="{name}"' if name in textures(scene) else ""


def _words(values: tuple[float, ...]) -> str:
    return " ".join(map(str, values))


_REPEATS_PER_M = {"table": 2.5, "wall": 2.0}
