"""Node `arm_guard`: the only publisher of arm commands; decisions are in `robot_agent.guard`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from interbotix_xs_msgs.msg import JointGroupCommand, JointSingleCommand
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.task import Future
from robot_agent_interfaces.msg import ActionProposal, GuardState, OperatorCommand, PolicyStatus
from robot_agent_interfaces.srv import ResetLatch
from sensor_msgs.msg import JointState
from std_msgs.msg import Empty
from std_srvs.srv import Trigger

from robot_agent.core import wx250s
from robot_agent.core.errors import InputError, RobotAgentError
from robot_agent.core.types import SafeAction
from robot_agent.guard import latch
from robot_agent.guard.limits import to_ns
from robot_agent.guard.operators import Heard, hear
from robot_agent.guard.state import GuardInputs, Measured, ResetRequest
from robot_agent.guard.state import GuardState as PureState
from robot_agent.ros import convert, params, process, realtime, topics
from robot_agent.ros.clock import ScaledClock
from robot_agent.ros.diagnostics import OK, Diagnostics, Report
from robot_agent.ros.guard_driver import ArmGuardConfig, GuardDriver, load_limits
from robot_agent.ros.guard_message import (
    control_words,
    guard_message,
    guard_report,
    reset_answer,
)
from robot_agent.ros.guard_thread import GuardThread

_MAX_START_AGE_S = 0.1
_SUCCESS, _FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class ArmGuardNode(LifecycleNode):
    """Callbacks store the newest message; the guard's own thread decides and publishes."""

    _heard: Heard
    """Newest command of each operator's device; begun when the node is configured."""
    _operator_age_ns = _configured_ns = 0
    _said = ""

    def __init__(self) -> None:
        """Declare parameters and listen; nothing is published to the arm before activation."""
        super().__init__("arm_guard")
        self._config = params.declare(self, ArmGuardConfig)
        self._time = ScaledClock(self._config.time_factor)
        self._latch_path = Path(self._config.latch_file)
        self._guard: GuardThread | None = None
        self._commands: tuple[Any, ...] = ()
        self._published: tuple[Any, ...] = ()
        self._published_ns = 0
        self._gripper_pwm, self._gripper_age = 0.0, 5
        self._state = self.create_publisher(GuardState, topics.GUARD_STATE, topics.STATE)
        self._waiting = ReentrantCallbackGroup()
        self.create_service(Trigger, topics.GUARD_STOP, self._on_stop_service)
        self.create_service(
            ResetLatch, topics.GUARD_RESET, self._on_reset, callback_group=self._waiting
        )
        self.create_timer(0.1, self._count_publishers)
        self._diagnostics = Diagnostics(self, "guard", self._report)
        self._driver = GuardDriver(
            self,
            self._config,
            self._time,
            is_active=lambda: self._guard is not None and self._guard.is_running,
            on_health=lambda health: self._store(health=health),
        )

    # --- lifecycle -------------------------------------------------------------------------------

    def on_configure(self, state: Any) -> Any:
        """Read the limits, set the arm up and compare it with its contract; nothing moves."""
        del state
        try:
            limits = load_limits(self._config)
        except RobotAgentError as error:
            self.get_logger().error(str(error))
            return _FAILURE
        problems = self._driver.configure(limits, self._send_joints)
        for problem in problems:
            self.get_logger().error(problem)
        if problems:
            return _FAILURE
        self._configured_ns = self._time.now_ns()
        self._heard, self._operator_age_ns = {}, to_ns(limits.max_deadman_age_s)
        self._guard = GuardThread(
            limits,
            self._time,
            command=self._send,
            report=self._on_tick,
            late_ns=round(self._config.late_ms * 1e6),
        )
        self._commands = (
            self.create_publisher(JointGroupCommand, topics.ARM_COMMAND, topics.COMMAND),
            self.create_publisher(JointSingleCommand, topics.GRIPPER_COMMAND, topics.COMMAND),
        )
        for kind, name, callback, qos in (
            (JointState, topics.JOINT_STATES, self._on_joints, topics.COMMAND),
            (ActionProposal, topics.PROPOSAL, self._on_proposal, topics.COMMAND),
            (OperatorCommand, topics.OPERATOR, self._on_operator, topics.COMMAND),
            (OperatorCommand, topics.OPERATOR_EVENT, self._on_event, topics.LASTING_EVENTS),
            (PolicyStatus, topics.POLICY_STATUS, self._on_policy_status, topics.STATUS),
            (Empty, topics.GUARD_STOP, self._on_stop, topics.JOINTS),
        ):
            self.create_subscription(kind, name, callback, qos)
        return _SUCCESS

    def on_activate(self, state: Any) -> Any:
        """Arm at the measured pose; refused while joint states are missing."""
        guard = self._guard
        measured = guard.mailbox.measured if guard is not None else None
        if guard is None or measured is None:
            self.get_logger().error("no joint states yet; is the driver running?")
            return _FAILURE
        self._count_publishers()
        if guard.mailbox.num_publishers != 1:
            self.get_logger().error(
                f"{guard.mailbox.num_publishers} nodes publish arm commands, must be this one "
                f"alone. Find and end the other; one that was killed is forgotten after 10 s."
            )
            return _FAILURE
        age_s = (self._time.now_ns() - measured.stamp_ns) * 1e-9
        if age_s > _MAX_START_AGE_S:
            self.get_logger().error(
                f"newest joint states are {age_s:.2f} s old, limit {_MAX_START_AGE_S:.2f} s"
            )
            return _FAILURE
        try:
            guard.start(measured, latch.load(self._latch_path))
        except InputError as error:
            self.get_logger().error(str(error))
            return _FAILURE
        return super().on_activate(state)

    def on_deactivate(self, state: Any) -> Any:
        """Stop sending; the servos hold their last target."""
        if self._guard is not None:
            self._guard.stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: Any) -> Any:
        """Withdraw from the arm's command topics."""
        del state
        for publisher in self._commands:
            self.destroy_publisher(publisher)
        for subscription in list(self.subscriptions):
            if subscription.topic_name.rsplit("/", 1)[-1] != "parameter_events":
                self.destroy_subscription(subscription)
        self._commands, self._guard = (), None
        self._driver.close()
        return _SUCCESS

    def on_shutdown(self, state: Any) -> Any:
        """Stop sending for good."""
        del state
        self.close()
        return _SUCCESS

    def close(self) -> None:
        """Stop the guard's thread."""
        if self._guard is not None:
            self._guard.stop()
        self._driver.close()

    # --- callbacks: store the newest, nothing else -----------------------------------------------

    def _store(self, **values: Any) -> None:
        if self._guard is not None:
            with self._guard.mailbox.lock:
                for name, value in values.items():
                    setattr(self._guard.mailbox, name, value)

    def _on_joints(self, message: Any) -> None:
        try:
            joints, velocities, _ = convert.joints_from(message)
            finger_m = float(message.position[list(message.name).index(wx250s.FINGER_NAMES[0])])
        except InputError as error:
            self.get_logger().error(str(error), throttle_duration_sec=1.0)
            return
        efforts = convert.efforts_from(message)
        measured = Measured(joints, finger_m, self._time.now_ns(), velocities, efforts)
        self._store(measured=measured)

    def _on_proposal(self, message: Any) -> None:
        self._store(proposal=convert.from_proposal(message))

    def _on_operator(self, message: Any) -> None:
        now_ns = self._time.now_ns()
        self._heard, operator = hear(
            self._heard, convert.from_operator(message, now_ns), now_ns, self._operator_age_ns
        )
        self._store(operator=operator)
        if message.event == "stop":
            self._store(stop=True)

    def _on_event(self, message: Any) -> None:
        """Stop on what was said since the configuration, even before the device was found."""
        if message.event == "stop" and int(message.stamp_ns) > self._configured_ns:
            self._store(stop=True)

    def _on_policy_status(self, message: Any) -> None:
        self._store(policy_alive_ns=int(message.stamp_ns))

    def _on_stop(self, message: Any) -> None:
        del message
        self._store(stop=True)

    def _on_stop_service(self, request: Any, response: Any) -> Any:
        del request
        self._store(stop=True)
        response.success = self._guard is not None
        response.message = "stopping" if response.success else "the guard is not configured"
        return response

    async def _on_reset(self, request: Any, response: Any) -> Any:
        """Hand the request to the next tick and answer with what it did."""
        guard = self._guard
        if guard is None or not guard.is_running:
            response.success, response.message = False, "the guard is not active"
            return response
        done: Any = Future()

        def reply(is_cleared: bool, state: PureState) -> None:
            done.set_result((is_cleared, state))
            if self.executor is not None:
                self.executor.wake()

        wanted = ResetRequest(operator=request.operator_name, acknowledge=request.acknowledge)
        self._store(reset=(wanted, reply))
        is_cleared, state = await done
        response.success, response.message = is_cleared, reset_answer(is_cleared, state)
        return response

    def _count_publishers(self) -> None:
        """Count who publishes arm commands, ten times a second."""
        if self._commands:
            counts = [self.count_publishers(publisher.topic_name) for publisher in self._commands]
            self._store(num_publishers=max(counts, key=lambda count: abs(count - 1)))

    # --- the guard's thread ----------------------------------------------------------------------

    def _send_joints(self, joints_rad: Sequence[float]) -> None:
        """Publish joint targets; the guard's thread, or the driver's while the guard is idle."""
        cmd = [float(np.float32(value)) for value in joints_rad]
        self._commands[0].publish(JointGroupCommand(name=topics.ARM_GROUP, cmd=cmd))

    def _send(self, action: SafeAction) -> None:
        gripper = self._commands[1]
        self._send_joints(action.joints_rad.tolist())
        # The driver keeps the last PWM: what did not change is repeated at 10 Hz only.
        self._gripper_age += 1
        if abs(action.gripper_pwm - self._gripper_pwm) > 1.0 or self._gripper_age >= 5:
            self._gripper_pwm, self._gripper_age = float(action.gripper_pwm), 0
            gripper.publish(JointSingleCommand(name=wx250s.GRIPPER_NAME, cmd=self._gripper_pwm))

    def _on_tick(self, now_ns: int, state: PureState, inputs: GuardInputs) -> None:
        """Keep the latch on disk and publish the state when it changed or is due."""
        key = (state.mode, state.latched, state.hold_causes, state.controller, state.notes)
        if self._published[1:2] != (state.latched,):
            latch.save(self._latch_path, state.latched)
        is_due = now_ns - self._published_ns >= 1e9 / self._config.state_hz
        if state.accepted_this_tick or key != self._published or is_due:
            self._published, self._published_ns = key, now_ns
            message = guard_message(now_ns, state, inputs)
            if self._guard is not None:
                message.late_ticks = self._guard.lateness.late_ticks
                message.starved = self._guard.starved_ticks
            self._state.publish(message)
            if (words := control_words(state, inputs)) != self._said:
                self._said = words
                self.get_logger().info(words)

    def _report(self) -> Report:
        guard = self._guard
        if guard is None or guard.state is None or not guard.is_running:
            return OK, "inactive", {}
        return guard_report(guard.lateness, guard.state)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node until it is told to end."""
    return process.run(ArmGuardNode, arguments, nice=realtime.CONTROL_NICE)


if __name__ == "__main__":
    raise SystemExit(main())
