"""Brings the arm into the state that the contract asks for, and reads back whether it is there."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from robot_agent.core import wx250s
from robot_agent.core.errors import ArmFaultError
from robot_agent.core.types import FloatArray
from robot_agent.guard.contract import (
    MOTORS,
    SHADOWS,
    TEMPERATURE_LIMITS_C,
    TICKS_PER_RAD,
    ZERO_TICKS,
    ArmContract,
    ArmFacts,
    breaches,
    is_at_rest,
)
from robot_agent.guard.health import Health

if TYPE_CHECKING:
    from robot_agent.ros.xs_driver import ArmDriver

_PWM_MODE = 16
_SLOW_MS = (4000, 600)
"""Time profile of a move to home or sleep: slower than the driver's own 2000 and 300."""


def prepare(driver: "ArmDriver", contract: ArmContract) -> None:
    """Set mode, torque, streaming profile and watchdog where they differ.

    Mode and torque are touched only at the rest pose: both let the arm fall otherwise. Profiles
    and watchdog are RAM and can be written while the arm stands.

    Raises:
        ArmFaultError: Mode or torque would have to change and the arm is not at rest.
    """
    info = driver.info("group", "arm")
    if tuple(info.joint_names) != wx250s.JOINT_NAMES:
        return  # another arm: what reads back says so, and nothing is written to it
    is_streaming = info.mode == "position" and info.profile_type == "time"
    profile_ms = (contract.profile_velocity_ms, contract.profile_acceleration_ms)
    if not is_streaming:
        _require_rest(driver, contract, f"the arm is in mode '{info.mode}'")
        driver.set_mode("group", "arm", "position", ("time", *profile_ms))
    if driver.read("single", wx250s.GRIPPER_NAME, "Operating_Mode") != (_PWM_MODE,):
        _require_rest(driver, contract, "the gripper is not in mode 'pwm'")
        driver.set_mode("single", wx250s.GRIPPER_NAME, "pwm", ("velocity", 0, 0))
    set_profile(driver, profile_ms)
    for cmd_type, name in (("group", "all"), *(("single", motor) for motor in SHADOWS)):
        driver.write(cmd_type, name, "Bus_Watchdog", 0)  # clears one that tripped
        driver.write(cmd_type, name, "Bus_Watchdog", contract.bus_watchdog_20ms)
    if 0 in driver.read("group", "all", "Torque_Enable"):
        _require_rest(driver, contract, "torque is off")
        driver.torque("group", "all", is_on=True)


def set_profile(driver: "ArmDriver", profile_ms: tuple[int, int]) -> None:
    """Write a time profile (moving, accelerating) [ms] to every motor of the arm."""
    for cmd_type, name in (("group", "arm"), *(("single", motor) for motor in SHADOWS)):
        driver.write(cmd_type, name, "Profile_Velocity", profile_ms[0])
        driver.write(cmd_type, name, "Profile_Acceleration", profile_ms[1])


def inspect(driver: "ArmDriver", contract: ArmContract) -> tuple[str, ...]:
    """Return what does not keep the contract: model, IDs, limits, registers; one line each."""
    info = driver.info("group", "arm")
    registers = {
        (rule.motor, rule.name): driver.read(
            "single" if rule.motor else "group", rule.motor or "all", rule.name
        )
        for rule in contract.registers
    }
    facts = ArmFacts(
        joint_names=tuple(info.joint_names),
        joint_ids=tuple(info.joint_ids),
        lower_rad=tuple(info.joint_lower_limits),
        upper_rad=tuple(info.joint_upper_limits),
        mode=info.mode,
        profile_type=info.profile_type,
        registers=registers,
    )
    return breaches(contract, facts)


def poll(driver: "ArmDriver", contract: ArmContract, stamp_ns: int) -> Health:
    """Return the motors' health; the second motors of shoulder and elbow are asked by name.

    An answer is short from the first motor on that is silent; that one is named.
    """
    missing: list[str] = []

    def ask(register: str, shadows: tuple[str, ...] = ()) -> tuple[int, ...]:
        found = driver.read("group", "all", register)
        missing.extend(MOTORS[len(found) : len(found) + 1])
        for motor in shadows if not missing else ():
            value = driver.read("single", motor, register)
            found += value
            missing.extend(() if value else (motor,))
        return found

    return Health(
        stamp_ns=stamp_ns,
        hardware_errors=ask("Hardware_Error_Status", SHADOWS),
        temperatures_c=ask("Present_Temperature", SHADOWS),
        temperature_limits_c=TEMPERATURE_LIMITS_C,
        voltages_v=tuple(value / 10.0 for value in ask("Present_Input_Voltage")),
        torques=ask("Torque_Enable"),
        watchdogs=ask("Bus_Watchdog"),
        watchdog=contract.bus_watchdog_20ms,
        missing=tuple(dict.fromkeys(missing)),
    )


def joints_rad(driver: "ArmDriver") -> FloatArray:
    """Return the joints (6,) [rad] as the registers tell them.

    Raises:
        ArmFaultError: A motor did not answer.
    """
    ticks = driver.read("group", "arm", "Present_Position")
    if len(ticks) != len(wx250s.JOINT_NAMES):
        silent = wx250s.JOINT_NAMES[len(ticks)]
        raise ArmFaultError(
            f"{silent}: no answer when asked for Present_Position. Check this motor's cable and "
            f"its power."
        )
    positions: FloatArray = (np.array(ticks) - ZERO_TICKS) / TICKS_PER_RAD
    return positions


def reboot(driver: "ArmDriver", contract: ArmContract) -> None:
    """Restart the motors that are in error, at rest only, and set the arm up again.

    Raises:
        ArmFaultError: The arm is not at rest: a reboot drops torque.
    """
    _require_rest(driver, contract, "a reboot drops torque")
    driver.reboot("group", "all", is_smart=True)
    for motor in SHADOWS:
        if driver.read("single", motor, "Hardware_Error_Status") not in ((0,), ()):
            driver.reboot("single", motor, is_smart=False)
    prepare(driver, contract)


def go_to(
    driver: "ArmDriver", goal_rad: FloatArray, send: Callable[[list[float]], None], is_clear: bool
) -> float:
    """Send the arm slowly to joints (6,) [rad] and return how long that takes [s].

    Raises:
        ArmFaultError: The straight way in joint space is not clear.
    """
    if not is_clear:
        raise ArmFaultError(
            "the straight way there leaves the workspace, must not. Move the arm by hand or by "
            "teleoperation to a free place first."
        )
    set_profile(driver, _SLOW_MS)
    driver.move(goal_rad.tolist(), lambda joints: send(list(joints)))
    return _SLOW_MS[0] * 1e-3


def _require_rest(driver: "ArmDriver", contract: ArmContract, why: str) -> None:
    found = joints_rad(driver)
    if not is_at_rest(contract, found):
        raise ArmFaultError(
            f"{why}, and changing that lets the arm fall; joints are {np.round(found, 2)} rad, "
            f"rest is {wx250s.SLEEP_RAD} within {contract.rest_tolerance_rad}. Support the arm, "
            f"lower it to its rest pose, then configure again."
        )
