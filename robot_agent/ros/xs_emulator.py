"""Node `xs_sdk`: an emulator of Interbotix's driver and the arm behind it, for tests of the guard.

Same topics, services, messages and rates; nothing of the world but the arm. Faults are planted
through the service `sim/inject`; the words are in `robot_agent.sim.driver_faults`.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from interbotix_xs_msgs.msg import JointGroupCommand, JointSingleCommand
from rclpy.node import Node
from robot_agent_interfaces.srv import SimInject
from sensor_msgs.msg import JointState

from robot_agent.core import wx250s
from robot_agent.core.errors import InputError
from robot_agent.core.types import FloatArray
from robot_agent.ros import convert, params, process, realtime, topics
from robot_agent.ros.clock import ScaledClock
from robot_agent.ros.params import setting
from robot_agent.ros.sim_driver import DriverServices
from robot_agent.ros.ticker import Ticker
from robot_agent.sim.driver_faults import DriverFaults
from robot_agent.sim.emulated_arm import PERIOD_S, EmulatedArm
from robot_agent.sim.servos import STATE_NAMES, Servos

_PERIOD_NS = round(PERIOD_S * 1e9)


@dataclass(frozen=True, kw_only=True)
class XsEmulatorConfig:
    """Parameters of the emulated driver."""

    profile_velocity_ms: int = setting(2000, "Time profile after the start.", 0, 10000)
    profile_acceleration_ms: int = setting(300, "Its acceleration.", 0, 5000)

    def __post_init__(self) -> None:
        """Check the ranges."""
        params.check_ranges(self)


class XsEmulatorNode(Node):
    """One thread moves the arm at 100 Hz; services and commands come in the executor's thread."""

    def __init__(self) -> None:
        """Lie in the sleep pose with torque on, as after the driver's start."""
        super().__init__("xs_sdk")
        config = params.declare(self, XsEmulatorConfig)
        self._time, self._lock = ScaledClock(), threading.Lock()
        self._servos = Servos((config.profile_velocity_ms, config.profile_acceleration_ms))
        self._arm = EmulatedArm(self._servos)
        self._faults = DriverFaults(self._servos, self._arm)
        self._driver = DriverServices(self, self._servos, self._lock)
        self._driver.answering = self._answer_late  # type: ignore[method-assign]
        self._late: list[tuple[int, FloatArray]] = []
        self._ticks = 0
        self._joint_states = self.create_publisher(JointState, topics.JOINT_STATES, topics.JOINTS)
        self.create_subscription(
            JointGroupCommand, topics.ARM_COMMAND, self._on_group, topics.JOINTS
        )
        self.create_subscription(
            JointSingleCommand, topics.GRIPPER_COMMAND, self._on_single, topics.JOINTS
        )
        self.create_service(SimInject, topics.SIM_INJECT, self._on_inject)
        self._ticker = Ticker(
            self._time, _PERIOD_NS, self._tick, on_error=self._report_error, name="arm"
        )
        self._ticker.start()

    def close(self) -> None:
        """Stop the arm's thread."""
        self._ticker.stop()

    def _on_group(self, message: Any) -> None:
        goal = np.array(message.cmd, np.float64)
        if message.name != topics.ARM_GROUP or goal.shape != (6,):
            self.get_logger().error(
                f"Number of commands ({goal.size}) does not match the number of joints in group "
                f"'{message.name}'. Will not execute."
            )
            return
        with self._lock:
            fault = self._faults.of("commands")
            if fault.kind != "off" and not self._servos.is_bus_lost:
                late = round(fault.argument / PERIOD_S) if fault.kind == "delayed" else 0
                self._late.append((self._ticks + late, goal))

    def _on_single(self, message: Any) -> None:
        with self._lock:
            if message.name == wx250s.GRIPPER_NAME and not self._servos.is_bus_lost:
                self._arm.pwm = float(message.cmd)

    def _tick(self, due_ns: int, late_ns: int) -> None:
        del late_ns
        with self._lock:
            self._ticks += 1
            self._faults.begin(self._ticks)
            while self._late and self._late[0][0] <= self._ticks:
                self._arm.goal_rad = self._late.pop(0)[1]
            self._arm.step()
            self._driver.num_joints = 5 if self._faults.of("driver").kind == "wrong" else 6
            reported = self._faults.positions(self._arm.positions(), self._ticks)
            velocities = self._arm.velocities()
            efforts = self._faults.efforts(self._arm.efforts(), reported or [])
        if reported is not None:
            message = convert.to_joint_state(list(STATE_NAMES), reported, velocities, due_ns)
            message.effort = efforts
            self._joint_states.publish(message)

    def _answer_late(self) -> None:
        """Let a slow driver take its time; the executor waits, as the driver's own does."""
        fault = self._faults.of("driver")
        if fault.kind == "slow":
            self._time.sleep_until(self._time.now_ns() + round(fault.argument * 1e9))

    def _on_inject(self, request: Any, response: Any) -> Any:
        from_tick = self._ticks + int(request.at_step) if request.at_step else 0
        try:
            with self._lock:
                self._faults.inject(request.component, request.kind, request.argument, from_tick)
            response.success = True
        except InputError as error:
            response.success, response.message = False, str(error)
        return response

    def _report_error(self, error: BaseException) -> None:
        self.get_logger().error(f"emulated arm: {error!r}", throttle_duration_sec=5.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node until it is told to end."""
    return process.run(XsEmulatorNode, arguments, nice=realtime.DRIVER_NICE)


if __name__ == "__main__":
    raise SystemExit(main())
