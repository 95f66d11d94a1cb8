"""Node `teleop`: one stream of operator commands from whatever device the operator holds."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from rclpy.node import Node
from robot_agent_interfaces.msg import GuardState, OperatorCommand
from std_msgs.msg import Empty

from robot_agent.core import wx250s
from robot_agent.core.errors import InputError
from robot_agent.ros import convert, environment, params, process, topics
from robot_agent.ros.clock import ScaledClock
from robot_agent.ros.diagnostics import ERROR, OK, WARN, Diagnostics, Report
from robot_agent.ros.params import setting
from robot_agent.ros.teleop_inputs import Input, InputTopics, Listener, open_input
from robot_agent.teleop import DEVICES
from robot_agent.teleop.follower import FollowerButtons
from robot_agent.teleop.gamepad import LAYOUTS
from robot_agent.teleop.mapping import MappingConfig
from robot_agent.teleop.sample import OperatorSample, ToolView

_LOST_S = 0.2
"""A device that is silent for longer does not hold its deadman; the guard's number too."""
_FLOOD_HZ = 500
_MAX_TOOL_AGE_S = 0.5


@dataclass(frozen=True, kw_only=True)
class TeleopConfig:
    """Parameters of the operator's device."""

    device: str = setting("gamepad", "Kind of device.", choices=DEVICES)
    source: str = setting("", "Name in messages and episodes; empty is the kind of device.")
    hz: float = setting(25.0, "Commands per second.", 10.0, 100.0)
    speed_mps: float = setting(0.1, "Tool speed at full deflection [m/s].", 0.005, 0.25)
    turn_radps: float = setting(0.6, "Turning speed at full deflection [rad/s].", 0.02, 1.25)
    dead_zone: float = setting(0.1, "Share of a deflection that is none.", 0.0, 0.9)
    frame: str = setting(
        "base", "Axes in which a device moves the tool.", choices=("base", "tool")
    )
    frame_rpy_deg: tuple[float, ...] = setting(
        (0.0, 0.0, 0.0), "Fixed-axis angles from the device's axes to the frame's [deg]."
    )
    scale: float = setting(1.0, "Metres of the tool per metre of a hand or leader.", 0.1, 2.0)
    layout: str = setting("joy", "Layout of a gamepad.", choices=tuple(LAYOUTS))
    deadman_button: int = setting(0, "Button that grips, of vr and leader.", 0, 31)
    gripper_axis: int = setting(-1, "Axis of the trigger of vr; -1 is none.", -1, 31)
    joy_topic: str = setting("joy", "Buttons and axes of gamepad, vr, and leader.")
    pose_topic: str = setting("vr/pose", "Pose of the controller of vr.")
    leader_topic: str = setting("leader/joint_states", "Joints of the leader.")
    time_factor: float = setting(1.0, "Simulated time over wall time, for all nodes.", 0.1, 20.0)

    def __post_init__(self) -> None:
        """Check ranges and choices."""
        params.check_ranges(self)
        if len(self.frame_rpy_deg) != 3:
            raise ValueError(f"frame_rpy_deg={self.frame_rpy_deg} must be three angles")

    @property
    def mapping(self) -> MappingConfig:
        """The part that turns deflections into motion."""
        names = {field.name for field in fields(MappingConfig)}
        values = {name: getattr(self, name) for name in names}
        return MappingConfig(**values)


class TeleopNode(Node):
    """Asks the device at a fixed rate; everything happens in the executor's thread."""

    def __init__(self) -> None:
        """Open the device; InputError or ConfigError says what is missing."""
        super().__init__("teleop")
        self._config = config = params.declare(self, TeleopConfig)
        self._time = ScaledClock(config.time_factor)
        self._source = config.source or config.device
        self._claim = environment.claim_device(self.get_namespace(), self._source)
        self._listener = Listener(self, self._time.now_ns)
        self._input: Input | None = self._open()
        self._sample: OperatorSample | None = None
        self._tool: ToolView | None = None
        self._tool_ns = self._seen = 0
        self._is_lost = False
        self._commands = self.create_publisher(OperatorCommand, topics.OPERATOR, topics.COMMAND)
        self._events = self.create_publisher(
            OperatorCommand, topics.OPERATOR_EVENT, topics.LASTING_EVENTS
        )
        self._event = ""
        self._stop = self.create_publisher(Empty, topics.GUARD_STOP, topics.JOINTS)
        self.create_subscription(GuardState, topics.GUARD_STATE, self._on_guard, topics.STATUS)
        self.create_timer(1.0 / config.hz, self._tick)
        self._diagnostics = Diagnostics(self, "operator", self._report)

    def _open(self) -> Input:
        config = self._config
        return open_input(
            config.device,
            self._listener,
            config.mapping,
            InputTopics(joy=config.joy_topic, pose=config.pose_topic, leader=config.leader_topic),
            layout=config.layout,
            buttons=FollowerButtons(
                deadman=config.deadman_button, gripper_axis=config.gripper_axis
            ),
        )

    def close(self) -> None:
        """Let go of the deadman in words, and of the device."""
        if self._input is not None:
            self._input.close()
            if self._sample is not None and not self._is_lost:
                released = replace(self._sample, deadman=False, event="", delta=np.zeros(6))
                self._publish(replace(released, stamp_ns=self._time.now_ns()))
        self._claim.close()

    def _on_guard(self, message: Any) -> None:
        if len(message.joint_target_rad) != 6:
            return
        self._tool_ns = self._time.now_ns()
        self._tool = ToolView(
            wx250s.forward(np.array(message.joint_target_rad)),
            float(message.gripper_target),
            message.controller == "operator",
        )

    def _tick(self) -> None:
        """Read the device and say what it means; a device that is gone says nothing new."""
        now_ns = self._time.now_ns()
        source = self._input
        if source is None:
            return
        try:
            source.look(now_ns)
        except InputError as error:
            if source.ends_with_device:
                self._is_lost = True
                raise
            self._listener.refuse(error)
        is_seen = now_ns - self._tool_ns < _MAX_TOOL_AGE_S * 1e9
        sample = source.device.poll(now_ns, self._tool if is_seen else None)
        if sample is None:
            return
        self._watch(now_ns, sample)
        self._sample = sample
        self._publish(sample)

    def _watch(self, now_ns: int, sample: OperatorSample) -> None:
        """Say once when the device falls silent, and once when it is back."""
        is_lost = now_ns - sample.stamp_ns > _LOST_S * 1e9
        if is_lost and not self._is_lost:
            held = " while its deadman was held; the arm holds" if sample.deadman else ""
            self.get_logger().error(f"{self._source}: the device fell silent{held}")
        elif self._is_lost and not is_lost:
            self.get_logger().info(f"{self._source}: the device is back")
        self._is_lost = is_lost

    def _publish(self, sample: OperatorSample) -> None:
        if sample.event == "stop":
            self._stop.publish(Empty())
        self._commands.publish(convert.to_operator(sample, self._source))
        if sample.event and sample.event != self._event:
            said = replace(sample, stamp_ns=self._time.now_ns())
            self._events.publish(convert.to_operator(said, self._source))
        self._event = sample.event

    def _report(self) -> Report:
        listener, sample = self._listener, self._sample
        per_s, self._seen = listener.reports - self._seen, listener.reports
        values = {"source": self._source, "reports_per_s": per_s, "refused": listener.refused}
        if sample is None:
            return WARN, "the device has said nothing yet", values
        if self._is_lost:
            return ERROR, "the device is silent", values
        if per_s > _FLOOD_HZ:
            return WARN, f"{per_s} reports/s, more than {_FLOOD_HZ}: only the newest count", values
        if listener.refused:
            return WARN, f"refused: {listener.problem}", values
        return OK, "held" if sample.deadman else "at rest", values


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node until it is told to end."""
    return process.run(TeleopNode, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
