# ruff: noqa: N803 - T_base_tool and its kin keep the names of the formulas
"""The running agent's arm and camera as a `Stage`: every move goes through the guard."""

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from interbotix_xs_msgs.msg import JointGroupCommand
from rclpy.callback_groups import ReentrantCallbackGroup
from robot_agent_interfaces.msg import OperatorCommand
from sensor_msgs.msg import Image, JointState

from robot_agent.act.observation import ObservationPairing
from robot_agent.calibrate.board import Board
from robot_agent.calibrate.latency import Recorded
from robot_agent.calibrate.stage import View, next_target
from robot_agent.core import wx250s
from robot_agent.core.clock import Stopwatch, SystemClock
from robot_agent.core.errors import (
    ArmFaultError,
    InputError,
    StaleObservationError,
)
from robot_agent.core.types import FloatArray, ImageArray, Observation
from robot_agent.guard.screen import action_between
from robot_agent.ros import convert, topics
from robot_agent.ros.calibration_log import LatencyLog
from robot_agent.ros.client import AgentClient

_MOVE_S = 30.0
_AHEAD_S = 0.14
"""From the acceptance of one step to asking for the next."""
_STILL_STEPS = 3
_REST_S = 1.0
_FRESH_S = 0.5
_REACHED_M, _REACHED_RAD = 2e-3, 1e-2
_MOVED_PX = 25.0
"""A board that moved less since the last kept picture shows nothing new."""


class RunningStage:
    """Moves the tool with operator commands, deadman held; use one thread."""

    def __init__(self, client: AgentClient, clock: SystemClock | None = None) -> None:
        """Listen to pictures and joints of the agent that `client` has joined."""
        self._client, self._clock = client, clock or SystemClock()
        self._pause = threading.Event()
        self._pairing = ObservationPairing()
        self._log: LatencyLog | None = None
        self._T_accepted = np.eye(4)
        node, group = client.node, ReentrantCallbackGroup()
        self._operator = node.create_publisher(OperatorCommand, topics.OPERATOR, topics.COMMAND)
        node.create_subscription(
            Image, topics.CAMERA_IMAGE, self._on_image, topics.SENSOR, callback_group=group
        )
        node.create_subscription(
            JointState, topics.JOINT_STATES, self._on_joints, topics.EVENTS, callback_group=group
        )

        node.create_subscription(
            JointGroupCommand,
            topics.ARM_COMMAND,
            self._on_command,
            topics.EVENTS,
            callback_group=group,
        )

    def move_to(self, T_base_tool: FloatArray) -> None:
        """Move in steps of 0.2 s through the guard, then wait for rest."""
        watch = Stopwatch()
        self._T_accepted = self._T_target()
        while not _is_near(self._T_accepted, T_base_tool):
            self._require_motion(watch.seconds())
            self.step_to(next_target(self._T_target(), T_base_tool))
        self.settle()

    def step_to(self, T_next: FloatArray) -> None:
        """Ask for one step towards a pose; the deadman is held meanwhile."""
        p_measured = wx250s.forward(self._observe().joints_rad)[:3, 3]
        state = self._client.guard_state
        opening = float(state.gripper_target) if state is not None else 1.0
        self.act(action_between(self._T_target(), T_next, p_measured, opening))

    def act(self, action: FloatArray) -> None:
        """Ask for one Bridge action (7,) and wait until the next one may be asked for.

        That is before its 0.2 s are over, so that the guard finds the next one when it is due and
        does not hold in between.

        What the guard made of it is remembered at once: when the next step is late the guard
        holds, and its target is again the measured pose, which sags below the wanted one.
        """
        before = self._num_accepted()
        watch = Stopwatch()
        self._send(action[:6], float(action[6]))
        while self._num_accepted() == before and watch.seconds() < 0.4:
            self._pause.wait(0.01)
        if self._num_accepted() != before:
            self._T_accepted = self._T_target()
            self._pause.wait(_AHEAD_S)

    def hold(self, seconds: float) -> None:
        """Release the deadman, so that the arm holds, and wait."""
        self._send(np.zeros(6), self._gripper(), deadman=False)
        self._pause.wait(seconds)

    def look(self) -> View:
        """Return the newest picture with the joints of its moment."""
        observation = self._observe()
        return View(observation.image_hwc, observation.joints_rad)

    def observe(self) -> Observation:
        """Return the newest picture and joints with their stamp."""
        return self._observe()

    def _observe(self) -> Observation:
        watch = Stopwatch()
        while watch.seconds() < 5.0:
            found = self._pairing.newest(self._clock.now_ns())
            if found is not None and found.age_s < _FRESH_S:
                return found
            self._pause.wait(0.02)
        raise StaleObservationError("camera and joints", watch.seconds(), _FRESH_S)

    def _send(self, delta: FloatArray, gripper: float, *, deadman: bool = True) -> None:
        command = OperatorCommand(source="calibration", deadman=deadman, gripper=gripper)
        command.stamp_ns = self._clock.now_ns()
        command.delta = [float(value) for value in delta]
        self._operator.publish(command)

    def _gripper(self) -> float:
        state = self._client.guard_state
        return float(state.gripper_target) if state is not None else 1.0

    def _num_accepted(self) -> int:
        state = self._client.guard_state
        return int(state.accepted) if state is not None else 0

    def _T_target(self) -> FloatArray:  # noqa: N802
        """Return the pose that the guard drives to, or the measured one while it holds."""
        state = self._client.guard_state
        if state is not None and state.mode == "active" and len(state.joint_target_rad) == 6:
            return wx250s.forward(np.array(state.joint_target_rad, np.float64))
        return wx250s.forward(self._observe().joints_rad)

    def _require_motion(self, waited_s: float) -> None:
        state = self._client.guard_state
        if state is not None and state.latched:
            raise ArmFaultError(
                f"arm_guard: stopped on {', '.join(state.causes)}. Look at the arm, remove the "
                f"cause, reset the guard, and start the calibration again."
            )
        if waited_s > _MOVE_S:
            why = "; ".join(state.changes) if state is not None else "no guard/state"
            raise ArmFaultError(
                f"arm: a pose was not reached within {_MOVE_S:.0f} s; the guard says: "
                f"{why or 'nothing'}. Is something in the way?"
            )

    def _on_image(self, message: Any) -> None:
        stamp_ns = convert.from_stamp(message.header.stamp)
        image = convert.from_image(message)
        self._pairing.add_image(image, stamp_ns)
        if (log := self._log) is not None:
            log.pictures.append((stamp_ns, image[::4, ::4].copy()))

    def _on_joints(self, message: Any) -> None:
        try:
            joints, _, gripper = convert.joints_from(message)
        except InputError as error:
            self._client.node.get_logger().error(str(error), throttle_duration_sec=1.0)
            return
        stamp_ns = convert.from_stamp(message.header.stamp)
        self._pairing.add_joints(joints, gripper, stamp_ns)
        if (log := self._log) is not None:
            log.joints.append((stamp_ns, joints))

    def _on_command(self, message: Any) -> None:
        """Hear what the guard sends; the topic carries no stamp, so arrival counts."""
        if (log := self._log) is not None and len(message.cmd) == 6:
            log.commands.append((self._clock.now_ns(), np.array(message.cmd, np.float64)))

    # --- the wiggle test and the latency ---------------------------------------------------------

    def pose(self) -> tuple[FloatArray, float]:
        """Return the measured tool pose (4, 4) and the gripper's opening."""
        observation = self._observe()
        return wx250s.forward(observation.joints_rad), observation.gripper

    def settle(self) -> None:
        """Keep the target until the servos have reached it, then let the arm rest."""
        still = np.append(np.zeros(6), self._gripper())
        for _ in range(_STILL_STEPS):
            self.act(still)
        self.hold(_REST_S)

    def record(self, actions: Sequence[FloatArray]) -> Recorded:
        """Carry out actions and return commands, joints and small pictures with their stamps."""
        log = LatencyLog()
        self._log = log
        try:
            for action in actions:
                self._require_motion(0.0)
                self.act(action)
        finally:
            self._log = None
            self.hold(0.1)
        return log.recorded()


class HandMovedStage:
    """An arm that a person moves with its torque off; looks when told to."""

    def __init__(self, stage: RunningStage, ask: Callable[[str], str] = input) -> None:
        """Use the camera and joints of `stage`; `ask` waits for the person."""
        self._stage, self._ask, self._count = stage, ask, 0

    def move_to(self, T_base_tool: FloatArray) -> None:
        """Wait until the person says that the arm rests somewhere new; poses are theirs."""
        del T_base_tool
        self._count += 1
        self._ask(f"Pose {self._count}: move the arm, let it rest, press Enter. ")

    def look(self) -> View:
        """Return the newest picture with the joints of its moment."""
        return self._stage.look()

    def touch(self, what: str) -> FloatArray:
        """Return the joints (6,) at which the person says that the tool touches."""
        self._ask(f"{what}, let the arm rest, press Enter. ")
        return self._stage.look().joints_rad


def _is_near(T: FloatArray, T_goal: FloatArray) -> bool:
    is_close = float(np.linalg.norm(T[:3, 3] - T_goal[:3, 3])) < _REACHED_M
    return is_close and bool(np.abs(T[:3, :3] - T_goal[:3, :3]).max() < _REACHED_RAD)


@contextmanager
def running_stage(namespace: str, *, by_hand: bool = False) -> Iterator[Any]:
    """Yield the stage of the agent that runs in `namespace`; the arm holds afterwards."""
    with AgentClient(namespace) as client:
        stage = RunningStage(client)
        try:
            yield HandMovedStage(stage) if by_hand else stage
        finally:
            if not by_hand:
                stage.hold(0.1)


def shown_views(
    namespace: str, board: Board, count: int, say: Callable[[int, int, str], None]
) -> list[ImageArray]:
    """Return pictures of a board that a person moves; one that stays where it was is not kept."""
    kept: list[ImageArray] = []
    last: FloatArray | None = None
    pause = threading.Event()
    with AgentClient(namespace) as client:
        stage = RunningStage(client)
        while len(kept) < count:
            image = stage.look().image_hwc
            corners = board.find(image)
            middle = corners.pixels.mean(axis=0) if corners.is_enough else None
            is_new = last is None or (
                middle is not None and float(np.linalg.norm(middle - last)) > _MOVED_PX
            )
            if middle is not None and is_new:
                kept.append(image)
                last = middle
                sys.stderr.write("\a")
            say(len(kept), count, f"{corners.count} corners")
            pause.wait(0.3)
    return kept
