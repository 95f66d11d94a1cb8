"""The MCAP is one of standard ROS 2 messages: other programs can read it."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

from robot_agent.core.types import Episode
from robot_agent.core.wx250s import JOINT_NAMES
from robot_agent.store.episode_format import RECORDING_NAME
from robot_agent.store.episode_store import EpisodeStore
from robot_agent.store.recording import read_recording
from tests.store.episodes import LOSSLESS, make_episode

COUNTS = {
    "/camera/color/image_raw/compressed": 4,
    "/joint_states": 4,
    "/action/sent": 3,
    "/action/proposed": 3,
    "/episode/step": 3,
    "/episode/start": 1,
}


@pytest.fixture
def episode() -> Episode:
    return make_episode()


@pytest.fixture
def content(episodes_path: Path, episode: Episode) -> bytes:
    return (EpisodeStore(episodes_path, LOSSLESS).append(episode) / RECORDING_NAME).read_bytes()


def test_the_index_lists_every_topic_for_players(content: bytes):
    summary = make_reader(io.BytesIO(content)).get_summary()
    assert summary is not None
    assert summary.statistics is not None
    counts = summary.statistics.channel_message_counts
    assert {c.topic: counts[c.id] for c in summary.channels.values()} == COUNTS
    assert {c.message_encoding for c in summary.channels.values()} == {"cdr"}
    assert {s.encoding for s in summary.schemas.values()} == {"ros2msg"}


def test_the_mcap_library_decodes_every_message(content: bytes, episode: Episode):
    reader = make_reader(io.BytesIO(content), decoder_factories=[DecoderFactory()])
    found = {topic: [] for topic in COUNTS}
    for decoded in reader.iter_decoded_messages():
        found[decoded.channel.topic].append(decoded.decoded_message)
    image = found["/camera/color/image_raw/compressed"][2]
    pixels = cv2.imdecode(np.frombuffer(image.data, np.uint8), cv2.IMREAD_COLOR)
    assert image.format == "png"
    assert np.array_equal(pixels[:, :, ::-1], episode.images[2])
    assert image.header.stamp.sec * 10**9 + image.header.stamp.nanosec == episode.stamps_ns[2]
    assert list(found["/joint_states"][1].name) == [*JOINT_NAMES, "gripper_opening"]
    assert list(found["/action/sent"][1].data) == episode.actions[1].tolist()


@pytest.mark.ros
def test_ros_2_itself_decodes_every_message(content: bytes, episode: Episode):
    from rclpy.serialization import deserialize_message, serialize_message
    from sensor_msgs.msg import CompressedImage, JointState
    from std_msgs.msg import Float64MultiArray, String

    kinds = {
        "sensor_msgs/msg/CompressedImage": CompressedImage,
        "sensor_msgs/msg/JointState": JointState,
        "std_msgs/msg/Float64MultiArray": Float64MultiArray,
        "std_msgs/msg/String": String,
    }
    seen = 0
    for schema, channel, message in make_reader(io.BytesIO(content)).iter_messages():
        assert schema is not None
        decoded = deserialize_message(message.data, kinds[schema.name])
        again = deserialize_message(serialize_message(decoded), kinds[schema.name])
        assert again == decoded
        if channel.topic == "/joint_states":
            index = int(np.searchsorted(episode.stamps_ns, message.log_time))
            assert list(decoded.position[:6]) == episode.joints_rad[index].tolist()
        if channel.topic == "/action/sent":
            assert decoded.layout.dim[0].label == "dx dy dz droll dpitch dyaw gripper"
            assert len(decoded.data) == decoded.layout.dim[0].size == 7
        seen += 1
    assert seen == sum(COUNTS.values())


def test_a_damaged_recording_says_why_it_ended(content: bytes):
    assert read_recording(content).fault == ""
    assert read_recording(content[:-200]).fault
    assert read_recording(b"no mcap at all").fault.startswith("InvalidMagic")
    assert read_recording(b"").fault
