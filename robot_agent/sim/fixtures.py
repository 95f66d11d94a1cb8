"""What stands before the arm, as MJCF: a drawer in its cabinet, or a sink with its eggplant.

Every fixture is a static body that a scene moves and turns about the vertical. Contact bits: the
hand and the eggplant are 1, fixtures 2 (they touch the first and never each other).
"""

from dataclasses import dataclass

from robot_agent.sim.physics import Physics
from robot_agent.sim.scenes import HOME, TRAVEL_M, Scene

HANDLE_GAP_M = 0.045
"""From the front plate to the handle's bar."""
HANDLE_HEIGHT_M = 0.075

FLOOR_M = 0.078
"""Floor of basin and basket: AutoEval's box lets the tool down to 0.087 m, its tips to 0.073 m."""
_WALL_M = 0.003
"""Half the thickness of a wall."""
_COUNTER_TOP_M = FLOOR_M - 0.006


@dataclass(frozen=True)
class Container:
    """A box without a lid, in the sink's frame (origin on the table, axes of the sink)."""

    name: str
    center_y_m: float
    half_x_m: float
    """Half of the inner length along x."""
    half_y_m: float
    rim_m: float
    """Height of the walls' top."""
    start_m: tuple[float, float]
    """How far from the middle an eggplant starts at most: fingers need room beside it."""


BASIN = Container("sink", -0.075, 0.080, 0.070, 0.122, (0.028, 0.024))
BASKET = Container("basket", 0.0825, 0.072, 0.065, 0.112, (0.020, 0.014))
CONTAINERS = {container.name: container for container in (BASIN, BASKET)}

_PURPLE, _GREEN = 'rgba="0.30 0.08 0.38 1"', 'rgba="0.20 0.50 0.15 1"'


def fixture_mjcf(scene: Scene, physics: Physics) -> str:
    """Return what stands in the cell of a scene."""
    return _sink() if scene.cell == "sink" else _drawer(scene, physics)


def _drawer(scene: Scene, physics: Physics) -> str:
    """Return a cabinet with one drawer; the front plate is at its origin and opens to -x."""
    return f"""
    <body name="cabinet">
      <geom name="cabinet_left" type="box" size="0.085 0.006 0.055" pos="0.095 0.096 0.055"/>
      <geom name="cabinet_right" type="box" size="0.085 0.006 0.055" pos="0.095 -0.096 0.055"/>
      <geom name="cabinet_top" class="drawer" type="box" size="0.085 0.102 0.005"
        pos="0.095 0 0.115"/>
      <geom name="cabinet_back" type="box" size="0.005 0.1 0.055" pos="0.18 0 0.055"/>
      <body name="drawer">
        <joint name="drawer" type="slide" axis="-1 0 0" range="0 {TRAVEL_M}"
          damping="{6 * physics.damping_scale}"
          frictionloss="1.5" armature="0.2"/>
        <inertial pos="0.08 0 0.05" mass="{scene.drawer_mass_kg}" diaginertia="0.002 0.002 0.002"/>
        <geom name="drawer_front" class="drawer" type="box" size="0.006 0.088 0.042"
          pos="0.006 0 0.055"/>
        <geom name="drawer_floor" class="drawer" type="box" size="0.075 0.082 0.003"
          pos="0.087 0 0.022"/>
        <geom name="drawer_left" class="drawer" type="box" size="0.075 0.003 0.025"
          pos="0.087 0.082 0.045"/>
        <geom name="drawer_right" class="drawer" type="box" size="0.075 0.003 0.025"
          pos="0.087 -0.082 0.045"/>
        {_handle(scene, physics)}
      </body>
    </body>"""


def _handle(scene: Scene, physics: Physics) -> str:
    """Return the handle's geoms: a bar across the front plate and what holds it."""
    x, z, radius_m = -HANDLE_GAP_M, HANDLE_HEIGHT_M, scene.handle_radius_m
    half_m, post_m = scene.handle_half_length_m, scene.handle_half_length_m - 0.002
    friction = ""
    if scene.handle_friction != HOME.handle_friction:  # else the larger of both geoms' counts
        friction = (
            f'friction="{scene.handle_friction * physics.friction_scale} 0.01 0.001" priority="1"'
        )
    posts = {
        "handle_post_a": (x, post_m, 0.0, post_m),
        "handle_post_b": (x, -post_m, 0.0, -post_m),
    }
    bar = f'type="capsule" size="{radius_m}" fromto="{x} {-half_m} {z} {x} {half_m} {z}"'
    if scene.handle_shape == "square":
        bar = f'type="box" size="{radius_m} {half_m + radius_m} {radius_m}" pos="{x} 0 {z}"'
    elif scene.handle_shape == "bow":
        inner_m = 0.6 * half_m
        bar = f'type="capsule" size="{radius_m}" fromto="{x} {-inner_m} {z} {x} {inner_m} {z}"'
        posts = {
            "handle_post_a": (x, inner_m, 0.0, half_m + 0.012),
            "handle_post_b": (x, -inner_m, 0.0, -half_m - 0.012),
        }
    post_radius_m = radius_m if scene.handle_shape == "bow" else 0.005
    geoms = [f'<geom name="handle_bar" class="drawer" {bar} {friction}/>']
    geoms += [
        f'<geom name="{name}" class="drawer" type="capsule" size="{post_radius_m}" '
        f'fromto="{a_x} {a_y} {z} {b_x} {b_y} {z}" {friction}/>'
        for name, (a_x, a_y, b_x, b_y) in posts.items()
    ]
    return "".join(geoms)


def _sink() -> str:
    """Return a counter that carries a blue basin and a yellow basket, and a loose eggplant."""
    return f"""
    <body name="sink">
      <geom name="counter_block" class="fixture" type="box" size="0.125 0.185 {_COUNTER_TOP_M / 2}"
        pos="0 0 {_COUNTER_TOP_M / 2}" rgba="0.80 0.80 0.78 1"/>
      {_container(BASIN, "basin", 'rgba="0.15 0.35 0.75 1"')}
      {_container(BASKET, "basket", 'rgba="0.95 0.80 0.10 1"')}
    </body>
    <body name="object">
      <joint name="object" type="free" damping="2e-5" armature="1e-5"/>
      <inertial pos="0 0 0" mass="0.05" diaginertia="1e-5 2e-5 2e-5"/>
      <geom name="object_body" class="loose" type="capsule" size="0.018"
        fromto="-0.022 0 0 0.022 0 0" {_PURPLE}/>
      <geom name="object_end" class="loose" type="sphere" size="0.021" pos="-0.014 0 0" {_PURPLE}/>
      <geom name="stem_cap" type="ellipsoid" size="0.008 0.013 0.013" pos="0.034 0 0" {_GREEN}/>
      <geom name="stem_stalk" type="capsule" size="0.003" fromto="0.037 0 0 0.049 0 0" {_GREEN}/>
    </body>"""


def _container(box: Container, prefix: str, color: str) -> str:
    """Return floor and walls; the walls' inner faces are `half_x_m` and `half_y_m` away."""
    floor_z, y = FLOOR_M - _WALL_M, box.center_y_m
    wall_z, wall_half = (box.rim_m + FLOOR_M) / 2, (box.rim_m - FLOOR_M) / 2 + _WALL_M
    x_at, y_at = box.half_x_m + _WALL_M, box.half_y_m + _WALL_M
    long_x, long_y = box.half_x_m + 2 * _WALL_M, box.half_y_m
    parts = (
        ("floor", f"{long_x} {y_at + _WALL_M} {_WALL_M}", f"0 {y} {floor_z}"),
        ("near", f"{_WALL_M} {long_y} {wall_half}", f"{-x_at} {y} {wall_z - _WALL_M}"),
        ("far", f"{_WALL_M} {long_y} {wall_half}", f"{x_at} {y} {wall_z - _WALL_M}"),
        ("left", f"{long_x} {_WALL_M} {wall_half}", f"0 {y + y_at} {wall_z - _WALL_M}"),
        ("right", f"{long_x} {_WALL_M} {wall_half}", f"0 {y - y_at} {wall_z - _WALL_M}"),
    )
    return "\n      ".join(
        f'<geom name="{prefix}_{part}" class="fixture" type="box" size="{size}" '
        f'pos="{at}" {color}/>'
        for part, size, at in parts
    )
