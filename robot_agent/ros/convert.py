"""Conversions between ROS messages and the types of `core`.

`header.stamp` of every message counts nanoseconds of the clock that all nodes share
(CLOCK_MONOTONIC, scaled in fast simulation), not wall time: ages then need no synchronisation and
survive a change of the wall clock.
"""

import array
import math
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from numpy.typing import NDArray
from robot_agent_interfaces.msg import ActionProposal, OperatorCommand
from sensor_msgs.msg import CameraInfo, Image, JointState

from robot_agent.core.errors import InputError
from robot_agent.core.types import FloatArray, ImageArray, Proposal, require_array
from robot_agent.core.wx250s import (
    FINGER_NAMES,
    GRIPPER_NAME,
    JOINT_NAMES,
    opening_from_finger,
)
from robot_agent.guard.state import OperatorInput
from robot_agent.ros import topics
from robot_agent.teleop.sample import OperatorSample

_SECOND_NS = 1_000_000_000


def to_stamp(stamp_ns: int) -> Any:
    """Return a builtin_interfaces/Time of monotonic nanoseconds."""
    return Time(sec=stamp_ns // _SECOND_NS, nanosec=stamp_ns % _SECOND_NS)


def from_stamp(stamp: Any) -> int:
    """Return monotonic nanoseconds of a builtin_interfaces/Time."""
    return int(stamp.sec) * _SECOND_NS + int(stamp.nanosec)


def to_image(image_hwc: ImageArray, stamp_ns: int) -> Any:
    """Return an rgb8 Image message of RGB (H, W, 3) uint8."""
    require_array("image_hwc", image_hwc, (None, None, 3), np.uint8)
    message = Image(encoding="rgb8", is_bigendian=0)
    message.height, message.width = image_hwc.shape[:2]
    message.step = 3 * message.width
    message.header.frame_id = topics.CAMERA_FRAME
    message.header.stamp = to_stamp(stamp_ns)
    # An array.array is stored as it is; any other sequence is checked byte by byte.
    message.data = array.array("B", np.ascontiguousarray(image_hwc).tobytes())
    return message


def from_image(message: Any, topic: str = topics.CAMERA_IMAGE) -> ImageArray:
    """Return RGB (H, W, 3) uint8 of an rgb8 or bgr8 Image; a view where that is possible.

    Raises:
        InputError: Another encoding, or a size that does not fit the data.
    """
    if message.encoding not in ("rgb8", "bgr8"):
        raise InputError(
            f"{topic}: encoding is '{message.encoding}', must be rgb8 or bgr8. "
            f"Check the camera's colour profile."
        )
    rows, row_bytes = int(message.height), int(message.step)
    pixels = np.frombuffer(message.data, np.uint8)
    if pixels.size != rows * row_bytes or row_bytes < 3 * message.width or rows == 0:
        raise InputError(
            f"{topic}: {pixels.size} bytes do not make {message.width}x{rows} "
            f"pixels with rows of {row_bytes} bytes. Check what publishes it."
        )
    image = pixels.reshape(rows, row_bytes)[:, : 3 * message.width].reshape(rows, -1, 3)
    return image if message.encoding == "rgb8" else image[:, :, ::-1].copy()


def to_depth(depth_mm: NDArray[np.uint16], stamp_ns: int) -> Any:
    """Return a 16UC1 Image message of distances (H, W) [mm], as realsense2_camera sends them."""
    require_array("depth_mm", depth_mm, (None, None), np.uint16)
    message = Image(encoding="16UC1", is_bigendian=0)
    message.height, message.width = depth_mm.shape
    message.step = 2 * message.width
    message.header.frame_id = topics.CAMERA_FRAME
    message.header.stamp = to_stamp(stamp_ns)
    message.data = array.array("B", np.ascontiguousarray(depth_mm, "<u2").tobytes())
    return message


def to_camera_info(width: int, height: int, intrinsics: FloatArray, stamp_ns: int) -> Any:
    """Return a CameraInfo of an undistorted pinhole camera with intrinsics (3, 3) [px]."""
    info = CameraInfo(width=width, height=height, distortion_model="plumb_bob")
    info.header.frame_id = topics.CAMERA_FRAME
    info.header.stamp = to_stamp(stamp_ns)
    info.d = [0.0] * 5
    info.k = [float(value) for value in intrinsics.reshape(-1)]
    info.r = [float(value) for value in np.eye(3).reshape(-1)]
    info.p = [float(value) for value in np.hstack([intrinsics, np.zeros((3, 1))]).reshape(-1)]
    return info


def to_joint_state(
    names: list[str], positions: list[float], velocities: list[float], stamp_ns: int
) -> Any:
    """Return a JointState of equally long lists [rad, m; rad/s, m/s]; efforts are zero."""
    message = JointState(name=names, position=positions, velocity=velocities)
    message.effort = [0.0] * len(names)
    message.header.stamp = to_stamp(stamp_ns)
    return message


def joints_from(message: Any) -> tuple[FloatArray, FloatArray, float]:
    """Return arm joints (6,) [rad], their velocities (6,) [rad/s] and the gripper's opening.

    Raises:
        InputError: A joint is missing or the lists differ in length.
    """
    names, positions = list(message.name), list(message.position)
    missing = [name for name in (*JOINT_NAMES, FINGER_NAMES[0]) if name not in names]
    if missing or len(positions) != len(names):
        raise InputError(
            f"{topics.JOINT_STATES}: {len(positions)} positions for {names}, missing {missing}. "
            f"Is this the driver of a wx250s?"
        )
    index = [names.index(name) for name in JOINT_NAMES]
    velocity = list(message.velocity)
    velocities = [velocity[i] for i in index] if len(velocity) == len(names) else [0.0] * 6
    joints = np.array([positions[i] for i in index], np.float64)
    opening = opening_from_finger(float(positions[names.index(FINGER_NAMES[0])]))
    return joints, np.array(velocities, np.float64), opening


def efforts_from(message: Any) -> FloatArray | None:
    """Return the efforts (7,) [mA] of joints and gripper; None where the driver tells none.

    All zeros are no efforts: a servo that holds an arm up always draws some current.
    """
    names, efforts = list(message.name), list(message.effort)
    wanted = (*JOINT_NAMES, GRIPPER_NAME)
    if len(efforts) != len(names) or not set(wanted) <= set(names) or not any(efforts):
        return None
    return np.array([efforts[names.index(name)] for name in wanted], np.float64)


def to_proposal(proposal: Proposal) -> Any:
    """Return the message of a proposal."""
    return ActionProposal(
        stamp_ns=proposal.stamp_ns,
        deadline_ns=proposal.deadline_ns,
        weights_version=proposal.weights_version,
        chunk_id=proposal.chunk_id,
        index=proposal.index,
        sequence=proposal.sequence,
        speed=float(proposal.speed),
        action=[float(value) for value in np.asarray(proposal.action).reshape(-1)],
    )


def from_proposal(message: Any) -> Proposal:
    """Return a proposal as it came; the guard judges whether it holds seven finite numbers."""
    return Proposal(
        action=np.array(message.action, np.float64),
        weights_version=str(message.weights_version),
        chunk_id=int(message.chunk_id),
        index=int(message.index),
        sequence=int(message.sequence),
        stamp_ns=int(message.stamp_ns),
        deadline_ns=int(message.deadline_ns),
        speed=float(message.speed),
    )


def to_operator(sample: OperatorSample, source: str) -> Any:
    """Return the message of a device's sample; a gripper of NaN leaves the gripper as it is."""
    return OperatorCommand(
        stamp_ns=sample.stamp_ns,
        source=source,
        delta=[float(value) for value in sample.delta],
        gripper=math.nan if sample.gripper is None else sample.gripper,
        deadman=sample.deadman,
        event=sample.event,
    )


def from_operator(message: Any, now_ns: int) -> OperatorInput:
    """Return an operator's command as it came, received at `now_ns`; the guard judges it.

    A gripper of NaN leaves the gripper as it is; a stamp from the future is one of now.
    """
    delta, gripper = np.array(message.delta, np.float64), float(message.gripper)
    return OperatorInput(
        delta=delta if len(delta) else np.zeros(6),
        gripper=None if math.isnan(gripper) else gripper,
        deadman=bool(message.deadman),
        stamp_ns=min(int(message.stamp_ns), now_ns),
        source=str(message.source) or "operator",
    )
