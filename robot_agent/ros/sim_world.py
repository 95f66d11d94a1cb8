"""Node `sim_world`: the simulated arm and camera behind Interbotix's wire contract."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from interbotix_xs_msgs.msg import JointGroupCommand, JointSingleCommand
from rclpy.node import Node
from robot_agent_interfaces.msg import SimState
from robot_agent_interfaces.srv import SimInject, SimReset
from sensor_msgs.msg import JointState

from robot_agent.core import wx250s
from robot_agent.core.errors import InputError
from robot_agent.core.types import FloatArray
from robot_agent.ros import convert, params, process, realtime, topics
from robot_agent.ros.clock import ScaledClock
from robot_agent.ros.diagnostics import OK, WARN, Diagnostics, Report
from robot_agent.ros.params import setting
from robot_agent.ros.sim_camera import Moment, SimCamera
from robot_agent.ros.sim_driver import DriverServices
from robot_agent.ros.sim_faults import Faults
from robot_agent.ros.ticker import Ticker
from robot_agent.sim import snapshot
from robot_agent.sim.household import scene_named
from robot_agent.sim.servos import OVERLOAD_BIT, STATE_NAMES, Servos
from robot_agent.sim.tasks import find_task, tasks_of
from robot_agent.sim.world import TICK_S, SimWorld

_TICK_NS = round(TICK_S * 1e9)
_PROFILE_MS, _BUS_WATCHDOG = (250, 100), 5
"""The simulated arm streams whatever its registers say, also after a restart of this node."""


@dataclass(frozen=True, kw_only=True)
class SimWorldConfig:
    """Parameters of the simulated robot."""

    scene: str = setting("home", "Scene to load, such as kitchen or kitchen@real.")
    task: str = setting("", "Task that sim/state scores, by name; the scene's first when empty.")
    seed: int = setting(0, "Seed of start positions and looks.", 0, 2**31 - 1)
    time_factor: float = setting(1.0, "Simulated time over wall time, for all nodes.", 0.1, 20.0)
    camera_hz: float = setting(20.0, "Pictures per simulated second.", 1.0, 60.0)
    camera_width: int = setting(640, "Width of a picture [px].", 32, 640)
    camera_height: int = setting(480, "Height of a picture [px].", 32, 480)

    def __post_init__(self) -> None:
        """Check the ranges."""
        params.check_ranges(self)


class SimWorldNode(Node):
    """Physics in one thread, pictures in another, services in the executor's."""

    def __init__(self) -> None:
        """Build the world and start the threads."""
        super().__init__("sim_world")
        self._config = params.declare(self, SimWorldConfig)
        self._time = ScaledClock(self._config.time_factor)
        self._faults = Faults()
        self._lock = threading.Lock()
        self._world = SimWorld(scene_named(self._config.scene), self._config.seed)
        task = self._config.task or tasks_of(self._world.scene.cell)[0].name
        self._load(self._config.scene, self._config.seed, task)
        self._servos, servo_lock = Servos(_PROFILE_MS, _BUS_WATCHDOG), threading.Lock()
        self._driver = DriverServices(self, self._servos, servo_lock)
        self._make_interfaces()
        size_px = (self._config.camera_width, self._config.camera_height)
        self._camera = SimCamera(self, self._time, size_px, self._config.camera_hz, self._faults)
        self._ticker = Ticker(
            self._time,
            _TICK_NS,
            self._tick,
            on_error=self._report_error,
            name="physics",
        )
        self._diagnostics = Diagnostics(self, "simulated wx250s", self._report)
        self._camera.start()
        self._ticker.start()

    def _make_interfaces(self) -> None:
        self._joint_states = self.create_publisher(JointState, topics.JOINT_STATES, topics.JOINTS)
        self._truth = self.create_publisher(SimState, topics.SIM_STATE, topics.JOINTS)
        self.create_subscription(
            JointGroupCommand, topics.ARM_COMMAND, self._on_arm, topics.COMMAND
        )
        self.create_subscription(
            JointSingleCommand, topics.GRIPPER_COMMAND, self._on_gripper, topics.COMMAND
        )
        self.create_service(SimReset, topics.SIM_RESET, self._on_reset)
        self.create_service(SimInject, topics.SIM_INJECT, self._on_inject)

    def _load(self, scene: str, seed: int, task: str) -> None:
        """Take over a start; the caller holds the lock, or the threads do not run yet."""
        if self._world.scene.name != scene:
            self._world = SimWorld(scene_named(scene), seed)
        self._world.reset(seed, task)
        self._seed, self._task = seed, task
        self._goal: FloatArray = self._world.joints_rad
        self._pwm = 0.0

    def close(self) -> None:
        """Stop the threads."""
        self._ticker.stop()
        self._camera.stop()

    def _on_arm(self, message: Any) -> None:
        goal = np.array(message.cmd, np.float64)
        if message.name != topics.ARM_GROUP or goal.shape != (6,) or not np.isfinite(goal).all():
            self.get_logger().error(
                f"{topics.ARM_COMMAND}: ignored group '{message.name}' with {goal.size} numbers; "
                f"the driver takes 6 finite ones for '{topics.ARM_GROUP}'"
            )
            return
        with self._lock:
            self._goal = goal

    def _on_gripper(self, message: Any) -> None:
        if message.name == wx250s.GRIPPER_NAME and np.isfinite(message.cmd):
            with self._lock:
                self._pwm = float(message.cmd)

    def _tick(self, due_ns: int, late_ns: int) -> None:
        """Advance physics by one tick and publish what the motors and the truth say."""
        del late_ns
        with self._lock:
            goal, pwm, world = self._goal, self._pwm, self._world
            is_on = self._driver.is_torque_on(wx250s.GRIPPER_NAME)
            world.tick(goal, pwm if is_on else 0.0)
            qpos = snapshot.take(world)
            moment = Moment(world.scene, self._seed, qpos, due_ns, world.ticks)
            positions, velocities = _motor_readings(world)
        self._camera.show(moment)
        reported = self._faults.positions(positions, moment.step)
        if reported is not None:
            message = convert.to_joint_state(list(STATE_NAMES), reported, velocities, due_ns)
            self._joint_states.publish(message)
        if moment.step % 5 == 0:
            self._publish_truth(due_ns)
        slow = self._faults.active("world", moment.step)
        if slow.kind == "slow":
            self._time.sleep_until(self._time.now_ns() + round(slow.argument * 1e9))

    def _publish_truth(self, now_ns: int) -> None:
        with self._lock:
            world = self._world
            truth = SimState(stamp_ns=now_ns, step=world.ticks, scene=world.scene.name)
            truth.task, truth.drawer_m = self._task, world.drawer_m
            truth.success = bool(world.success(self._task))
        truth.realtime_factor = world.ticks / max(world.ticks + self._ticker.skipped, 1)
        self._truth.publish(truth)

    def _on_reset(self, request: Any, response: Any) -> Any:
        """Put the world back; faults are cleared, the driver goes on publishing."""
        try:
            scene = request.scene or self._world.scene.name
            task = find_task(self._require_cell(scene), request.task or self._task).name
            with self._lock:
                self._load(scene, int(request.seed), task)
            self._faults.clear()
            self._break_gripper("ok")
            response.success = True
            response.message = f"{scene}, seed {request.seed}, task {task}"
        except InputError as error:
            response.success, response.message = False, str(error)
        return response

    def _require_cell(self, scene: str) -> str:
        """Return the cell of a scene; the guard's limits are those of the cell at the start."""
        cell, here = scene_named(scene).cell, self._world.scene.cell
        if cell != here:
            raise InputError(
                f"scene '{scene}' is of cell '{cell}', this agent's arm stands in '{here}'. "
                f"Start another agent: robot-agent up --sim --scene {scene}"
            )
        return cell

    def _on_inject(self, request: Any, response: Any) -> Any:
        try:
            self._faults.inject(
                request.component, request.kind, request.argument, int(request.at_step)
            )
            if request.component == "motor":
                self._break_gripper(request.kind)
            response.success = True
        except InputError as error:
            response.success, response.message = False, str(error)
        return response

    def _break_gripper(self, kind: str) -> None:
        """Let the registers of the gripper's motor tell of a fault; the arm does not notice."""
        self._servos.missing.clear()
        self._servos.reboot((wx250s.GRIPPER_NAME,), enable=True, is_smart=True)
        if kind == "off":
            self._servos.missing.add(wx250s.GRIPPER_NAME)
        elif kind == "wrong":
            self._servos.fail(wx250s.GRIPPER_NAME, OVERLOAD_BIT)

    def _report_error(self, error: BaseException) -> None:
        self.get_logger().error(f"physics: {error!r}", throttle_duration_sec=5.0)

    def _report(self) -> Report:
        values = {
            "ticks": self._world.ticks,
            "skipped_ticks": self._ticker.skipped,
            "frames": self._camera.frames,
            "scene": self._world.scene.name,
        }
        keeps_up = self._ticker.skipped < 0.02 * max(self._world.ticks, 50)
        return (OK, "running", values) if keeps_up else (WARN, "slower than asked for", values)


def _motor_readings(world: SimWorld) -> tuple[list[float], list[float]]:
    """Return positions and velocities in the order of joint_states."""
    finger = world.finger_m
    positions = [*map(float, world.joints_rad), 0.0, finger, -finger]
    velocities = [*map(float, world.joint_velocities_radps), 0.0, 0.0, 0.0]
    return positions, velocities


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node until it is told to end."""
    return process.run(SimWorldNode, arguments, nice=realtime.DRIVER_NICE)


if __name__ == "__main__":
    raise SystemExit(main())
