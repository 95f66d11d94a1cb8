"""Keeps the arm off itself, its base and the table: links as capsules; pure, numpy only.

Source: capsules fitted to the vertices of Interbotix's wx250s meshes
(interbotix_xsarm_descriptions): moving links are covered, the base to 7 mm. Distance of two
segments as in Ericson, Real-Time Collision Detection, 5.1.9.
"""

from itertools import product
from typing import Final, NamedTuple

import numpy as np

from robot_agent.core import wx250s
from robot_agent.core.types import FloatArray
from robot_agent.guard.limits import GuardConfig

_AXIS_M = 0.36065
"""Height of the forearm's axis with every joint at zero."""
_HAND_M = 0.368
"""Height of the hand's middle there: the gripper's motor sits above the axis."""
_WAY_LOOKS = 41
"""Looks at a scripted move; 0.05 rad of the largest of them apart."""
_ROUNDING_M = 1e-9
_PLATE_M = (-0.047, -0.016, 0.016, 0.047)
"""Where the capsules of the base plate lie across it."""


class Capsule(NamedTuple):
    """A segment with a radius, in base_link with every joint at zero [m]."""

    link: str
    num_joints: int
    """Joints that move it, counted from the waist."""
    start_m: tuple[float, float, float]
    end_m: tuple[float, float, float]
    radius_m: float


CAPSULES: Final = (
    *(Capsule("base", 0, (-0.12, y, -0.01), (0.05, y, -0.01), 0.034) for y in _PLATE_M),
    Capsule("base", 0, (-0.11, -0.01, 0.01), (-0.11, 0.01, 0.01), 0.058),
    Capsule("base", 0, (-0.025, -0.02, 0.05), (-0.025, 0.02, 0.05), 0.035),
    Capsule("base", 0, (0.0, -0.025, 0.05), (0.0, 0.025, 0.05), 0.035),
    Capsule("base", 0, (0.025, -0.02, 0.05), (0.025, 0.02, 0.05), 0.035),
    Capsule("shoulder", 1, (0.0, -0.035, 0.1), (0.0, 0.035, 0.1), 0.022),
    Capsule("upper arm", 2, (0.0, 0.0, 0.11), (0.005, 0.0, 0.33), 0.022),
    Capsule("elbow", 2, (0.026, -0.03, 0.356), (0.026, 0.03, 0.356), 0.043),
    Capsule("forearm", 3, (0.06, 0.0, _AXIS_M), (0.22, 0.0, _AXIS_M), 0.032),
    Capsule("forearm", 4, (0.235, 0.006, _AXIS_M), (0.285, 0.006, _AXIS_M), 0.037),
    Capsule("hand", 5, (0.315, 0.0, _HAND_M), (0.36, 0.0, _HAND_M), 0.035),
    Capsule("gripper", 6, (0.365, 0.0, _HAND_M), (0.395, 0.0, _HAND_M), 0.035),
    Capsule("gripper", 6, (0.415, -0.03, _HAND_M), (0.415, 0.03, _HAND_M), 0.032),
    Capsule("fingers", 6, (0.432, 0.034, _AXIS_M), (0.462, 0.034, _AXIS_M), 0.018),
    Capsule("fingers", 6, (0.432, -0.034, _AXIS_M), (0.462, -0.034, _AXIS_M), 0.018),
)
"""Fingers are open."""


def _indices(*links: str) -> list[int]:
    return [k for k, capsule in enumerate(CAPSULES) if capsule.link in links]


_PAIRS = np.array(
    [
        *product(
            _indices("elbow", "forearm", "hand", "gripper", "fingers"),
            _indices("base", "shoulder"),
        ),
        *product(_indices("hand", "gripper", "fingers"), _indices("upper arm", "elbow")),
    ]
)
"""Neighbours are left out: the joint limits keep them apart, and they touch at their joint."""
_OVER_TABLE = np.array(_indices("elbow", "forearm", "hand", "gripper"))
"""Not the fingers: the tool's box says how deep they may go."""
_NUM_JOINTS = np.array([capsule.num_joints for capsule in CAPSULES])
_ENDS_HOME = np.array([[capsule.start_m, capsule.end_m] for capsule in CAPSULES])
_RADII = np.array([capsule.radius_m for capsule in CAPSULES])
_PAIR_RADII = _RADII[_PAIRS].sum(axis=1)


def clearances_m(joints_rad: FloatArray, table_height_m: float) -> FloatArray:
    """Return the gaps [m] of every pair of links that can meet, then of every link and the table.

    A gap is negative when the capsules overlap; `gap_names` says which is which.

    Args:
        joints_rad: Joints (6,) [rad].
        table_height_m: Height of the table plane in base_link.

    Cost: about 0.06 ms.
    """
    motions = wx250s.link_motions(joints_rad)[_NUM_JOINTS]
    ends = _ENDS_HOME @ np.swapaxes(motions[:, :3, :3], 1, 2) + motions[:, None, :3, 3]
    first, second = ends[_PAIRS[:, 0]], ends[_PAIRS[:, 1]]
    between = segment_distances(first, second) - _PAIR_RADII
    over = ends[_OVER_TABLE, :, 2].min(axis=1) - _RADII[_OVER_TABLE] - table_height_m
    return np.concatenate([between, over])


def gap_names() -> tuple[str, ...]:
    """Return what each of `clearances_m` lies between, in words."""
    pairs = [f"{CAPSULES[a].link} and {CAPSULES[b].link}" for a, b in _PAIRS]
    return (*pairs, *(f"{CAPSULES[k].link} and table" for k in _OVER_TABLE))


def closest(config: GuardConfig, joints_rad: FloatArray, measured_rad: FloatArray) -> str | None:
    """Return in words what would come too close on the way to `joints_rad`, or None.

    Looked at are the target and the middle of the way. No way is longer than 0.1 m, so between
    two looks at most 25 mm pass, and in a curve around the smallest pair of capsules (r = 40 mm)
    that is a depth of 9 mm, within the margin. What is too close where the arm is measured may
    only open.
    """
    before: FloatArray | None = None
    for share in (1.0, 0.5):
        q = measured_rad + share * (joints_rad - measured_rad)
        gaps = clearances_m(q, config.table_height_m)
        if float(gaps.min()) >= config.min_clearance_m:
            continue
        if before is None:
            before = clearances_m(measured_rad, config.table_height_m)
        closing = (gaps < config.min_clearance_m) & (gaps < before)
        if closing.any():
            worst = int(np.where(closing, gaps, np.inf).argmin())
            return (
                f"{gap_names()[worst]} would be {gaps[worst]:.3f} m apart, limit "
                f"{config.min_clearance_m:.3f} m"
            )
    return None


def is_way_clear(config: GuardConfig, start_rad: FloatArray, goal_rad: FloatArray) -> bool:
    """Return whether the straight way between joints (6,) [rad] keeps the arm off everything.

    Scripted moves go to home and to rest, both outside the policy's box; the table counts, and
    links that come closer to each other than the margin and than they are at both ends.
    """
    ends = [clearances_m(q, config.table_height_m) for q in (start_rad, goal_rad)]
    allowed = np.minimum(np.minimum(*ends), config.min_clearance_m) - _ROUNDING_M
    for share in np.linspace(0.0, 1.0, _WAY_LOOKS):
        q = start_rad + share * (goal_rad - start_rad)
        points = wx250s.body_points(q)
        if min(float(point[2]) for point in points.values()) < config.floor_m:
            return False
        if bool((clearances_m(q, config.table_height_m) < allowed).any()):
            return False
    return True


def segment_distances(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return the distances (N,) of N pairs of segments (N, 2, 3), none of length zero."""
    d1, d2 = first[:, 1] - first[:, 0], second[:, 1] - second[:, 0]
    r = first[:, 0] - second[:, 0]
    a, e, b = (d1 * d1).sum(1), (d2 * d2).sum(1), (d1 * d2).sum(1)
    c, f = (d1 * r).sum(1), (d2 * r).sum(1)
    area = a * e - b * b
    is_parallel = area < 1e-12 * a * e
    s = np.where(is_parallel, 0.0, (b * f - c * e) / np.where(is_parallel, 1.0, area))
    t = np.clip((b * np.clip(s, 0.0, 1.0) + f) / e, 0.0, 1.0)
    s = np.clip((b * t - c) / a, 0.0, 1.0)
    gap = r + s[:, None] * d1 - t[:, None] * d2
    distances: FloatArray = np.sqrt((gap * gap).sum(1))
    return distances
