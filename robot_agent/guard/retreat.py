"""Backs an arm that met a person off again, a little, while another person asks for it."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from robot_agent.core import wx250s
from robot_agent.core.types import FloatArray
from robot_agent.guard.collision import closest
from robot_agent.guard.limits import GuardConfig
from robot_agent.guard.screen import is_body_inside

MAX_WAY_M: Final = 0.02
"""Farthest that any point of the arm backs off after one contact."""
_WAY_PER_TICK_M: Final = 0.0008
"""40 mm/s at 50 Hz; 50 are allowed."""
_MAX_LEAD_M: Final = 0.008
"""The target waits for an arm that does not follow: it may be held from the other side too."""
_MAX_TURN_RAD: Final = 0.5
_RELEASABLE: Final = frozenset(("contact", "operator_stop", "gripper_jam", "workspace_left"))
"""While anything else is latched too, neither encoders nor motors are to be trusted."""


@dataclass(frozen=True, eq=False)
class Retreat:
    """Where the arm met something, and which way it was pushing."""

    start_rad: FloatArray
    """Measured joints (6,) at the contact."""
    push_rad: FloatArray
    """From there towards the target of that moment (6,)."""
    share: float = 0.0
    """Of `push_rad`, gone back so far."""


def begin(measured_rad: FloatArray, target_rad: FloatArray) -> Retreat | None:
    """Return the way back from a contact; None when the arm was not pushing any way."""
    push_rad = target_rad - measured_rad
    if float(np.abs(push_rad).max()) < 1e-4:
        return None
    return Retreat(np.array(measured_rad), push_rad)


def next_target(
    config: GuardConfig, retreat: Retreat, measured_rad: FloatArray, latched: tuple[str, ...]
) -> tuple[FloatArray, Retreat] | None:
    """Return the joint target (6,) of the next tick on the way back, or None to stay.

    Stays when the way is used up, the arm does not follow, the way leads out of a limit, or when
    more than a contact is latched.

    Source: failures_and_safety A7, at most 20 mm and 50 mm/s.
    """
    if not _RELEASABLE.issuperset(latched):
        return None
    unit = retreat.push_rad / float(np.abs(retreat.push_rad).max())
    per_rad_m = wx250s.longest_way_m(retreat.start_rad, retreat.start_rad - 1e-3 * unit) / 1e-3
    step = _WAY_PER_TICK_M / max(per_rad_m, 1e-3) / float(np.abs(retreat.push_rad).max())
    further = replace(retreat, share=retreat.share + step)
    goal_rad = retreat.start_rad - further.share * retreat.push_rad
    inside = np.clip(goal_rad, wx250s.JOINT_LOWER_RAD, wx250s.JOINT_UPPER_RAD)
    is_over = (
        wx250s.longest_way_m(retreat.start_rad, goal_rad) > MAX_WAY_M
        or float(np.abs(goal_rad - retreat.start_rad).max()) > _MAX_TURN_RAD
        or wx250s.longest_way_m(measured_rad, goal_rad) > _MAX_LEAD_M
        or bool((inside != goal_rad).any())
        or not is_body_inside(config, goal_rad, measured_rad)
        or closest(config, goal_rad, measured_rad) is not None
    )
    return None if is_over else (goal_rad, further)
