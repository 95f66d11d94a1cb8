"""The gripper's position loop, its grip force, and what happens when it pushes in vain; pure."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from robot_agent.core import wx250s
from robot_agent.guard.limits import GRIPPER_GAIN_PER_M, MAX_GRIPPER_PWM, GuardConfig, to_ns

if TYPE_CHECKING:
    from robot_agent.guard.state import Measured

EFFORT_PER_LOAD = 2.69
"""The driver reports the XL430's load (thousandths of full) times its factor for currents."""
_GRIP_S = 0.3
"""Resistance that lasts this long is a grip."""
_STILL_M = 0.0005
_LOST_M = 0.004
"""A grip that closes farther than this has lost what it held."""
_RETRY = 0.1
"""A new target this far from the one that jammed is a new attempt."""
_TOLD_S = 0.5
"""A loss is told this long, so that it is among the words of the next step in the episode."""
_FRICTION_LOAD = 60.0
"""Less is friction."""
_EFFORT_INDEX = len(wx250s.JOINT_NAMES)
"""The gripper's place among the efforts: after the joints."""


@dataclass(frozen=True)
class Grip:
    """What is remembered between ticks."""

    still_ns: int = 0
    """Since when the finger stands still."""
    finger_m: float = -1.0
    """Where it stands."""
    held_m: float | None = None
    """Where it closed on something; None while it holds nothing."""
    dropped_ns: int | None = None
    """When what it held was lost."""
    loaded_ns: int | None = None
    """Since when it pushes in vain above the allowed load."""
    jam_target: float | None = None
    """The target at which it was let loose; None while it works."""
    jams_ns: tuple[int, ...] = ()


def drive(
    config: GuardConfig, grip: Grip, now_ns: int, measured: "Measured", opening: float
) -> tuple[float, Grip, tuple[str, ...]]:
    """Return the PWM, the new memory and the causes of this tick.

    Bridge's P-loop, which would push at full PWM for as long as something is between the fingers.
    Where the motor tells its load, a resisted grip is eased to `grip_pwm`; a load that stays above
    `max_grip_load` for `jam_s` lets the gripper loose until another opening is asked for.

    Source: bridge_data_robot, custom_gripper_controller.py (the loop).
    """
    finger_m, load = float(measured.finger_m), _load(measured)
    error_m = wx250s.finger_from_opening(opening) - finger_m
    pwm = MAX_GRIPPER_PWM * min(max(error_m * GRIPPER_GAIN_PER_M, -1.0), 1.0)
    if abs(finger_m - grip.finger_m) > _STILL_M:
        grip = replace(grip, still_ns=now_ns, finger_m=finger_m)
    is_still = now_ns - grip.still_ns >= to_ns(_GRIP_S)
    if grip.jam_target is not None and abs(opening - grip.jam_target) > _RETRY:
        grip = replace(grip, jam_target=None, loaded_ns=None, still_ns=now_ns)
    if load is None:
        return (pwm if grip.jam_target is None else 0.0), grip, ()
    if grip.held_m is not None and finger_m < grip.held_m - _LOST_M and error_m < 0.0:
        grip = replace(grip, held_m=None, dropped_ns=now_ns)
    is_told = grip.dropped_ns is not None and now_ns - grip.dropped_ns < to_ns(_TOLD_S)
    causes = ("object_dropped",) if is_told else ()
    is_resisted = is_still and abs(error_m) > _LOST_M
    is_opened = grip.held_m is not None and finger_m > grip.held_m + _LOST_M
    if error_m > 0.0 or is_opened:
        grip = replace(grip, held_m=None)
    elif is_resisted and grip.held_m is None and abs(load) > _FRICTION_LOAD:
        grip = replace(grip, held_m=finger_m)
    if is_resisted:
        pwm = min(max(pwm, -config.grip_pwm), config.grip_pwm)
    grip, jam = _watch_load(config, grip, now_ns, abs(load), opening)
    return (0.0 if grip.jam_target is not None else pwm), grip, (*causes, *jam)


def _watch_load(
    config: GuardConfig, grip: Grip, now_ns: int, load: float, opening: float
) -> tuple[Grip, tuple[str, ...]]:
    """Let loose what pushes too hard in vain for too long; stop when that happens again."""
    if grip.jam_target is not None:
        return grip, ("gripper_overload",)
    is_pushing = load > config.max_grip_load and grip.still_ns < now_ns
    loaded_ns = (grip.loaded_ns or now_ns) if is_pushing else None
    grip = replace(grip, loaded_ns=loaded_ns)
    if loaded_ns is None or now_ns - loaded_ns < to_ns(config.jam_s):
        return grip, ()
    start_ns = now_ns - to_ns(config.fault_window_s)
    jams = (*(t for t in grip.jams_ns if t > start_ns), now_ns)
    grip = replace(grip, jam_target=opening, jams_ns=jams, held_m=None)
    is_repeated = len(jams) >= config.max_jams
    return grip, ("gripper_overload", *(("gripper_jam",) if is_repeated else ()))


def _load(measured: "Measured") -> float | None:
    """Return the gripper's load [thousandths of full], or None where no motor tells."""
    if measured.effort is None or len(measured.effort) <= _EFFORT_INDEX:
        return None
    return float(measured.effort[_EFFORT_INDEX]) / EFFORT_PER_LOAD
