# ruff: noqa: N803, N806 - T_base_tool and its kin keep the names of the formulas
"""Turns one sanitised action into the next target inside every limit, or names why it cannot."""

import math
from dataclasses import dataclass, replace

import numpy as np

from robot_agent.core import wx250s
from robot_agent.core.bridge_action import compose_target
from robot_agent.core.geometry import rpy_from_rotation
from robot_agent.core.types import FloatArray
from robot_agent.guard.collision import closest
from robot_agent.guard.limits import GuardConfig
from robot_agent.guard.sanitise import clip_to_box

_MAX_ITERATIONS = 20
"""A step within the limits is solved in five; more means that it cannot be reached."""
_MAX_SHORTENINGS = 6
_ROUNDING_M = 1e-9
_LEAD_SLACK_M = 1e-7


@dataclass(frozen=True, eq=False)
class Screened:
    """The next target; valid when `cause` is None."""

    T_target: FloatArray
    """Commanded tool pose (4, 4) in base_link."""
    joints_rad: FloatArray
    sent: FloatArray
    """The Bridge action (7,) that leads from the previous target to this one."""
    changes: tuple[str, ...]
    cause: str | None = None
    """`ik_failed`, `branch_flip`, `body_limit` or `collision`: the target is not taken over."""


def screen(
    config: GuardConfig, T_previous: FloatArray, measured_rad: FloatArray, action: FloatArray
) -> Screened:
    """Return the nearest target that breaks no limit.

    Order: Box and tool speed, composition, workspace box, lead over the measured tool, inverse
    kinematics from the measured joints, joint limits, joint step, body points, gaps between the
    links and to the table. A measured pose that is itself outside a limit may only come back,
    never go farther.

    Args:
        config: The limits.
        T_previous: Previous commanded tool pose (4, 4) in base_link.
        measured_rad: Measured joints (6,) [rad], finite.
        action: Bridge action (7,), finite.

    Cost: about 0.5 ms, most of it in the inverse.
    """
    clipped, changes = clip_to_box(config, action)
    T_measured = wx250s.forward(measured_rad)
    T_target = compose_target(T_previous, T_measured[:3, 3], clipped)
    words = list(changes)
    words += _keep_position(config, T_target, T_previous[:3, 3], T_measured[:3, 3])
    refused = Screened(T_previous, measured_rad, clipped, ())
    joints_rad = wx250s.inverse(T_target, measured_rad, max_iterations=_MAX_ITERATIONS)
    if joints_rad is None:
        return replace(refused, cause="ik_failed", changes=tuple(words))
    if float(np.abs(joints_rad - measured_rad).max()) > config.max_branch_step_rad:
        return replace(refused, cause="branch_flip", changes=tuple(words))
    joint_words, joints_rad = _keep_joints(config, joints_rad, measured_rad)
    words += joint_words
    way_words, joints_rad = _keep_way(config, joints_rad, measured_rad)
    words += way_words
    if joint_words or way_words:
        joints_rad, T_target = _keep_lead(config, joints_rad, measured_rad, T_measured[:3, 3])
    is_near = _distance_m(T_target, T_measured[:3, 3]) <= config.max_lead_m + _LEAD_SLACK_M
    if not (is_near and is_body_inside(config, joints_rad, measured_rad)):
        return replace(refused, cause="body_limit", changes=tuple(words))
    gap_words = closest(config, joints_rad, measured_rad)
    if gap_words is not None:
        return replace(refused, cause="collision", changes=(*words, gap_words))
    sent = clipped
    if len(words) > len(changes):
        sent = action_between(T_previous, T_target, T_measured[:3, 3], float(clipped[6]))
    return Screened(T_target, joints_rad, sent, tuple(words))


def action_between(
    T_previous: FloatArray, T_target: FloatArray, p_measured_m: FloatArray, gripper: float
) -> FloatArray:
    """Return the Bridge action (7,) that `compose_target` turns into `T_target`."""
    R = T_target[:3, :3] @ T_previous[:3, :3].T
    d = T_target[:3, 3] - p_measured_m - R @ (T_previous[:3, 3] - p_measured_m)
    return np.concatenate([d, rpy_from_rotation(R), [gripper]])


def outside_m(point_m: FloatArray, low_m: FloatArray, high_m: FloatArray) -> float:
    """Return how far a point lies outside a box, as its largest component; 0 inside."""
    return max(0.0, float((low_m - point_m).max()), float((point_m - high_m).max()))


def _keep_position(
    config: GuardConfig, T_target: FloatArray, p_previous_m: FloatArray, p_measured_m: FloatArray
) -> list[str]:
    """Move the target's position into the box, near its predecessor and the tool, in place."""
    words = []
    low = np.array(config.box_low_m)
    low[2] = max(low[2], config.floor_m)
    inside = np.clip(T_target[:3, 3], low, np.array(config.box_high_m))
    if (inside != T_target[:3, 3]).any():
        far_m = float(np.abs(inside - T_target[:3, 3]).max())
        words.append(f"target was {far_m:.3f} m outside the workspace box: moved to its face")
    move = inside - p_previous_m
    move_m = math.sqrt(move @ move)
    if move_m > config.max_translation_m + _ROUNDING_M:
        inside = p_previous_m + move * (config.max_translation_m / move_m)
        words.append(
            f"tool step {move_m:.3f} m is over {config.max_translation_m:.3f} m: shortened"
        )
    lead = inside - p_measured_m
    lead_m = math.sqrt(lead @ lead)
    if lead_m > config.max_lead_m + _ROUNDING_M:
        inside = p_measured_m + lead * (config.max_lead_m / lead_m)
        words.append(f"target ran {lead_m:.3f} m ahead, limit {config.max_lead_m} m: pulled back")
    T_target[:3, 3] = inside
    return words


def _keep_joints(
    config: GuardConfig, joints_rad: FloatArray, measured_rad: FloatArray
) -> tuple[list[str], FloatArray]:
    """Return what was changed and the joints inside limits and within one step of the measured."""
    words = []
    low = wx250s.JOINT_LOWER_RAD + config.joint_margin_rad
    high = wx250s.JOINT_UPPER_RAD - config.joint_margin_rad
    low = np.maximum(np.minimum(low, measured_rad), wx250s.JOINT_LOWER_RAD)
    high = np.minimum(np.maximum(high, measured_rad), wx250s.JOINT_UPPER_RAD)
    inside = np.clip(joints_rad, low, high)
    for k in np.flatnonzero(inside != joints_rad):
        name = wx250s.JOINT_NAMES[k]
        words.append(f"{name} {joints_rad[k]:.3f} rad is past its limit {inside[k]:.3f} rad: kept")
    step = inside - measured_rad
    largest_rad = float(np.abs(step).max())
    if largest_rad > config.max_joint_step_rad:
        scaled = measured_rad + step * (config.max_joint_step_rad / largest_rad)
        inside = np.clip(scaled, wx250s.JOINT_LOWER_RAD, wx250s.JOINT_UPPER_RAD)
        words.append(
            f"joint step {largest_rad:.3f} rad is over {config.max_joint_step_rad:.3f} rad: scaled"
        )
    return words, inside


def _keep_way(
    config: GuardConfig, joints_rad: FloatArray, measured_rad: FloatArray
) -> tuple[list[str], FloatArray]:
    """Return what was changed and joints to which no point of the arm goes too far.

    The servos cover the way from the measured joints in one time profile, so its length bounds
    the speed of every point; the elbow may move while the tool stands.
    """
    start = wx250s.extreme_points(measured_rad)
    words: list[str] = []
    nearer_rad = joints_rad
    for _ in range(_MAX_SHORTENINGS):  # the way is not quite proportional to the joints' step
        way = wx250s.extreme_points(nearer_rad) - start
        way_m = math.sqrt(float((way * way).sum(axis=1).max()))
        if way_m <= config.max_way_m:
            return words, nearer_rad
        if not words:
            words.append(
                f"a point of the arm would go {way_m:.3f} m, limit {config.max_way_m:.3f} m: "
                f"shortened"
            )
        nearer_rad = measured_rad + (nearer_rad - measured_rad) * (0.98 * config.max_way_m / way_m)
    return words, measured_rad


def _keep_lead(
    config: GuardConfig, joints_rad: FloatArray, measured_rad: FloatArray, p_measured_m: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the joints and their tool pose, nearer when the changed joints lead farther out."""
    T_target = wx250s.forward(joints_rad)
    lead_m = _distance_m(T_target, p_measured_m)
    if lead_m <= config.max_lead_m:
        return joints_rad, T_target
    nearer_rad = measured_rad + (joints_rad - measured_rad) * (0.95 * config.max_lead_m / lead_m)
    nearer_rad = np.clip(nearer_rad, wx250s.JOINT_LOWER_RAD, wx250s.JOINT_UPPER_RAD)
    return nearer_rad, wx250s.forward(nearer_rad)


def _distance_m(T_base_tool: FloatArray, p_m: FloatArray) -> float:
    lead = T_base_tool[:3, 3] - p_m
    return math.sqrt(lead @ lead)


def is_body_inside(config: GuardConfig, joints_rad: FloatArray, measured_rad: FloatArray) -> bool:
    """Return whether no body point leaves its box farther than it is measured to be already."""
    floor = np.array([-np.inf, -np.inf, config.floor_m])
    measured_points: dict[str, FloatArray] | None = None
    for name, point in wx250s.body_points(joints_rad).items():
        is_tool = name == "tool"
        low = np.maximum(np.array(config.box_low_m if is_tool else config.body_low_m), floor)
        high = np.array(config.box_high_m if is_tool else config.body_high_m)
        far_m = outside_m(point, low, high)
        if far_m <= config.box_tolerance_m:
            continue
        if measured_points is None:
            measured_points = wx250s.body_points(measured_rad)
        if far_m > outside_m(measured_points[name], low, high):
            return False
    return True
