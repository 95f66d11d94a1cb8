"""Replays the actions of an episode on the arm as an operator does, through the guard.

An operator's commands need no numbering, take the arm from the policy without a bump, and come
with a deadman: when this process dies, or somebody else takes over, the arm holds.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from robot_agent_interfaces.msg import OperatorCommand
from sensor_msgs.msg import JointState

from robot_agent.core import wx250s
from robot_agent.core.clock import Stopwatch, SystemClock
from robot_agent.core.errors import ArmFaultError, InputError
from robot_agent.core.geometry import rpy_from_rotation
from robot_agent.core.types import Episode, FloatArray
from robot_agent.ros import convert, topics
from robot_agent.ros.client import AgentClient

SOURCE = "replay"
_REPEAT_S = 0.04
_STEP_PATIENCE_S = 2.0
_NEAR_M, _NEAR_RAD = 0.01, 0.1
_APPROACH_M, _APPROACH_RAD, _APPROACH_STEPS = 0.02, 0.1, 80
"""The way to the start: steps of at most 2 cm and 0.1 rad, 0.1 m/s."""


@dataclass(frozen=True)
class ReplayReport:
    """What came of a replay."""

    steps: int
    changed: int
    """Actions that the guard did not send as they were."""
    apart_mm: float
    """Largest distance of the tool from where it was in the episode after the same action."""
    message: str


class Replay:
    """Moves one arm by the actions of episodes. One thread calls; the client's thread hears."""

    def __init__(self, client: AgentClient) -> None:
        """Listen to joints; nothing moves yet."""
        self._client, self._clock = client, SystemClock()
        self._joints: FloatArray | None = None
        self._opening = 0.0
        node = client.node
        self._say = node.create_publisher(OperatorCommand, topics.OPERATOR, topics.COMMAND)
        node.create_subscription(JointState, topics.JOINT_STATES, self._on_joints, topics.JOINTS)

    def _on_joints(self, message: Any) -> None:
        try:
            self._joints, _, self._opening = convert.joints_from(message)
        except InputError:
            return  # the guard judges the driver; a replay only waits for a reading

    def require_free(self, patience_s: float = 5.0) -> None:
        """Raise ArmFaultError unless the guard is active and nobody uses the arm."""
        watch = Stopwatch()
        while self._joints is None or self._client.guard_state is None:
            if watch.seconds() > patience_s:
                raise ArmFaultError(f"no guard and joints within {patience_s:g} s; see doctor.")
            threading.Event().wait(0.05)
        guard, policy = self._client.guard_state, self._client.policy_status
        if guard.latched:
            raise ArmFaultError(
                f"the guard is stopped by {', '.join(guard.causes)}. A person resets it first."
            )
        if policy is not None and policy.state == "running":
            raise ArmFaultError("the policy is running a task. Let it end, or cancel it, first.")

    def play(
        self,
        episode: Episode,
        is_cancelled: Callable[[], bool],
        on_step: Callable[[int], None] = lambda _: None,
    ) -> ReplayReport:
        """Go to where the episode began and replay its sent actions at 5 Hz; then let go.

        Raises:
            ArmFaultError: The guard stopped, held for 2 s, or the start cannot be reached.
        """
        changed, apart_m, steps = 0, 0.0, 0
        try:
            self._approach(episode, is_cancelled)
            for index, action in enumerate(episode.actions):
                if is_cancelled():
                    return ReplayReport(steps, changed, 1e3 * apart_m, "ended early")
                changed += bool(self._step(action))
                steps = index + 1
                on_step(steps)
                if index:  # a step takes until the next is accepted
                    apart_m = max(apart_m, self._apart_m(episode.joints_rad[index]))
            threading.Event().wait(0.18)  # the last action takes its time; the deadman stays fresh
            apart_m = max(apart_m, self._apart_m(episode.joints_rad[-1]))
        finally:
            self._command(np.zeros(6), None, deadman=False)
        return ReplayReport(steps, changed, 1e3 * apart_m, "whole")

    def _apart_m(self, joints_rad: FloatArray) -> float:
        there = wx250s.forward(joints_rad)[:3, 3]
        here = wx250s.forward(self._measured())[:3, 3]
        return float(np.linalg.norm(here - there))

    def _measured(self) -> FloatArray:
        assert self._joints is not None, "require_free was called"
        return self._joints

    def _approach(self, episode: Episode, is_cancelled: Callable[[], bool]) -> None:
        """Go to the first pose in small steps; the guard judges each."""
        T_start, opening = wx250s.forward(episode.joints_rad[0]), float(episode.gripper[0])  # noqa: N806
        for _ in range(_APPROACH_STEPS):
            delta = _way(wx250s.forward(self._commanded()), T_start)
            if is_cancelled() or _is_near(delta):
                return
            self._step(np.append(_shortened(delta), opening))
        left_mm = 1e3 * float(np.linalg.norm(delta[:3]))
        raise ArmFaultError(
            f"episode {episode.episode_id}: its start is still {left_mm:.0f} mm away after "
            f"{_APPROACH_STEPS} steps, must be within {1e3 * _NEAR_M:.0f}. Move the arm near it "
            f"by hand: robot-agent teleop"
        )

    def _commanded(self) -> FloatArray:
        target = list(self._client.guard_state.joint_target_rad)
        return np.array(target) if len(target) == 6 else self._measured()

    def _step(self, action: FloatArray) -> list[str]:
        """Repeat an action until the guard took it; return what it changed."""
        before, watch = self._client.guard_state.accepted, Stopwatch()
        while True:
            self._command(action[:6], float(action[6]), deadman=True)
            threading.Event().wait(_REPEAT_S)
            state = self._client.guard_state
            if state.latched:
                raise ArmFaultError(f"the guard stopped: {', '.join(state.causes)}.")
            if state.accepted > before:
                return [words for words in state.changes if not words.startswith("control: ")]
            if watch.seconds() > _STEP_PATIENCE_S:
                why = ", ".join([*state.causes, *state.changes]) or state.mode
                raise ArmFaultError(
                    f"the guard took no action for {_STEP_PATIENCE_S:g} s: {why}. The rest of the "
                    f"episode is not replayed."
                )

    def _command(self, delta: FloatArray, gripper: float | None, *, deadman: bool) -> None:
        self._say.publish(
            OperatorCommand(
                stamp_ns=self._clock.now_ns(),
                source=SOURCE,
                delta=[float(value) for value in delta],
                gripper=float("nan") if gripper is None else gripper,
                deadman=deadman,
            )
        )


def _way(T_now: FloatArray, T_there: FloatArray) -> FloatArray:  # noqa: N803
    """Return the Bridge delta (6,) [m, rad] from one tool pose to another."""
    turn = rpy_from_rotation(T_there[:3, :3] @ T_now[:3, :3].T)
    return np.concatenate([T_there[:3, 3] - T_now[:3, 3], turn])


def _is_near(delta: FloatArray) -> bool:
    way_m, turn_rad = np.linalg.norm(delta[:3]), np.linalg.norm(delta[3:])
    return bool(way_m < _NEAR_M and turn_rad < _NEAR_RAD)


def _shortened(delta: FloatArray) -> FloatArray:
    way_m, turn_rad = float(np.linalg.norm(delta[:3])), float(np.linalg.norm(delta[3:]))
    return delta / max(way_m / _APPROACH_M, turn_rad / _APPROACH_RAD, 1.0)
