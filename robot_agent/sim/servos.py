"""The nine servos of a simulated wx250s, and what Interbotix's driver lets a caller see of them.

Source: control tables of XM430-W350 and XL430-W250 (Robotis e-manual); interbotix_xs_driver,
xs_driver.cpp (behaviour only); wx250s.yaml of interbotix_xsarm_control (IDs and limits).
"""

from collections.abc import Iterable, Mapping
from typing import Final

from robot_agent.core import wx250s

MOTOR_NAMES: Final = (*wx250s.JOINT_NAMES, wx250s.GRIPPER_NAME)
"""Order of the driver's answers; the second motors of shoulder and elbow are not among them."""
STATE_NAMES: Final = (*MOTOR_NAMES, *wx250s.FINGER_NAMES)
"""Order of joint_states: motors, then fingers."""
IDS: Final = {
    "waist": 1,
    "shoulder": 2,
    "shoulder_shadow": 3,
    "elbow": 4,
    "elbow_shadow": 5,
    "forearm_roll": 6,
    "wrist_angle": 7,
    "wrist_rotate": 8,
    "gripper": 9,
}
"""Every motor on the bus."""
XL430: Final = ("wrist_rotate", "gripper")
VOLTAGE_BIT, OVERHEAT_BIT, ENCODER_BIT, SHOCK_BIT, OVERLOAD_BIT = 1, 4, 8, 16, 32
"""Bits of Hardware_Error_Status."""
MODES: Final = {
    "current": 0,
    "velocity": 1,
    "position": 3,
    "ext_postition": 4,  # sic: the driver's spelling, so `ext_position` is refused
    "linear_position": 3,
    "current_based_position": 5,
    "pwm": 16,
}
TIME_PROFILE_BIT = 4
_TICK_LIMITS = {"shoulder": (819, 3345), "elbow": (648, 3094), "wrist_angle": (910, 3447)}
_EEPROM: Final = {
    "Model_Number": 1020,
    "Firmware_Version": 45,
    "Baud_Rate": 3,
    "Return_Delay_Time": 0,
    "Drive_Mode": 0,
    "Operating_Mode": 3,
    "Homing_Offset": 0,
    "Temperature_Limit": 80,
    "Max_Voltage_Limit": 160,
    "Min_Voltage_Limit": 95,
    "PWM_Limit": 885,
    "Current_Limit": 1193,
    "Velocity_Limit": 131,
    "Shutdown": 52,
}
_RAM: Final = {
    "Torque_Enable": 0,
    "Hardware_Error_Status": 0,
    "Position_P_Gain": 800,
    "Position_I_Gain": 0,
    "Position_D_Gain": 0,
    "Bus_Watchdog": 0,
    "Goal_PWM": 885,
    "Profile_Acceleration": 0,
    "Profile_Velocity": 0,
}
_READ_ONLY = ("Model_Number", "Firmware_Version", "ID", "Hardware_Error_Status")
_PRESENT: Final = {
    "Present_PWM": 0,
    "Present_Velocity": 0,
    "Present_Position": 2048,
    "Present_Input_Voltage": 120,
    "Present_Temperature": 35,
}


class Servos:
    """Registers by motor; the caller serialises access."""

    def __init__(self, profile_ms: tuple[int, int] = (2000, 300), watchdog: int = 0) -> None:
        """Start as the driver leaves them: torque on, position mode, its slow default profile."""
        self._registers = {name: _fresh(name) for name in IDS}
        self.missing: set[str] = set()
        """Motors that do not answer on the bus."""
        self.is_bus_lost = False
        self.modes = dict.fromkeys(IDS, "position")
        arm = (*wx250s.JOINT_NAMES, "shoulder_shadow", "elbow_shadow")
        self.set_mode(arm, "position", "time", profile_ms)
        self.set_mode((wx250s.GRIPPER_NAME,), "pwm", "velocity", (0, 0))
        self.write(IDS, "Bus_Watchdog", watchdog)

    # --- what the driver offers ------------------------------------------------------------------

    @staticmethod
    def members(cmd_type: str, name: str) -> tuple[str, ...]:
        """Return the motors of a group, or the motor itself; empty when there is none."""
        groups = {"arm": wx250s.JOINT_NAMES, "all": MOTOR_NAMES}
        if cmd_type == "group":
            return groups.get(name, ())
        return (name,) if cmd_type == "single" and name in IDS else ()

    def read(self, motors: Iterable[str], register: str) -> list[int]:
        """Return a register of each motor, up to the first one that does not answer.

        The driver gives up at the first failed read, so the answer is short, never marked.
        """
        values: list[int] = []
        for motor in motors:
            known = self._registers[motor]
            if self.is_bus_lost or motor in self.missing or register not in known:
                break
            values.append(known[register])
        return values

    def write(self, motors: Iterable[str], register: str, value: int) -> None:
        """Set a register; refused in silence, as on the bus, where the servo would refuse it.

        EEPROM cannot be written while torque is on; a tripped watchdog is cleared by 0 only.
        """
        for motor in motors:
            known = self._registers[motor]
            is_locked = register in _EEPROM and known["Torque_Enable"] == 1
            if self.is_bus_lost or motor in self.missing or register not in known:
                continue
            if is_locked or register in _READ_ONLY or register in _PRESENT:
                continue
            known[register] = int(value)

    def set_mode(
        self, motors: Iterable[str], mode: str, profile_type: str, profile_ms: tuple[int, int]
    ) -> None:
        """Cycle torque, and set mode and profile in between, as the driver does."""
        for motor in (name for name in motors if name not in self.missing):
            if self.is_bus_lost:
                return
            self.torque((motor,), is_on=False)
            known = self._registers[motor]
            bit = TIME_PROFILE_BIT if profile_type == "time" else 0
            known["Drive_Mode"] = (known["Drive_Mode"] & ~TIME_PROFILE_BIT) | bit
            if mode in MODES:
                known["Operating_Mode"] = MODES[mode]
                self.modes[motor] = mode
            if mode in ("position", "linear_position"):
                known["Profile_Velocity"], known["Profile_Acceleration"] = profile_ms
            self.torque((motor,), is_on=True)

    def torque(self, motors: Iterable[str], *, is_on: bool) -> None:
        """Switch torque; a servo with a hardware error stays limp."""
        for motor in motors:
            if not self.is_bus_lost and motor not in self.missing:
                known = self._registers[motor]
                known["Torque_Enable"] = int(is_on and not known["Hardware_Error_Status"])

    def reboot(self, motors: Iterable[str], *, enable: bool, is_smart: bool) -> None:
        """Restart motors: RAM is lost, errors are gone, torque is off unless `enable`."""
        for motor in motors:
            known = self._registers[motor]
            if self.is_bus_lost or motor in self.missing:
                continue
            if is_smart and not known["Hardware_Error_Status"]:
                continue
            known.update(_RAM)
            self.torque((motor,), is_on=enable)

    # --- what physics and tests do ---------------------------------------------------------------

    def present(self, motor: str, values: Mapping[str, int]) -> None:
        """Let a motor report what it measures."""
        self._registers[motor].update(values)

    def force(self, motor: str, register: str, value: int) -> None:
        """Set any register, as a wrong configuration or a fault would."""
        self._registers[motor][register] = value

    def fail(self, motor: str, bits: int) -> None:
        """Set bits of Hardware_Error_Status; the servo shuts itself down."""
        known = self._registers[motor]
        known["Hardware_Error_Status"] |= bits
        if bits & known["Shutdown"]:
            known["Torque_Enable"] = 0

    def value(self, motor: str, register: str) -> int:
        """Return what a register truly holds."""
        return self._registers[motor][register]

    def is_driven(self, motor: str) -> bool:
        """Return whether a motor follows its goal."""
        known = self._registers[motor]
        return known["Torque_Enable"] == 1 and known["Bus_Watchdog"] != -1


def _fresh(motor: str) -> dict[str, int]:
    low, high = _TICK_LIMITS.get(motor.removesuffix("_shadow"), (0, 4095))
    registers = {
        **_EEPROM,
        **_RAM,
        **_PRESENT,
        "Present_Current": 0,
        "ID": IDS[motor],
        "Min_Position_Limit": low,
        "Max_Position_Limit": high,
    }
    if motor == "wrist_angle" or motor.endswith("_shadow"):
        registers["Drive_Mode"] = 1
    if motor in XL430:
        registers |= {"Model_Number": 1060, "Temperature_Limit": 72, "Min_Voltage_Limit": 60}
        registers["Present_Load"] = registers.pop("Present_Current")
        del registers["Current_Limit"]
    return registers
