"""The MCAP inside an episode: ROS 2 messages written as they come, and read back in order."""

import hashlib
import io
import json
import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from mcap.exceptions import McapError
from mcap.reader import make_reader
from mcap.records import Channel, Message, Schema
from mcap.stream_reader import StreamReader
from mcap.writer import CompressionType, Writer
from mcap_ros2.decoder import DecoderFactory

from robot_agent.core.types import FloatArray, Observation
from robot_agent.core.wx250s import JOINT_NAMES
from robot_agent.store import ros_messages
from robot_agent.store.strict_json import canonical_json

IMAGE_TOPIC = "/camera/color/image_raw/compressed"
JOINTS_TOPIC = "/joint_states"
SENT_TOPIC, PROPOSED_TOPIC = "/action/sent", "/action/proposed"
STEP_TOPIC, START_TOPIC = "/episode/step", "/episode/start"
STREAM_IMAGE_TOPIC, STREAM_JOINTS_TOPIC = "/camera/color/stream/compressed", "/joint_states/stream"
"""Every picture and every reading of the joints while an episode was open, where asked for."""
OPENING_NAME = "gripper_opening"
"""Extra name in JointState: the opening, 0 closed to 1 open."""
ACTION_LABEL = "dx dy dz droll dpitch dyaw gripper"

TYPES = {
    IMAGE_TOPIC: "sensor_msgs/msg/CompressedImage",
    JOINTS_TOPIC: "sensor_msgs/msg/JointState",
    SENT_TOPIC: "std_msgs/msg/Float64MultiArray",
    PROPOSED_TOPIC: "std_msgs/msg/Float64MultiArray",
    STEP_TOPIC: "std_msgs/msg/String",
    START_TOPIC: "std_msgs/msg/String",
}
STREAM_TYPES = {
    STREAM_IMAGE_TOPIC: TYPES[IMAGE_TOPIC],
    STREAM_JOINTS_TOPIC: TYPES[JOINTS_TOPIC],
}
"""Topics that a recording has only when something was written to them."""
_MAX_RECORD_BYTES = 64 << 20
_CUT_SHORT = (McapError, ValueError, struct.error, IndexError, KeyError)
"""What the MCAP library raises on a file that ends or changes in the middle."""


class RecordingWriter:
    """Writes one MCAP; each step is flushed, so that a killed process loses one step at most."""

    def __init__(self, path: Path, start: dict[str, Any]) -> None:
        """Create the file and write what is known at the start."""
        self._file = _HashingFile(path)
        self._writer = Writer(
            cast("io.BufferedWriter", self._file), compression=CompressionType.NONE
        )
        self._writer.start(profile="ros2", library="robot_agent")
        self._schemas = {
            name: self._writer.register_schema(name, "ros2msg", text.encode())
            for name, text in ros_messages.DEFINITIONS.items()
        }
        self._channels = {topic: self._channel(topic, kind) for topic, kind in TYPES.items()}
        self._write(START_TOPIC, 0, ros_messages.string(canonical_json(start).decode()))
        self._writer.flush()

    def _channel(self, topic: str, kind: str) -> int:
        return self._writer.register_channel(topic, "cdr", self._schemas[kind])

    def add_observation(self, observation: Observation, codec: str, content: bytes) -> None:
        """Write the joints and the encoded picture of one moment."""
        stamp_ns = observation.stamp_ns
        positions = [*observation.joints_rad, observation.gripper]
        joints = ros_messages.joint_state(stamp_ns, [*JOINT_NAMES, OPENING_NAME], positions)
        self._write(JOINTS_TOPIC, stamp_ns, joints)
        self._write(IMAGE_TOPIC, stamp_ns, _image_message(stamp_ns, codec, content))
        self._writer.flush()

    def add_stream_image(self, stamp_ns: int, content: bytes) -> None:
        """Write a JPEG of the stream; it is flushed with the next step."""
        self._write(STREAM_IMAGE_TOPIC, stamp_ns, _image_message(stamp_ns, "jpeg", content))

    def add_stream_joints(self, stamp_ns: int, message: bytes) -> None:
        """Write a serialised sensor_msgs/JointState as it came."""
        self._write(STREAM_JOINTS_TOPIC, stamp_ns, message)

    def add_action(
        self, stamp_ns: int, proposed: FloatArray, sent: FloatArray, who: dict[str, Any]
    ) -> None:
        """Write what was proposed and sent from the newest picture, and by whom."""
        for topic, action in ((PROPOSED_TOPIC, proposed), (SENT_TOPIC, sent)):
            self._write(topic, stamp_ns, ros_messages.float64_array(ACTION_LABEL, action))
        self._write(STEP_TOPIC, stamp_ns, ros_messages.string(canonical_json(who).decode()))
        self._writer.flush()

    def finish(self) -> tuple[str, int]:
        """Write the index, make the file durable; return its SHA-256 and its size."""
        self._writer.finish()
        self._file.sync()
        self.close()
        return self._file.sha256.hexdigest(), self._file.size

    def close(self) -> None:
        """Close the file as it is."""
        self._file.close()

    def _write(self, topic: str, stamp_ns: int, content: bytes) -> None:
        if topic not in self._channels:
            self._channels[topic] = self._channel(topic, STREAM_TYPES[topic])
        self._writer.add_message(self._channels[topic], stamp_ns, content, stamp_ns)


def _image_message(stamp_ns: int, codec: str, content: bytes) -> bytes:
    return ros_messages.compressed_image(stamp_ns, "camera_color_optical_frame", codec, content)


class _HashingFile:
    """A file that is only appended to and knows the SHA-256 of what it was given."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb", buffering=0)
        self.sha256, self.size = hashlib.sha256(), 0

    def write(self, content: bytes) -> int:
        rest = memoryview(content)
        while rest:
            rest = rest[self._file.write(rest) :]
        self.sha256.update(content)
        self.size += len(content)
        return len(content)

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        """Every write went to the system at once."""

    def sync(self) -> None:
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


@dataclass
class Recording:
    """What an MCAP held, in the order of writing."""

    start: dict[str, Any] = field(default_factory=dict)
    pictures: list[bytes] = field(default_factory=list)
    """Encoded pictures, one per observation."""
    stamps_ns: list[int] = field(default_factory=list)
    joints_rad: list[FloatArray] = field(default_factory=list)
    gripper: list[float] = field(default_factory=list)
    proposed: list[FloatArray] = field(default_factory=list)
    sent: list[FloatArray] = field(default_factory=list)
    steps: list[dict[str, Any]] = field(default_factory=list)
    """Who was in control, with which weights, and what the guard changed."""
    fault: str = ""
    """Why reading ended early; empty when the file is whole."""
    lost_bytes: int = 0
    """Bytes behind the last whole record that were read; 0 when the file is whole."""

    @property
    def num_steps(self) -> int:
        """Steps whose action and both pictures are there."""
        return max(0, min(len(self.steps), len(self.sent), len(self.pictures) - 1))


def read_recording(content: bytes) -> Recording:
    """Return what the bytes of an MCAP hold; a cut or damaged one gives all up to the fault."""
    recording = Recording()
    takers: dict[str, Callable[[Any, int], None]] = {
        START_TOPIC: lambda message, _: recording.start.update(json.loads(message.data)),
        STEP_TOPIC: lambda message, _: recording.steps.append(json.loads(message.data)),
        SENT_TOPIC: lambda message, _: recording.sent.append(np.array(message.data)),
        PROPOSED_TOPIC: lambda message, _: recording.proposed.append(np.array(message.data)),
        JOINTS_TOPIC: lambda message, _: _take_joints(recording, message),
        IMAGE_TOPIC: lambda message, stamp_ns: _take_picture(recording, message, stamp_ns),
    }
    file, whole = io.BytesIO(content), 0
    try:
        for topic, message, stamp_ns in _messages(file, set(takers)):
            takers[topic](message, stamp_ns)
            whole = file.tell()
    except _CUT_SHORT as error:
        recording.fault = f"{type(error).__name__}: {error}".rstrip(": ")
        recording.lost_bytes = len(content) - whole
    return recording


def stamps_of(path: Path, topic: str) -> list[int]:
    """Return the stamps [ns] of a topic of a whole recording, without reading it into memory."""
    with path.open("rb") as file:
        reader = make_reader(file)
        return [message.log_time for _, _, message in reader.iter_messages(topics=[topic])]


def _take_joints(recording: Recording, message: Any) -> None:
    named = dict(zip(message.name, message.position, strict=True))
    if not {*JOINT_NAMES, OPENING_NAME} <= set(named):
        raise ValueError(f"joints are {sorted(named)}, not those of a wx250s: another arm's")
    recording.joints_rad.append(np.array([named[name] for name in JOINT_NAMES]))
    recording.gripper.append(float(named[OPENING_NAME]))


def _take_picture(recording: Recording, message: Any, stamp_ns: int) -> None:
    recording.pictures.append(bytes(message.data))
    recording.stamps_ns.append(stamp_ns)


def _messages(file: io.BytesIO, wanted: set[str]) -> Iterator[tuple[str, Any, int]]:
    reader = StreamReader(file, validate_crcs=True, record_size_limit=_MAX_RECORD_BYTES)
    factory = DecoderFactory()
    schemas: dict[int, Schema] = {}
    channels: dict[int, Channel] = {}
    for record in reader.records:
        if isinstance(record, Schema):
            schemas[record.id] = record
        elif isinstance(record, Channel):
            channels[record.id] = record
        elif isinstance(record, Message):
            channel = channels[record.channel_id]
            if channel.topic not in wanted:
                continue
            decode = factory.decoder_for(channel.message_encoding, schemas[channel.schema_id])
            if decode is not None:
                yield channel.topic, decode(record.data), record.log_time
