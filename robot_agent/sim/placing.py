"""Where things may stand: seen by the camera, and out of the arm's way."""

import numpy as np

from robot_agent.core.types import FloatArray
from robot_agent.sim import mjcf
from robot_agent.sim.scenes import Scene
from robot_agent.sim.things import COLORS, HEIGHT_M, KINDS, RADIUS_M, Thing

KEEP_OUT_M = ((0.0, -0.17), (0.45, 0.19))
"""Corners (x, y) of the part of the table above which hand and forearm work."""
TABLE_M = ((0.14, -0.30), (0.80, 0.45))
"""Corners (x, y) of the part of the table where things may stand."""
CABINET_M = ((-0.11, -0.115), (0.19, 0.115))
"""Corners (x, y) of the open drawer and its cabinet, from the middle of the closed front plate."""
SINK_M = ((-0.125, -0.185), (0.125, 0.185))
"""Corners (x, y) of the sink's counter, from its middle."""
_TRIES = 300


def place_things(scene: Scene, num: int, rng: np.random.Generator) -> tuple[Thing, ...]:
    """Return up to `num` things for `scene`; asking for more keeps the first ones.

    Fewer are returned only when there is no room left in the picture.
    """
    things: tuple[Thing, ...] = ()
    kinds = list(rng.permutation(list(KINDS))) + list(KINDS)
    for kind in kinds[:num]:
        colors = COLORS[str(kind)]
        color = colors[int(rng.integers(len(colors)))]
        spots = rng.uniform(*TABLE_M, (_TRIES, 2))
        yaw = float(rng.uniform(-0.6, 0.6))
        for x, y in spots:
            thing = Thing(str(kind), float(x), float(y), yaw, color)
            if has_room(scene, thing, things):
                things = (*things, thing)
                break
    return things


def has_room(scene: Scene, thing: Thing, others: tuple[Thing, ...] = ()) -> bool:
    """Return whether a thing is out of the way, in the picture and apart from the others."""
    radius_m = RADIUS_M[thing.kind]
    at = np.array([thing.x_m, thing.y_m])
    if _distance(at, KEEP_OUT_M) < radius_m or _distance_to_fixture(scene, at) < radius_m + 0.01:
        return False
    for other in others:
        if np.hypot(*(at - (other.x_m, other.y_m))) < radius_m + RADIUS_M[other.kind] + 0.015:
            return False
    return _is_seen(at, thing.kind)


def _distance(at: FloatArray, box_m: tuple[tuple[float, float], tuple[float, float]]) -> float:
    """Return the distance from a point (2,) to an axis-parallel box, 0 inside."""
    low, high = np.array(box_m)
    return float(np.linalg.norm(np.maximum(np.maximum(low - at, at - high), 0.0)))


def _distance_to_fixture(scene: Scene, at: FloatArray) -> float:
    box, middle, yaw_rad = CABINET_M, (scene.drawer_x_m, scene.drawer_y_m), scene.drawer_yaw_rad
    if scene.cell == "sink":
        box, middle, yaw_rad = SINK_M, (scene.sink_x_m, scene.sink_y_m), scene.sink_yaw_rad
    c, s = np.cos(yaw_rad), np.sin(yaw_rad)
    x, y = at - middle
    return _distance(np.array([c * x + s * y, c * y - s * x]), box)


def _is_seen(at: FloatArray, kind: str) -> bool:
    """Return whether the Bridge camera, where it stands at home, sees most of the thing."""
    forward = np.array(mjcf.CAMERA_LOOK) / np.linalg.norm(mjcf.CAMERA_LOOK)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    for height_m in (0.0, 0.7 * HEIGHT_M[kind]):
        offset = np.array([*at, height_m]) - mjcf.CAMERA_POSITION_M
        depth = offset @ forward
        if depth < 0.1:
            return False
        pixel = np.array([offset @ right, offset @ np.cross(forward, right)]) / depth
        pixel = mjcf.CAMERA_CENTER_PX + mjcf.CAMERA_FOCAL_PX * pixel
        margin = 0.7 * mjcf.CAMERA_FOCAL_PX * RADIUS_M[kind] / depth
        if not ((pixel > margin) & (pixel < np.array(mjcf.CAMERA_SIZE_PX) - margin)).all():
            return False
    return True
