"""Node `recorder`: one episode per folder, and start frames of scenes."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from robot_agent_interfaces.msg import GuardState, PolicyStatus
from robot_agent_interfaces.srv import CaptureScene, EndEpisode, StartEpisode
from sensor_msgs.msg import Image, JointState

from robot_agent.act.observation import ObservationPairing, PairingConfig
from robot_agent.core.clock import wall_stamp
from robot_agent.core.errors import InputError, RobotAgentError, StaleObservationError
from robot_agent.ros import convert, params, process, raw_messages, topics
from robot_agent.ros.calibrations import seal_for
from robot_agent.ros.clock import ScaledClock
from robot_agent.ros.diagnostics import OK, WARN, Diagnostics, Report
from robot_agent.ros.ears import Ears
from robot_agent.ros.params import setting
from robot_agent.ros.process import in_thread
from robot_agent.ros.step_recorder import Accepted, StepRecorder, action_of
from robot_agent.store.episode_store import EpisodeStore
from robot_agent.store.episode_writer import RecordingConfig
from robot_agent.store.start_frames import StartFrame, keep_start_frame

_END_PATIENCE_NS = 1_500_000_000
_KEPT_PICTURES = 30
"""A second of pictures: a recorder that is behind must still find the one of each action."""
_MAX_CAPTURE_AGE_S = 1.0


@dataclass(frozen=True, kw_only=True)
class RecorderConfig:
    """Parameters of the recorder."""

    store: str = setting("episodes", "Folder of the episode store.")
    captures: str = setting("captures", "Folder of captured start frames.")
    min_free_gb: float = setting(1.0, "Recording stops below this free space [GB].", 0.0, 1e5)
    calibration: str = setting(
        "", "Folder of calibrations that episodes need; `simulated` in simulation; empty for none."
    )
    robot: str = setting("", "Name of the robot that calibrations must be of; empty for any.")
    camera_serial: str = setting("", "Serial number of the camera they must be of; empty for any.")
    streams: bool = setting(
        False, "Also keep every picture and joint reading of an episode, not only its steps'."
    )
    budget_gb: float = setting(
        0.0, "No new episode begins when the store holds more [GB]; 0 sets no limit.", 0.0, 1e5
    )
    time_factor: float = setting(1.0, "Simulated time over wall time, for all nodes.", 0.1, 20.0)

    def __post_init__(self) -> None:
        """Check the ranges."""
        params.check_ranges(self)


class RecorderNode(Node):
    """Listens only; a full disk stops the recording, never the arm."""

    def __init__(self) -> None:
        """Open the store and listen."""
        super().__init__("recorder")
        self._config = params.declare(self, RecorderConfig)
        self._time = ScaledClock(self._config.time_factor)
        self._pairing = ObservationPairing(PairingConfig(kept_pictures=_KEPT_PICTURES))
        store = self._open_store()
        self._recorder = StepRecorder(store, self._pairing)
        self._instructions = {store.describe(name).instruction for name in store.list()}
        self._ears = self._listen()
        group = ReentrantCallbackGroup()
        self.create_service(StartEpisode, topics.EPISODE_START, self._on_start)
        self.create_service(EndEpisode, topics.EPISODE_END, self._on_end, callback_group=group)
        self.create_service(CaptureScene, topics.CAPTURE_SCENE, self._on_capture)
        self.create_timer(0.1, self._on_timer)
        self._diagnostics = Diagnostics(self, "recorder", self._report)
        self._ears.start()

    def _open_store(self) -> EpisodeStore:
        config = self._config
        return EpisodeStore(
            Path(config.store),
            RecordingConfig(min_free_gb=config.min_free_gb, budget_gb=config.budget_gb),
        )

    def _listen(self) -> Ears:
        ears = Ears(self)
        for kind, name, take, qos, is_raw in (
            (Image, topics.CAMERA_IMAGE, self._on_image, topics.EVERY_PICTURE, True),
            (JointState, topics.JOINT_STATES, self._on_joints, topics.EVENTS, True),
            (PolicyStatus, topics.POLICY_STATUS, self._on_policy, topics.STATUS, False),
            (GuardState, topics.GUARD_STATE, self._on_guard, topics.EVERY_STATE, False),
        ):
            ears.hear(kind, name, take, qos, raw=is_raw)
        return ears

    def close(self) -> None:
        """Forget an open episode."""
        self._ears.close()
        self._recorder.close()

    def _on_timer(self) -> None:
        self._ears.require_sound()
        self._recorder.flush(self._time.now_ns())

    # --- listening -------------------------------------------------------------------------------

    def _on_image(self, message: bytes) -> None:
        """Take a serialised picture: making an object of it costs as much as its JPEG."""
        try:
            stamp_ns, image_hwc = raw_messages.stamp_of(message), raw_messages.image_of(message)
        except InputError as error:
            self.get_logger().error(str(error), throttle_duration_sec=1.0)
            return
        self._pairing.add_image(image_hwc, stamp_ns)
        if self._config.streams:
            self._recorder.add_stream_image(image_hwc, stamp_ns)
        self._recorder.flush(self._time.now_ns())

    def _on_joints(self, message: bytes) -> None:
        try:
            stamp_ns = raw_messages.stamp_of(message)
            joints, _, gripper = convert.joints_from(deserialize_message(message, JointState))
        except InputError as error:
            self.get_logger().error(str(error), throttle_duration_sec=1.0)
            return
        self._pairing.add_joints(joints, gripper, stamp_ns)
        if self._config.streams:
            self._recorder.add_stream_joints(message, stamp_ns)

    def _on_guard(self, message: Any) -> None:
        accepted = Accepted(
            stamp_ns=int(message.stamp_ns),
            proposed=action_of(list(message.proposed)),
            sent=action_of(list(message.sent)),
            weights_version=str(message.weights_version),
            controller=str(message.controller),
            changes=tuple(message.changes),
        )
        self._recorder.on_guard(int(message.accepted), accepted)

    def _on_policy(self, message: Any) -> None:
        self._recorder.hear_instruction(str(message.instruction))

    # --- services --------------------------------------------------------------------------------

    def _on_start(self, request: Any, response: Any) -> Any:
        try:
            if not request.allow_unknown_task and request.instruction not in self._instructions:
                raise InputError(
                    f"instruction '{request.instruction}' is new to this store. If it is meant, "
                    f"set allow_unknown_task."
                )
            config = self._config
            seal = seal_for(config.calibration, config.robot, config.camera_serial)
            response.episode_id = self._recorder.start(request.instruction, request.scene, seal)
            self._instructions.add(request.instruction)
            response.success = True
        except RobotAgentError as error:
            response.success, response.message = False, str(error)
            self.get_logger().error(str(error))
        return response

    async def _on_end(self, request: Any, response: Any) -> Any:
        """Wait for the picture after the last action, then commit; in a thread."""
        try:
            answer = await in_thread(
                self, lambda: self._end(request.outcome, request.judged_by), "commit"
            )
            response.episode_id, folder, problem = answer
            response.success, response.path, response.message = True, str(folder), problem
        except RobotAgentError as error:
            response.success, response.message = False, str(error)
            self.get_logger().error(str(error))
        return response

    def _end(self, outcome: str, judged_by: str) -> tuple[str, Path, str]:
        if outcome == "discard":
            return self._recorder.discard(), Path(), f"discarded, said {judged_by or 'the caller'}"
        deadline_ns = self._time.now_ns() + _END_PATIENCE_NS
        while not self._recorder.is_complete() and self._time.now_ns() < deadline_ns:
            self._pairing.wait(0.05)
        return self._recorder.end(outcome, judged_by)

    def _on_capture(self, request: Any, response: Any) -> Any:
        try:
            response.path = str(self._capture(request.scene, request.instruction))
            response.success = True
        except RobotAgentError as error:
            response.success, response.message = False, str(error)
        return response

    def _capture(self, scene: str, instruction: str) -> Path:
        """Write the present view as a start frame that appears whole; return its folder."""
        observation = self._pairing.newest(self._time.now_ns())
        if observation is None or observation.age_s > _MAX_CAPTURE_AGE_S:
            age_s = observation.age_s if observation is not None else float("inf")
            raise StaleObservationError("camera and joints", age_s, _MAX_CAPTURE_AGE_S)
        # Two instructions may be captured on one picture.
        told = zlib.crc32(instruction.encode())
        name = f"{wall_stamp()}-{observation.stamp_ns % 10**6:06d}-{told:08x}"
        frame = StartFrame(
            scene=scene,
            instruction=instruction,
            image_hwc=observation.image_hwc,
            joints_rad=observation.joints_rad,
            gripper=observation.gripper,
        )
        return keep_start_frame(Path(self._config.captures), name, frame)

    def _report(self) -> Report:
        recorder = self._recorder
        values = {"episode": recorder.episode_id, "dropped_pairs": self._pairing.dropped}
        if recorder.problem:
            return WARN, recorder.problem, values
        return OK, "recording" if recorder.episode_id else "idle", values


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node until it is told to end."""
    return process.run(RecorderNode, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
