"""What must be true of the arm and its driver before anything moves; pure comparison."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from robot_agent.core import wx250s
from robot_agent.core.config import load_config, require_range
from robot_agent.core.types import FloatArray

CONTRACT_FILE = Path(__file__).with_name("wx250s.yaml")
MOTORS = (*wx250s.JOINT_NAMES, wx250s.GRIPPER_NAME)
"""Order of the driver's answers for the group `all`."""
MOTOR_IDS = (1, 2, 4, 6, 7, 8, 9)
"""IDs in that order; 3 and 5 are the second motors of shoulder and elbow."""
SHADOWS = ("shoulder_shadow", "elbow_shadow")
TEMPERATURE_LIMITS_C = (80, 80, 80, 80, 80, 72, 72, 80, 80)
"""Of MOTORS and SHADOWS; Source: Robotis e-manual, XM430-W350 and XL430-W250."""
TICKS_PER_RAD = 4096 / (2.0 * np.pi)
ZERO_TICKS = 2048
_LIMIT_TOLERANCE_RAD = 0.01
_VOLATILE = ("Profile_Velocity", "Profile_Acceleration", "Bus_Watchdog", "Torque_Enable")


@dataclass(frozen=True, kw_only=True)
class RegisterRule:
    """What one register must hold, motor by motor."""

    name: str
    """As the driver's library spells it."""
    values: tuple[int, ...]
    """One per motor in the driver's order; shorter where the last motors have no such register."""
    must: Literal["equal", "at least", "at most"] = "equal"
    motor: str = ""
    """Asked of this motor alone; empty asks the group `all`."""

    def is_kept(self, found: int, wanted: int) -> bool:
        """Return whether one motor's value keeps the rule."""
        if self.must == "at least":
            return found >= wanted
        return found <= wanted if self.must == "at most" else found == wanted


@dataclass(frozen=True, kw_only=True)
class ArmContract:
    """What the guard asks of an arm; `wx250s.yaml` beside this file holds the registers."""

    model: str = "wx250s"
    profile_velocity_ms: int = 250
    """Time profile while streaming at 5 Hz; Source: bridge_data_robot, 1.25 x 0.2 s."""
    profile_acceleration_ms: int = 100
    """Source: bridge_data_robot, 0.5 x 0.2 s."""
    bus_watchdog_20ms: int = 5
    """Servos hold when the bus is silent this long, in units of 20 ms; 0 leaves it off."""
    rest_tolerance_rad: float = 0.25
    """How near SLEEP every joint must be for whatever may drop torque."""
    registers: tuple[RegisterRule, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a profile that could not be a stream's, and numbers no servo takes."""
        require_range("profile_velocity_ms", self.profile_velocity_ms, 100, 2000, "ms")
        half = self.profile_velocity_ms // 2
        require_range("profile_acceleration_ms", self.profile_acceleration_ms, 20, half, "ms")
        require_range("bus_watchdog_20ms", self.bus_watchdog_20ms, 0, 127)
        require_range("rest_tolerance_rad", self.rest_tolerance_rad, 0.02, 0.4, "rad")


@dataclass(frozen=True, kw_only=True)
class ArmFacts:
    """What the driver and the servos said."""

    joint_names: tuple[str, ...]
    """Of the group `arm`."""
    joint_ids: tuple[int, ...]
    lower_rad: tuple[float, ...]
    upper_rad: tuple[float, ...]
    mode: str
    profile_type: str
    registers: Mapping[tuple[str, str], tuple[int, ...]] = field(default_factory=dict)
    """(motor or "", register) to the values that came back."""


def load_contract(path: Path = CONTRACT_FILE) -> ArmContract:
    """Return the contract of a YAML file; ConfigError names what is wrong in it."""
    return load_config(ArmContract, [path])


def breaches(contract: ArmContract, facts: ArmFacts) -> tuple[str, ...]:
    """Return one line per broken promise: what, found, wanted, remedy; empty when all is well."""
    lines = _model_breaches(contract, facts)
    if lines:
        return tuple(lines)  # registers of another arm would only hide the reason
    for rule in contract.registers:
        found = facts.registers.get((rule.motor, rule.name), ())
        lines += _register_breaches(rule, found)
    return tuple(lines)


def _model_breaches(contract: ArmContract, facts: ArmFacts) -> list[str]:
    names, wanted = facts.joint_names, wx250s.JOINT_NAMES
    if names != wanted:
        return [
            f"the driver's group 'arm' has the joints {', '.join(names) or 'none'}; a "
            f"{contract.model} has {', '.join(wanted)}. Start the driver with "
            f"robot_model:={contract.model}."
        ]
    lines = []
    if facts.joint_ids != MOTOR_IDS[:6]:
        lines.append(
            f"joint IDs are {facts.joint_ids}, wanted {MOTOR_IDS[:6]}. Use the driver's own "
            f"motor_configs for robot_model:={contract.model}."
        )
    if facts.mode != "position" or facts.profile_type != "time":
        lines.append(
            f"group 'arm' is in mode '{facts.mode}' with profile '{facts.profile_type}', wanted "
            f"'position' with 'time'. Lower the arm to its rest pose and configure again."
        )
    found = zip(wanted, facts.lower_rad, facts.upper_rad, strict=False)
    for k, (name, lower, upper) in enumerate(found):
        low, high = float(wx250s.JOINT_LOWER_RAD[k]), float(wx250s.JOINT_UPPER_RAD[k])
        if abs(lower - low) > _LIMIT_TOLERANCE_RAD or abs(upper - high) > _LIMIT_TOLERANCE_RAD:
            lines.append(
                f"{name}: the driver's limits are [{lower:.3f}, {upper:.3f}] rad, wanted "
                f"[{low:.3f}, {high:.3f}]. Is its robot_description that of a {contract.model}?"
            )
    return lines


def _register_breaches(rule: RegisterRule, found: tuple[int, ...]) -> list[str]:
    motors = (rule.motor,) if rule.motor else MOTORS
    lines: list[str] = []
    for k, wanted in enumerate(rule.values):
        if k >= len(found):
            return [
                *lines,
                f"{motors[k]}: no answer when asked for {rule.name}. Check this motor's cable and "
                f"its power; `robot-agent doctor` names the motors that answer.",
            ]
        if not rule.is_kept(found[k], wanted):
            words = "" if rule.must == "equal" else f"{rule.must} "
            lines.append(
                f"{motors[k]}: {rule.name} is {found[k]}, wanted {words}{wanted}. {_remedy(rule)}"
            )
    return lines


def _remedy(rule: RegisterRule) -> str:
    if rule.name == "Torque_Enable":
        return "Lower the arm to its rest pose and configure again, or reboot the motor there."
    if rule.name in _VOLATILE:
        return "Another program writes the servos: end it, then configure again."
    if rule.name in ("ID", "Model_Number"):
        return "Another motor sits here: put the right one in, or correct motor_configs."
    if rule.name == "Firmware_Version":
        return "Update the servo with Dynamixel Wizard."
    return "Start the driver once with load_configs:=true, or write it with Dynamixel Wizard."


def is_at_rest(contract: ArmContract, joints_rad: FloatArray) -> bool:
    """Return whether joints (6,) [rad] are so near SLEEP that losing torque drops nothing."""
    far = np.abs(np.asarray(joints_rad) - wx250s.SLEEP_RAD)
    # Rolling the wrist or turning the waist does not lift the arm.
    return bool(far[[1, 2, 4]].max() <= contract.rest_tolerance_rad)
