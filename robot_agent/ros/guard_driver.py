"""The guard's side of the driver: what must be true at configuration, health, moves to rest."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.callback_groups import ReentrantCallbackGroup
from std_srvs.srv import Trigger

from robot_agent.core import wx250s
from robot_agent.core.config import load_config
from robot_agent.core.errors import ArmFaultError, RobotAgentError
from robot_agent.core.types import FloatArray
from robot_agent.guard.collision import is_way_clear
from robot_agent.guard.contract import CONTRACT_FILE, is_at_rest, load_contract
from robot_agent.guard.health import Health
from robot_agent.guard.limits import GuardConfig, at_most_its_speed
from robot_agent.ros import arm_setup, params, process, topics
from robot_agent.ros.clock import ScaledClock
from robot_agent.ros.diagnostics import ERROR, OK, WARN, Diagnostics, Report
from robot_agent.ros.driver_link import DriverLink
from robot_agent.ros.params import setting
from robot_agent.ros.xs_driver import ArmDriver, SendJoints, open_driver

ON_ARM_FILE = Path(__file__).parents[1] / "guard" / "on_arm.yaml"
_CHECK_S = 20.0
_MOVE_SLACK_S = 2.0
_ARRIVED_RAD = 0.1


@dataclass(frozen=True, kw_only=True)
class ArmGuardConfig:
    """Parameters of the guard's node; the limits themselves are in a file of `GuardConfig`."""

    limits_file: str = setting("", "YAML of GuardConfig; empty keeps the coded limits.")
    limits: str = setting("", "Limits laid over the file: key=value, with ';' between.")
    latch_file: str = setting("latch.json", "File that keeps a latched stop over restarts.")
    contract_file: str = setting("", "YAML of ArmContract; empty takes the one of the wx250s.")
    driver: str = setting("xs_sdk", "xs_sdk (a real arm, strict limits) or simulated.")
    start_pose: str = setting("any", "rest refuses to configure elsewhere; any does not ask.")
    time_factor: float = setting(1.0, "Simulated time over wall time, for all nodes.", 0.1, 20.0)
    state_hz: float = setting(10.0, "Lowest rate of guard/state.", 5.0, 50.0)
    late_ms: float = setting(10.0, "A tick that begins later than this counts as late.", 0.1, 20.0)

    def __post_init__(self) -> None:
        """Check the ranges and the choices."""
        params.check_ranges(self)
        for name, value, choices in (
            ("driver", self.driver, ("xs_sdk", "simulated")),
            ("start_pose", self.start_pose, ("any", "rest")),
        ):
            if value not in choices:
                raise ValueError(f"{name}='{value}' is not one of {', '.join(choices)}")

    @property
    def is_real(self) -> bool:
        """Whether the driver is, or plays, a real arm's."""
        return self.driver == "xs_sdk"


def load_limits(config: ArmGuardConfig) -> GuardConfig:
    """Return the limits: coded, then those of a real arm, then the user's file.

    On a real arm the lead is shortened until even the peak of a servo's profile keeps the ceiling.
    """
    files = [ON_ARM_FILE] if config.is_real else []
    files += [Path(config.limits_file)] if config.limits_file else []
    over = [text for text in config.limits.split(";") if text]
    limits = load_config(GuardConfig, files, over)
    return at_most_its_speed(limits) if config.is_real else limits


class GuardDriver:
    """Owns the link to the driver. Belongs to the executor's thread, except `health`."""

    def __init__(
        self,
        node: Any,
        config: ArmGuardConfig,
        clock: ScaledClock,
        *,
        is_active: Callable[[], bool],
        on_health: Callable[[Health], None],
    ) -> None:
        """Offer `arm/rest`, `arm/home` and `arm/reboot`; they work while the guard is inactive."""
        self._node, self._config, self._clock = node, config, clock
        self._is_active, self._on_health = is_active, on_health
        self._contract = load_contract(Path(config.contract_file or CONTRACT_FILE))
        self._limits = GuardConfig()
        self._send: SendJoints | None = None
        self._link: DriverLink | None = None
        self._health: Health | None = None
        group = ReentrantCallbackGroup()
        for name, work in (
            (topics.ARM_REST, self._rest),
            (topics.ARM_HOME, self._home),
            (topics.ARM_REBOOT, self._reboot),
        ):
            node.create_service(Trigger, name, self._service(work), callback_group=group)
        self._diagnostics = Diagnostics(node, "motors", self._report)

    def configure(self, limits: GuardConfig, send: SendJoints) -> tuple[str, ...]:
        """Set the arm up and return what is wrong with it; empty when it may be activated.

        Waits for the driver in the executor's thread: nothing moves before this has ended, and
        afterwards nothing waits there any more.
        """
        problem = self._clock_problem()
        if problem:
            return (problem,)
        self._limits, self._send = limits, send
        self._link = self._link or DriverLink(
            lambda: open_driver(self._node.get_namespace()),
            self._clock,
            on_health=self._keep,
            on_error=self._complain,
        )
        try:
            if self._config.start_pose == "rest":
                self._require_rest(self._link.ask(arm_setup.joints_rad, _CHECK_S))
            found = self._link.check(self._contract, _CHECK_S)
        except RobotAgentError as error:
            return (str(error),)
        if not found:
            self._node.get_logger().info(
                f"the arm keeps its contract: {len(self._contract.registers)} registers, "
                f"by {self._link.way}"
            )
        return found

    def close(self) -> None:
        """End the link."""
        if self._link is not None:
            self._link.close()
        self._link, self._health = None, None

    def _clock_problem(self) -> str:
        if not self._config.is_real:
            return ""
        is_simulated = self._node.get_parameter("use_sim_time").value
        if is_simulated or self._config.time_factor != 1.0:
            return (
                f"use_sim_time is {str(is_simulated).lower()} and time_factor "
                f"{self._config.time_factor}, must be false and 1.0 with a real driver: a clock "
                f"that jumps or stops makes every watchdog blind. Start without use_sim_time, or "
                f"set driver:=simulated."
            )
        return ""

    def _require_rest(self, joints_rad: FloatArray) -> None:
        if not is_at_rest(self._contract, joints_rad):
            raise ArmFaultError(
                f"joints are {np.round(joints_rad, 2)} rad, rest is {wx250s.SLEEP_RAD} within "
                f"{self._contract.rest_tolerance_rad}. If the arm lies at rest, an encoder is "
                f"off: check its homing. If it stands, lower it, or set start_pose:=any."
            )

    # --- health ----------------------------------------------------------------------------------

    def _keep(self, health: Health) -> None:
        self._health = health
        self._on_health(health)

    def _complain(self, text: str) -> None:
        self._node.get_logger().error(text, throttle_duration_sec=5.0)

    def _report(self) -> Report:
        health = self._health
        if health is None or self._link is None:
            return OK, "not polled", {}
        age_s = (self._clock.now_ns() - health.stamp_ns) * 1e-9
        values = {
            "way": self._link.way,
            "age_s": round(age_s, 2),
            "missing": ", ".join(health.missing),
            "hardware_errors": list(health.hardware_errors),
            "temperatures_c": list(health.temperatures_c),
            "voltages_v": list(health.voltages_v),
        }
        if health.missing or any(health.hardware_errors):
            return ERROR, "a motor is missing or in error", values
        is_late = age_s > self._limits.max_health_age_s
        return (WARN, "no answer", values) if is_late else (OK, "answering", values)

    # --- what a person asks for while the guard is inactive --------------------------------------

    def _service(self, work: Callable[[ArmDriver], str]) -> Any:
        async def answer(request: Any, response: Any) -> Any:
            del request
            link = self._link
            if link is None or self._is_active():
                response.success = False
                response.message = (
                    "the guard must be configured and inactive, so that one thing moves the arm"
                )
                return response
            try:
                response.message = await process.in_thread(
                    self._node, lambda: link.submit(work).result(_CHECK_S), "arm service"
                )
                response.success = True
            except (RobotAgentError, TimeoutError) as error:
                response.success, response.message = False, str(error) or "no answer in time"
            return response

        return answer

    def _rest(self, driver: ArmDriver) -> str:
        """Lower the arm to its rest pose; torque goes only when it is there."""
        found = self._go(driver, wx250s.SLEEP_RAD)
        if not is_at_rest(self._contract, found):
            raise ArmFaultError(
                f"the arm stopped on its way at {np.round(found, 2)} rad, torque on. Look at it."
            )
        driver.torque("group", "arm", is_on=False)
        return "at rest, torque off; configure again before the next activation"

    def _home(self, driver: ArmDriver) -> str:
        found = self._go(driver, np.zeros(6))
        profile_ms = (self._contract.profile_velocity_ms, self._contract.profile_acceleration_ms)
        arm_setup.set_profile(driver, profile_ms)
        if np.abs(found).max() > _ARRIVED_RAD:
            raise ArmFaultError(f"the arm stopped on its way at {np.round(found, 2)} rad.")
        return "at home"

    def _reboot(self, driver: ArmDriver) -> str:
        arm_setup.reboot(driver, self._contract)
        return "; ".join(arm_setup.inspect(driver, self._contract)) or "the motors are well"

    def _go(self, driver: ArmDriver, goal_rad: FloatArray) -> FloatArray:
        if self._send is None:
            raise ArmFaultError("the guard is not configured. Configure it first.")
        start_rad = arm_setup.joints_rad(driver)
        is_clear = is_way_clear(self._limits, start_rad, goal_rad)
        wait_s = arm_setup.go_to(driver, goal_rad, self._send, is_clear) + _MOVE_SLACK_S
        until_ns = self._clock.now_ns() + round(wait_s * 1e9)
        found = start_rad
        while self._clock.now_ns() < until_ns and np.abs(found - goal_rad).max() > 0.02:
            self._clock.sleep_until(self._clock.now_ns() + 100_000_000)
            found = arm_setup.joints_rad(driver)
        return found
