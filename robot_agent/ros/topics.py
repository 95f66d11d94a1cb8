"""Every ROS name and quality of service of the project; names are relative to the robot."""

from typing import Any, Final

from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSProfile,
    ReliabilityPolicy,
    qos_profile_sensor_data,
)

CAMERA_IMAGE: Final = "camera/color/image_raw"
CAMERA_INFO: Final = "camera/color/camera_info"
CAMERA_DEPTH: Final = "camera/aligned_depth_to_color/image_raw"
JOINT_STATES: Final = "joint_states"
ARM_COMMAND: Final = "commands/joint_group"
GRIPPER_COMMAND: Final = "commands/joint_single"
PROPOSAL: Final = "proposal"
OPERATOR: Final = "operator"
OPERATOR_EVENT: Final = "operator/event"
GUARD_STATE: Final = "guard/state"
GUARD_STOP: Final = "guard/stop"
GUARD_RESET: Final = "guard/reset"
ARM_REST: Final = "arm/rest"
ARM_HOME: Final = "arm/home"
ARM_REBOOT: Final = "arm/reboot"
INSTRUCTION: Final = "instruction"
POLICY_STATUS: Final = "policy/status"
RUN_TASK: Final = "run_task"
ADAPT: Final = "adapt"
EPISODE_START: Final = "episode/start"
EPISODE_END: Final = "episode/end"
CAPTURE_SCENE: Final = "capture_scene"
WEIGHTS_LIST: Final = "weights/list"
WEIGHTS_PROMOTE: Final = "weights/promote"
WEIGHTS_OUTCOME: Final = "weights/outcome"
WEIGHTS_APPROVE: Final = "weights/approve"
WEIGHTS_ROLL_BACK: Final = "weights/roll_back"
SIM_STATE: Final = "sim/state"
SIM_RESET: Final = "sim/reset"
SIM_INJECT: Final = "sim/inject"
DIAGNOSTICS: Final = "/diagnostics"
"""Absolute by convention (REP 107): one place to look for the health of all nodes."""

TF_STATIC: Final = "/tf_static"
"""Absolute by convention (tf2): one tree for all."""

ARM_GROUP: Final = "arm"
CAMERA_FRAME: Final = "camera_color_optical_frame"
BASE_FRAME: Final = "base_link"


def _reliable(depth: int, durability: DurabilityPolicy) -> QoSProfile:
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=durability,
    )


SENSOR: Final[Any] = qos_profile_sensor_data
"""Images: best effort, depth 5."""
EVERY_PICTURE: Final = QoSProfile(
    history=HistoryPolicy.KEEP_LAST, depth=30, reliability=ReliabilityPolicy.BEST_EFFORT
)
"""The recorder's side of SENSOR: a second of pictures may wait while it writes."""
COMMAND: Final = _reliable(1, DurabilityPolicy.VOLATILE)
"""Proposals, operator and arm commands: only the newest counts."""
JOINTS: Final = _reliable(10, DurabilityPolicy.VOLATILE)
"""joint_states and stop requests: the default of the driver."""
STATE: Final = _reliable(10, DurabilityPolicy.TRANSIENT_LOCAL)
"""guard/state: latched; ten deep, so that a listener that was busy for 200 ms misses no change."""
STATUS: Final = _reliable(1, DurabilityPolicy.TRANSIENT_LOCAL)
"""policy/status: latched, newest only."""
LASTING_EVENTS: Final = _reliable(10, DurabilityPolicy.TRANSIENT_LOCAL)
"""operator/event: reaches a listener that finds the device only after a button was pressed."""
EVENTS: Final = _reliable(50, DurabilityPolicy.VOLATILE)
"""Listeners that must see every message of a stream, such as the recorder."""
EVERY_STATE: Final = _reliable(50, DurabilityPolicy.TRANSIENT_LOCAL)
"""A listener's side of STATE that must see every change."""
