"""Listens to a running agent and judges what it heard; see `tests.ros.invariants`."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from interbotix_xs_msgs.msg import JointGroupCommand, JointSingleCommand
from rclpy.qos import QoSProfile
from robot_agent_interfaces.msg import GuardState, OperatorCommand, PolicyStatus
from sensor_msgs.msg import JointState

from robot_agent.core.clock import SystemClock
from robot_agent.ros import topics
from robot_agent.ros.client import AgentClient
from tests.ros.invariants import TICK_S, Recording


@dataclass
class Witness(Recording):
    """Keeps commands, joint states and guard states with the time at which they came.

    It listens for as long as the client lives: a subscription that goes while something spins it
    takes the spinning thread with it. `begin` forgets what came before.
    """

    client: AgentClient = None  # type: ignore[assignment]
    pwm: list[float] = field(default_factory=list)
    """What the gripper was given."""

    def __post_init__(self) -> None:
        self._clock = SystemClock()
        many = QoSProfile(depth=100)
        for kind, name, keep, qos in (
            (JointGroupCommand, topics.ARM_COMMAND, self._keep_command, many),
            (JointState, topics.JOINT_STATES, self._keep_joints, many),
            (GuardState, topics.GUARD_STATE, self._keep_state, topics.EVERY_STATE),
            (OperatorCommand, topics.OPERATOR, self._keep_operator, many),
            (PolicyStatus, topics.POLICY_STATUS, self._keep_status, topics.STATUS),
            (JointSingleCommand, topics.GRIPPER_COMMAND, self._keep_pwm, many),
        ):
            self.client.node.create_subscription(kind, name, keep, qos)

    def _keep_command(self, message: Any) -> None:
        self.commands.append((self.now_ns(), np.array(message.cmd, float)))

    def _keep_joints(self, message: Any) -> None:
        self.joints.append((self.now_ns(), np.array(message.position[:6])))

    def _keep_state(self, message: Any) -> None:
        self.states.append((int(message.stamp_ns), message))
        self.num_publishers.append(self.client.node.count_publishers(topics.ARM_COMMAND))

    def _keep_operator(self, message: Any) -> None:
        self.operators.append((self.now_ns(), message))

    def _keep_status(self, message: Any) -> None:
        self.versions.append((self.now_ns(), str(message.active_version)))

    def _keep_pwm(self, message: Any) -> None:
        self.pwm.append(float(message.cmd))

    def hiccup_s(self) -> float:
        """Return the longest gap between commands beyond their period: the machine's own delay."""
        stamps = [t for t, _ in self.commands]
        return float(max(np.diff(stamps).max(initial=0.0) * 1e-9 - TICK_S, 0.0))

    def now_ns(self) -> int:
        return self._clock.now_ns()

    def first(self, cause: str, after_ns: int) -> int | None:
        """Return the guard's own time of the first state that names `cause`."""
        for stamp_ns, state in self.states:
            told = [*state.causes, *(words.partition(":")[0] for words in state.changes)]
            if stamp_ns > after_ns and cause in told:
                return stamp_ns
        return None
