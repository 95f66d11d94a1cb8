"""The services of Interbotix's driver, answered by simulated servos."""

import threading
from typing import Any

from interbotix_xs_msgs.srv import (
    MotorGains,
    OperatingModes,
    Reboot,
    RegisterValues,
    RobotInfo,
    TorqueEnable,
)

from robot_agent.core import wx250s
from robot_agent.sim.servos import IDS, STATE_NAMES, Servos

_GAINS = {
    "kp_pos": "Position_P_Gain",
    "ki_pos": "Position_I_Gain",
    "kd_pos": "Position_D_Gain",
}


class DriverServices:
    """The seven services of xs_sdk. Belongs to the executor's thread; servos under the lock.

    As on the robot, services that write have empty answers: a caller who wants to know reads back.
    Source: interbotix_xs_sdk, xs_sdk_obj.cpp (behaviour only).
    """

    num_joints = len(wx250s.JOINT_NAMES)
    """Of the group `arm`; another number plays another arm."""

    def __init__(self, node: Any, servos: Servos, lock: threading.Lock) -> None:
        """Offer the services on `node`."""
        self._servos, self._lock, self._log = servos, lock, node.get_logger()
        self._services = [
            node.create_service(OperatingModes, "set_operating_modes", self._set_modes),
            node.create_service(MotorGains, "set_motor_pid_gains", self._set_gains),
            node.create_service(RegisterValues, "set_motor_registers", self._set_registers),
            node.create_service(RegisterValues, "get_motor_registers", self._get_registers),
            node.create_service(RobotInfo, "get_robot_info", self._get_info),
            node.create_service(TorqueEnable, "torque_enable", self._set_torque),
            node.create_service(Reboot, "reboot_motors", self._reboot),
        ]

    def answering(self) -> None:
        """Called before each answer; an emulator may be slow here."""

    def is_torque_on(self, motor: str) -> bool:
        """Return whether a motor follows its goal."""
        with self._lock:
            return self._servos.is_driven(motor)

    def _motors(self, request: Any) -> tuple[str, ...]:
        self.answering()
        motors = self._servos.members(request.cmd_type, request.name)
        if not motors:
            self._log.error(
                f"no {request.cmd_type} is called '{request.name}'; groups: arm, all; "
                f"motors: {', '.join(IDS)}"
            )
        return motors

    def _set_modes(self, request: Any, response: Any) -> Any:
        motors = self._motors(request)
        shadows = tuple(f"{name}_shadow" for name in motors if f"{name}_shadow" in IDS)
        profile_ms = (request.profile_velocity, request.profile_acceleration)
        with self._lock:
            self._servos.set_mode(
                (*motors, *shadows), request.mode, request.profile_type, profile_ms
            )
        return response

    def _set_gains(self, request: Any, response: Any) -> Any:
        motors = self._motors(request)
        with self._lock:
            for field, register in _GAINS.items():
                self._servos.write(motors, register, getattr(request, field))
        return response

    def _set_registers(self, request: Any, response: Any) -> Any:
        motors = self._motors(request)
        with self._lock:
            self._servos.write(motors, request.reg, request.value)
        return response

    def _get_registers(self, request: Any, response: Any) -> Any:
        motors = self._motors(request)
        with self._lock:
            response.values = self._servos.read(motors, request.reg)
        return response

    def _get_info(self, request: Any, response: Any) -> Any:
        """Answer as the driver does: the gripper's name is that of its left finger."""
        motors = self._motors(request)[: self.num_joints if request.name == "arm" else None]
        if not motors:
            return response
        with self._lock:
            response.mode = self._servos.modes[motors[0]]
            bits = self._servos.value(motors[0], "Drive_Mode")
        response.profile_type = "time" if bits & 4 else "velocity"
        response.joint_ids = [IDS[name] for name in motors]
        names = [_reported_name(name) for name in motors]
        response.joint_names = names
        lower, upper = zip(*(_limits(name) for name in names), strict=True)
        response.joint_lower_limits, response.joint_upper_limits = list(lower), list(upper)
        response.joint_velocity_limits = [wx250s.JOINT_SPEED_LIMIT_RADPS] * len(names)
        sleep = dict(zip(wx250s.JOINT_NAMES, wx250s.SLEEP_RAD, strict=True))
        response.joint_sleep_positions = [float(sleep.get(name, 0.0)) for name in names]
        response.joint_state_indices = [STATE_NAMES.index(name) for name in names]
        response.num_joints = len(names)
        response.name = ["all", "arm"] if request.name == "all" else [request.name]
        return response

    def _set_torque(self, request: Any, response: Any) -> Any:
        motors = self._motors(request)
        with self._lock:
            self._servos.torque(motors, is_on=bool(request.enable))
        return response

    def _reboot(self, request: Any, response: Any) -> Any:
        motors = self._motors(request)
        with self._lock:
            self._servos.reboot(
                motors, enable=bool(request.enable), is_smart=bool(request.smart_reboot)
            )
        return response


def _reported_name(motor: str) -> str:
    motor = motor.removesuffix("_shadow")
    return wx250s.FINGER_NAMES[0] if motor == wx250s.GRIPPER_NAME else motor


def _limits(name: str) -> tuple[float, float]:
    if name in wx250s.JOINT_NAMES:
        index = wx250s.JOINT_NAMES.index(name)
        return float(wx250s.JOINT_LOWER_RAD[index]), float(wx250s.JOINT_UPPER_RAD[index])
    return wx250s.FINGER_LIMITS_M
