"""The emulated arm and the guard in one process and in virtual time: what DDS shows, exactly."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from robot_agent.core import wx250s
from robot_agent.core.config import load_config
from robot_agent.core.types import Proposal, SafeAction
from robot_agent.guard.contract import load_contract
from robot_agent.guard.guard import step
from robot_agent.guard.limits import GuardConfig, at_most_its_speed
from robot_agent.guard.state import (
    GuardInputs,
    Measured,
    OperatorInput,
    ResetRequest,
    initial_state,
)
from robot_agent.ros import arm_setup
from robot_agent.ros.guard_driver import ON_ARM_FILE
from robot_agent.sim.driver_faults import DriverFaults
from robot_agent.sim.emulated_arm import PERIOD_S, EmulatedArm
from robot_agent.sim.servos import IDS, STATE_NAMES, Servos
from tests.guard import checker

ON_ARM = at_most_its_speed(load_config(GuardConfig, [ON_ARM_FILE]))
POLL_S = 0.8
"""As `robot_agent.ros.driver_link` polls."""


class DirectDriver:
    """Asks the servos without ROS between; keeps the driver's contract."""

    way = "direct"

    def __init__(self, servos: Servos) -> None:
        self.servos = servos

    def info(self, cmd_type: str, name: str) -> Any:
        motors = self.servos.members(cmd_type, name)
        return SimpleNamespace(
            joint_names=motors,
            joint_ids=[IDS[motor] for motor in motors],
            joint_lower_limits=list(wx250s.JOINT_LOWER_RAD),
            joint_upper_limits=list(wx250s.JOINT_UPPER_RAD),
            mode=self.servos.modes[motors[0]],
            profile_type="time",
        )

    def read(self, cmd_type: str, name: str, register: str) -> tuple[int, ...]:
        return tuple(self.servos.read(self.servos.members(cmd_type, name), register))

    def write(self, cmd_type: str, name: str, register: str, value: int) -> None:
        self.servos.write(self.servos.members(cmd_type, name), register, value)

    def set_mode(self, cmd_type: str, name: str, mode: str, profile: Any) -> None:
        self.servos.set_mode(self.servos.members(cmd_type, name), mode, profile[0], profile[1:])

    def torque(self, cmd_type: str, name: str, *, is_on: bool) -> None:
        self.servos.torque(self.servos.members(cmd_type, name), is_on=is_on)

    def reboot(self, cmd_type: str, name: str, *, is_smart: bool) -> None:
        motors = self.servos.members(cmd_type, name)
        self.servos.reboot(motors, enable=True, is_smart=is_smart)


class EmulatedRobot:
    """Runs arm and driver at 100 Hz, the guard at 50 Hz and the poll every 0.8 s."""

    def __init__(self, config: GuardConfig = ON_ARM) -> None:
        self.config, self.contract = config, load_contract()
        self.servos = Servos()
        self.arm = EmulatedArm(self.servos)
        self.faults = DriverFaults(self.servos, self.arm)
        self.driver = DirectDriver(self.servos)
        arm_setup.prepare(self.driver, self.contract)
        self.ticks, self.measured = 0, self._reading(self.arm.positions(), 1)
        self.state = initial_state(self.measured)
        self.health = arm_setup.poll(self.driver, self.contract, 1)
        self.action = np.array([0.0] * 6 + [1.0])
        self.proposal: Proposal | None = None
        self.command: SafeAction | None = None
        self.asks_for_release = False
        """Whether a person holds the deadman and tells the gripper to open."""
        self.heard: dict[str, float] = {}
        """Cause to the time [s] at which it was first present since `listen`."""
        self.peak_mps = 0.0
        self._points: dict[str, np.ndarray] | None = None

    @property
    def now_s(self) -> float:
        return self.ticks * PERIOD_S

    def listen(self) -> None:
        self.heard, self.peak_mps = {}, 0.0

    def inject(self, component: str, kind: str, argument: float = 0.0) -> None:
        self.faults.inject(component, kind, argument, 0)

    def run(self, seconds: float, reset: str = "") -> None:
        for _ in range(round(seconds / PERIOD_S)):
            self._step(reset)

    def to(self, place_m: tuple[float, float, float]) -> None:
        """Lead the tool to a place, 12 mm a step, and rest."""
        for _ in range(200):
            gap = np.array(place_m) - self.state.T_target[:3, 3]
            far_m = float(np.linalg.norm(gap))
            self.action[:3] = gap * min(1.0, 0.012 / max(far_m, 1e-9))
            self.run(0.2)
            if far_m < 0.005:
                break
        self.action[:3] = 0.0
        self.run(0.6)

    def _reading(self, positions: list[float], stamp_ns: int) -> Measured:
        efforts = self.faults.efforts(self.arm.efforts(), positions)
        effort = np.array(efforts[:7]) if any(efforts) else None
        return Measured(np.array(positions[:6]), positions[7], stamp_ns, None, effort)

    def _step(self, reset: str) -> None:
        self.ticks += 1
        now_ns = 1 + round(self.now_s * 1e9)
        self.faults.begin(self.ticks)
        self.arm.step()
        self._watch_speed()
        positions = self.faults.positions(self.arm.positions(), self.ticks)
        if positions is not None:
            assert len(positions) == len(STATE_NAMES)
            self.measured = self._reading(positions, now_ns)
        if self.ticks % round(POLL_S / PERIOD_S) == 0:
            self.health = arm_setup.poll(self.driver, self.contract, now_ns)
        if self.ticks % 20 == 0:
            sequence, life_ns = self.ticks, now_ns + 200_000_000
            self.proposal = Proposal(
                self.action.copy(), "v", 0, 0, sequence, now_ns, deadline_ns=life_ns
            )
        if self.ticks % 2 == 0:
            self._guard(now_ns, reset)

    def _guard(self, now_ns: int, reset: str) -> None:
        request = ResetRequest("Ada", reset) if reset else None
        inputs = GuardInputs(
            self.measured,
            self.proposal,
            policy_alive_ns=now_ns,
            health=self.health,
            reset=request,
            operator=self._person(now_ns),
        )
        self.command, self.state = step(self.config, self.state, now_ns, inputs)
        for cause in (*self.state.latched, *self.state.hold_causes, *self.state.notes):
            self.heard.setdefault(cause, self.now_s)
        if self.command is not None and self.faults.of("commands").kind != "off":
            self.arm.goal_rad = self.command.joints_rad.copy()
            self.arm.pwm = self.command.gripper_pwm

    def _person(self, now_ns: int) -> OperatorInput | None:
        if not self.asks_for_release:
            return None
        return OperatorInput(np.zeros(6), 1.0, deadman=True, stamp_ns=now_ns, source="gamepad")

    def _watch_speed(self) -> None:
        points = checker.points(self.arm.joints_rad[None])
        if self._points is not None:
            moved = [np.linalg.norm(points[name] - self._points[name]) for name in points]
            self.peak_mps = max(self.peak_mps, max(map(float, moved)) / PERIOD_S)
        self._points = {name: value.copy() for name, value in points.items()}
