"""The arm behind the emulated driver: joints, a gripper, and things that break."""

import math

import numpy as np

from robot_agent.core import wx250s
from robot_agent.core.types import FloatArray
from robot_agent.sim.servos import IDS, MOTOR_NAMES, OVERLOAD_BIT, Servos

PERIOD_S = 0.01
"""joint_states come at 100 Hz."""
CURRENT_UNIT_MA = 2.69
"""Of Present_Current; the driver multiplies the XL430's load by it too."""
_HORN_M, _ARM_M = 0.014, 0.024
"""Crank of the gripper; Source: wx250s.yaml of interbotix_xsarm_control."""
_FINGER_MPS_AT_FULL_PWM = 0.12
_STALL_PWM = 60.0
"""Friction: less PWM moves no finger."""
_FALL_PER_S = 2.0
_SERVO_TAU_S = 0.02
"""Of the position loop behind the profile."""
_OVERLOAD_S = 4.0
"""A gripper that pushes at more than _OVERLOAD_LOAD in vain this long shuts itself down."""
_OVERLOAD_LOAD = 300.0
_TICKS_PER_RAD = 4096 / (2.0 * math.pi)


def finger_from_angle(angle_rad: float) -> float:
    """Return the finger's position [m] of the gripper's horn; Source: xs_driver.cpp."""
    across, along = _HORN_M * math.sin(angle_rad), _HORN_M * math.cos(angle_rad)
    return across + math.sqrt(_ARM_M**2 - along**2)


def angle_from_finger(finger_m: float) -> float:
    """Return the horn's angle [rad] of a finger position [m]; the inverse of the above."""
    sine = (finger_m**2 + _HORN_M**2 - _ARM_M**2) / (2.0 * _HORN_M * finger_m)
    return math.asin(min(max(sine, -1.0), 1.0))


class _Profile:
    """A servo's time profile: a cubic from the present place and speed to the goal at rest."""

    def __init__(self, place: float) -> None:
        self._place, self._speed, self._goal = place, 0.0, place
        self._left_s = 0.0

    def step(self, goal: float, duration_s: float) -> float:
        """Return the place [rad] 10 ms later; a new goal starts the profile anew."""
        if goal != self._goal:
            self._goal, self._left_s = goal, duration_s
        if self._left_s <= PERIOD_S:
            self._place, self._speed, self._left_s = self._goal, 0.0, 0.0
            return self._place
        s, d, v, t = self._left_s, self._goal - self._place, self._speed, PERIOD_S
        a, b = 3.0 * d / s**2 - 2.0 * v / s, -2.0 * d / s**3 + v / s**2
        self._place += v * t + a * t**2 + b * t**3
        self._speed = v + 2.0 * a * t + 3.0 * b * t**2
        self._left_s -= t
        return self._place


class EmulatedArm:
    """Moves joints towards their goals; one caller at a time."""

    def __init__(self, servos: Servos) -> None:
        """Lie in the sleep pose with the gripper open."""
        self._servos = servos
        self.joints_rad: FloatArray = wx250s.SLEEP_RAD.copy()
        self.velocities_radps: FloatArray = np.zeros(6)
        self.goal_rad: FloatArray = self.joints_rad.copy()
        self._setpoint_rad: FloatArray = self.joints_rad.copy()
        self._profile = [_Profile(float(value)) for value in self.joints_rad]
        self.finger_m = wx250s.FINGER_OPEN_M
        self.pwm = 0.0
        self.walls: dict[str, tuple[float, float]] = {}
        """Joint to the range [rad] that something solid leaves it."""
        self.jammed: set[str] = set()
        self.encoder_rad: dict[str, float] = {}
        """What an encoder reads above the truth."""
        self.object_m: float | None = None
        """Finger position at which something between the fingers is touched."""
        self.efforts_ma: FloatArray = np.zeros(len(MOTOR_NAMES))
        self._pushing_s = 0.0

    def step(self) -> None:
        """Advance 10 ms."""
        before = self.joints_rad.copy()
        for index, name in enumerate(wx250s.JOINT_NAMES):
            self.joints_rad[index] = self._next(index, name)
        self.velocities_radps = (self.joints_rad - before) / PERIOD_S
        gap_rad = self._setpoint_rad - self.joints_rad
        driven = np.array([self._servos.is_driven(name) for name in wx250s.JOINT_NAMES])
        # A position loop pushes in proportion to its error until it stalls.
        self.efforts_ma[:6] = np.where(driven, np.clip(gap_rad * 9000.0, -3000.0, 3000.0), 0.0)
        self._step_gripper()
        self._report()

    def positions(self) -> list[float]:
        """Return positions in the order of joint_states [rad, m], as the encoders read."""
        joints = [
            float(value) + self.encoder_rad.get(name, 0.0)
            for name, value in zip(wx250s.JOINT_NAMES, self.joints_rad, strict=True)
        ]
        return [*joints, angle_from_finger(self.finger_m), self.finger_m, -self.finger_m]

    def velocities(self) -> list[float]:
        """Return velocities in the order of joint_states; zero for gripper and fingers."""
        return [*map(float, self.velocities_radps), 0.0, 0.0, 0.0]

    def efforts(self) -> list[float]:
        """Return efforts [mA] in the order of joint_states."""
        return [*map(float, self.efforts_ma), 0.0, 0.0]

    def _next(self, index: int, name: str) -> float:
        now = float(self.joints_rad[index])
        if not self._servos.is_driven(name):
            fallen = now + (float(wx250s.SLEEP_RAD[index]) - now) * _FALL_PER_S * PERIOD_S
            self._setpoint_rad[index] = fallen
            self._profile[index] = _Profile(fallen)
            return now if name in self.jammed else fallen
        duration_s = max(self._servos.value(name, "Profile_Velocity"), 30) * 1e-3
        wanted = self._profile[index].step(float(self.goal_rad[index]), duration_s)
        setpoint = float(self._setpoint_rad[index])
        move = (wanted - setpoint) * (1.0 - math.exp(-PERIOD_S / _SERVO_TAU_S))
        limit = self._servos.value(name, "Velocity_Limit") * 0.229 * 2.0 * math.pi / 60.0
        setpoint += min(max(move, -limit * PERIOD_S), limit * PERIOD_S)
        self._setpoint_rad[index] = setpoint
        low, high = self.walls.get(name, (-math.inf, math.inf))
        return now if name in self.jammed else min(max(setpoint, low), high)

    def _step_gripper(self) -> None:
        pwm = self.pwm if self._servos.is_driven(wx250s.GRIPPER_NAME) else 0.0
        before = self.finger_m
        if abs(pwm) > _STALL_PWM and wx250s.GRIPPER_NAME not in self.jammed:
            low = wx250s.FINGER_CLOSED_M if self.object_m is None else self.object_m
            moved = before + pwm / 350.0 * _FINGER_MPS_AT_FULL_PWM * PERIOD_S
            self.finger_m = min(max(moved, min(low, before)), wx250s.FINGER_LIMITS_M[1])
        is_still = abs(self.finger_m - before) < 1e-6
        is_jammed = wx250s.GRIPPER_NAME in self.jammed
        # Thousandths of full: what the PWM asks for; a jam draws more, as nothing gives way.
        load = pwm / 0.885 * (1.5 if is_jammed else 1.0 if is_still else 0.3)
        self.efforts_ma[6] = load * CURRENT_UNIT_MA
        is_pushing = is_still and abs(load) > _OVERLOAD_LOAD
        self._pushing_s = self._pushing_s + PERIOD_S if is_pushing else 0.0
        if self._pushing_s > _OVERLOAD_S:
            self._servos.fail(wx250s.GRIPPER_NAME, OVERLOAD_BIT)

    def _report(self) -> None:
        """Write positions and currents into the registers."""
        for motor in IDS:
            name = motor.removesuffix("_shadow")
            index = MOTOR_NAMES.index(name)
            angle = angle_from_finger(self.finger_m) if index == 6 else self.joints_rad[index]
            load = int(self.efforts_ma[index] / CURRENT_UNIT_MA)
            name_of_load = "Present_Load" if index >= 5 else "Present_Current"
            ticks = round(2048 + float(angle) * _TICKS_PER_RAD)
            self._servos.present(motor, {"Present_Position": ticks, name_of_load: load})
