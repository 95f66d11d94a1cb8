"""Judges invariants I1 to I9 from recorded topics alone; shares no code with the guard.

Kinematics come from `tests.guard.checker`, which walks along the URDF with numbers of its own.
I7 is read from guard/state, where the version travels; I10 (nothing acknowledged is lost) is about
stores and is judged in tests/store and tests/release.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from interbotix_xs_msgs.msg import JointGroupCommand
from rclpy.qos import QoSProfile
from robot_agent_interfaces.msg import GuardState
from sensor_msgs.msg import JointState

from robot_agent.core.clock import SystemClock
from robot_agent.ros import topics
from robot_agent.ros.client import AgentClient
from tests.guard import checker

_LOWER = np.array([-3.1416, -1.885, -2.1468, -3.1416, -1.7454, -3.1416])
_UPPER = np.array([3.1416, 1.9897, 1.6058, 3.1416, 2.1468, 3.1416])
_BOX = np.array([[0.10, -0.25, 0.010], [0.48, 0.30, 0.35]])
_BODY = np.array([[-0.35, -0.45, 0.010], [0.60, 0.45, 0.70]])
_SLACK_M = 0.003
_SPEED_MPS = 0.25
_STEP_RAD = 0.3
_TICK_S = 0.02
_REST_S = 0.6
"""After this long a stopped arm stands: deadline of the stop and the ramp of a profile."""


@dataclass
class Witness:
    """Keeps commands, joint states and guard states with the time at which they came.

    It listens for as long as the client lives: a subscription that goes while something spins it
    takes the spinning thread with it. `begin` forgets what came before.
    """

    client: AgentClient
    commands: list[tuple[int, Any]] = field(default_factory=list)
    joints: list[tuple[int, Any]] = field(default_factory=list)
    states: list[tuple[int, Any]] = field(default_factory=list)
    num_publishers: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._clock = SystemClock()
        for kind, name, keep, qos in (
            (JointGroupCommand, topics.ARM_COMMAND, self._keep_command, QoSProfile(depth=100)),
            (JointState, topics.JOINT_STATES, self._keep_joints, QoSProfile(depth=100)),
            (GuardState, topics.GUARD_STATE, self._keep_state, topics.EVERY_STATE),
        ):
            self.client.node.create_subscription(kind, name, keep, qos)

    def begin(self) -> None:
        """Forget everything."""
        for kept in (self.commands, self.joints, self.states, self.num_publishers):
            kept.clear()

    def _keep_command(self, message: Any) -> None:
        self.commands.append((self.now_ns(), np.array(message.cmd, float)))

    def _keep_joints(self, message: Any) -> None:
        self.joints.append((self.now_ns(), np.array(message.position[:6])))

    def _keep_state(self, message: Any) -> None:
        self.states.append((int(message.stamp_ns), message))
        self.num_publishers.append(self.client.node.count_publishers(topics.ARM_COMMAND))

    def hiccup_s(self) -> float:
        """Return the longest gap between commands beyond their period: the machine's own delay."""
        stamps = [t for t, _ in self.commands]
        return float(max(np.diff(stamps).max(initial=0.0) * 1e-9 - _TICK_S, 0.0))

    def now_ns(self) -> int:
        return self._clock.now_ns()

    def first(self, cause: str, after_ns: int) -> int | None:
        """Return the guard's own time of the first state that names `cause`."""
        for stamp_ns, state in self.states:
            told = [*state.causes, *(words.partition(":")[0] for words in state.changes)]
            if stamp_ns > after_ns and cause in told:
                return stamp_ns
        return None

    def last_motion_ns(self) -> int:
        """Return when the newest command that differs from the one before it came."""
        for (_, before), (stamp_ns, after) in zip(
            reversed(self.commands[:-1]), reversed(self.commands), strict=False
        ):
            if not np.array_equal(before, after):
                return stamp_ns
        return 0

    def peak_speed_mps(self) -> float:
        """Return the fastest point of the arm over 60 ms, from believable joint states."""
        good = [(t, q) for t, q in self.joints if q.any() and abs(q[0] + np.pi) > 0.01]
        stamps = np.array([t for t, _ in good]) * 1e-9
        places = checker.points(np.array([q for _, q in good]))
        later = np.searchsorted(stamps, stamps + 0.06)
        now = np.flatnonzero(later < len(stamps))
        later = later[now]
        span_s = stamps[later] - stamps[now]
        is_whole = span_s < 0.09
        return float(
            max(
                (np.linalg.norm(p[later] - p[now], axis=1) / span_s)[is_whole].max(initial=0.0)
                for p in places.values()
            )
        )

    def faults(self, *, is_measured_true: bool = True) -> list[str]:
        """Return one line per broken invariant; speeds only when the encoders told the truth."""
        stamps = np.array([t for t, _ in self.commands]) * 1e-9
        goals = np.array([q for _, q in self.commands])
        found = []
        if not np.isfinite(goals).all():
            found.append("I1: a command is not finite")
        if ((goals < _LOWER) | (goals > _UPPER)).any():
            found.append("I2: a command is outside the joint limits")
        stopped_ns = next((t for t, s in self.states if s.latched), 2**62)
        free = goals[stamps < stopped_ns * 1e-9]  # a stop relaxes the target to where the arm is
        if np.abs(np.diff(free, axis=0)).max(initial=0.0) > _STEP_RAD + 1e-6:
            found.append("I3: a command steps farther than allowed")
        for name, points in checker.points(goals).items():
            low, high = _BOX if name == "tool" else _BODY
            if ((points < low - _SLACK_M) | (points > high + _SLACK_M)).any():
                found.append(f"I4: {name} is commanded out of its box")
        found += self._while_latched(stamps, goals)
        if set(self.num_publishers) - {1}:
            found.append(f"I6: {set(self.num_publishers)} publishers of commands")
        if any(s.accepted and not s.weights_version for _, s in self.states):
            found.append("I7: a command without a version")
        gaps = np.diff(stamps)
        # A busy machine delays the driver's 100 Hz as well; a guard at fault delays its own only.
        busy_s = np.quantile(np.diff([t for t, _ in self.joints]), 0.98) * 1e-9 - 0.01
        if np.quantile(gaps, 0.95) > 2.0 * _TICK_S + 3.0 * max(busy_s, 0.005):
            found.append(f"I8: gaps between commands of {np.quantile(gaps, 0.95):.3f} s")
        if is_measured_true:
            found += self._speeds()
        return found

    def _while_latched(self, stamps: Any, goals: Any) -> list[str]:
        latched = [t for t, s in self.states if s.latched]
        if not latched:
            return []
        after = goals[stamps > latched[0] * 1e-9 + 2 * _TICK_S]
        return ["I5: a motion was commanded while latched"] if _moves(after) else []

    def _speeds(self) -> list[str]:
        found = []
        if self.peak_speed_mps() > _SPEED_MPS:
            found.append(f"I3: a point moved at {self.peak_speed_mps():.3f} m/s")
        latched = [t for t, s in self.states if s.latched]
        late = [q for t, q in self.joints if latched and t > latched[0] + _REST_S * 1e9]
        if len(late) > 1 and np.abs(np.array(late) - late[0]).max() > 0.02:
            found.append("I9: the arm moved on after the stop")
        return found


def _moves(goals: Any) -> bool:
    return len(goals) > 1 and bool(np.abs(goals - goals[0]).max() > 1e-6)
