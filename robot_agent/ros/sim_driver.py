"""The services of Interbotix's driver, answered by the simulated motors."""

from typing import Any

import numpy as np
from interbotix_xs_msgs.srv import (
    MotorGains,
    OperatingModes,
    Reboot,
    RegisterValues,
    RobotInfo,
    TorqueEnable,
)

from robot_agent.core import wx250s
from robot_agent.ros import topics
from robot_agent.ros.sim_faults import Faults

MOTOR_NAMES = (*wx250s.JOINT_NAMES, wx250s.GRIPPER_NAME)
MOTOR_IDS = (1, 2, 4, 6, 7, 8, 9)
STATE_NAMES = (*MOTOR_NAMES, *wx250s.FINGER_NAMES)
"""Order of joint_states: motors, then fingers."""
OVERLOAD_BIT = 32
_VELOCITY_LIMIT = 131
_DEFAULTS = {
    "Hardware_Error_Status": 0,
    "Torque_Enable": 1,
    "Velocity_Limit": _VELOCITY_LIMIT,
    "Profile_Velocity": 250,
    "Profile_Acceleration": 100,
    "Present_Temperature": 35,
    "Present_Input_Voltage": 120,
}


class DriverServices:
    """The seven services of xs_sdk. Belongs to the executor's thread.

    As on the robot, services that write have empty answers: a caller who wants to know reads back.
    Source: interbotix_xs_sdk, xs_sdk_obj.cpp (behaviour only).
    """

    def __init__(self, node: Any, faults: Faults) -> None:
        """Offer the services on `node`."""
        self._faults, self._log = faults, node.get_logger()
        self.is_torque_on = dict.fromkeys(MOTOR_NAMES, True)
        self._modes = dict.fromkeys(MOTOR_NAMES, "position") | {wx250s.GRIPPER_NAME: "pwm"}
        self._registers = {name: dict(_DEFAULTS) for name in MOTOR_NAMES}
        self._services = [
            node.create_service(OperatingModes, "set_operating_modes", self._set_modes),
            node.create_service(MotorGains, "set_motor_pid_gains", self._set_gains),
            node.create_service(RegisterValues, "set_motor_registers", self._set_registers),
            node.create_service(RegisterValues, "get_motor_registers", self._get_registers),
            node.create_service(RobotInfo, "get_robot_info", self._get_info),
            node.create_service(TorqueEnable, "torque_enable", self._set_torque),
            node.create_service(Reboot, "reboot_motors", self._reboot),
        ]

    def _motors(self, cmd_type: str, name: str) -> list[str]:
        if cmd_type == "group" and name in (topics.ARM_GROUP, "all"):
            return list(wx250s.JOINT_NAMES if name == topics.ARM_GROUP else MOTOR_NAMES)
        if cmd_type == "single" and name in MOTOR_NAMES:
            return [name]
        self._log.error(
            f"no {cmd_type} is called '{name}'; groups: arm, all; motors: {MOTOR_NAMES}"
        )
        return []

    def _set_modes(self, request: Any, response: Any) -> Any:
        for motor in self._motors(request.cmd_type, request.name):
            self._modes[motor] = request.mode
            self._registers[motor]["Profile_Velocity"] = request.profile_velocity
            self._registers[motor]["Profile_Acceleration"] = request.profile_acceleration
        return response

    def _set_gains(self, request: Any, response: Any) -> Any:
        for motor in self._motors(request.cmd_type, request.name):
            self._registers[motor]["Position_P_Gain"] = request.kp_pos
            self._registers[motor]["Position_I_Gain"] = request.ki_pos
            self._registers[motor]["Position_D_Gain"] = request.kd_pos
        return response

    def _set_registers(self, request: Any, response: Any) -> Any:
        for motor in self._motors(request.cmd_type, request.name):
            self._registers[motor][request.reg] = request.value
        return response

    def _get_registers(self, request: Any, response: Any) -> Any:
        fault = self._faults.active("motor", 2**62)
        motors = self._motors(request.cmd_type, request.name)
        if fault.kind == "off":
            motors = motors[:-1]
        values = [self._registers[motor].get(request.reg, 0) for motor in motors]
        if fault.kind == "wrong" and request.reg == "Hardware_Error_Status" and values:
            values[-1] |= OVERLOAD_BIT
        response.values = values
        return response

    def _get_info(self, request: Any, response: Any) -> Any:
        is_finger = request.cmd_type == "single" and request.name in wx250s.FINGER_NAMES
        names = [request.name] if is_finger else self._motors(request.cmd_type, request.name)
        response.mode = self._modes.get(names[0], "pwm") if names else ""
        response.profile_type = "time"
        response.joint_names = names
        response.joint_ids = [MOTOR_IDS[MOTOR_NAMES.index(n)] for n in names if n in MOTOR_NAMES]
        lower, upper = zip(*(_limits(name) for name in names), strict=True) if names else ((), ())
        response.joint_lower_limits, response.joint_upper_limits = list(lower), list(upper)
        response.joint_velocity_limits = [wx250s.JOINT_SPEED_LIMIT_RADPS] * len(names)
        sleep = dict(zip(wx250s.JOINT_NAMES, wx250s.SLEEP_RAD, strict=True))
        response.joint_sleep_positions = [float(sleep.get(name, 0.0)) for name in names]
        response.joint_state_indices = [STATE_NAMES.index(name) for name in names]
        response.num_joints = len(names)
        response.name = [request.name] if request.cmd_type == "group" else names
        return response

    def _set_torque(self, request: Any, response: Any) -> Any:
        for motor in self._motors(request.cmd_type, request.name):
            self.is_torque_on[motor] = bool(request.enable)
            self._registers[motor]["Torque_Enable"] = int(request.enable)
        return response

    def _reboot(self, request: Any, response: Any) -> Any:
        for motor in self._motors(request.cmd_type, request.name):
            self.is_torque_on[motor] = bool(request.enable)
            self._registers[motor] = dict(_DEFAULTS) | {"Torque_Enable": int(request.enable)}
        self._faults.inject("motor", "ok", 0.0, 0)
        return response


def _limits(name: str) -> tuple[float, float]:
    if name in wx250s.JOINT_NAMES:
        index = wx250s.JOINT_NAMES.index(name)
        return float(wx250s.JOINT_LOWER_RAD[index]), float(wx250s.JOINT_UPPER_RAD[index])
    if name in wx250s.FINGER_NAMES:
        low, high = wx250s.FINGER_LIMITS_M
        return (low, high) if name == wx250s.FINGER_NAMES[0] else (-high, -low)
    return -np.pi, np.pi
