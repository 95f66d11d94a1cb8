"""Serialised messages are read without making objects of them, and refused when they are cut."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image, JointState

from robot_agent.core.errors import InputError
from robot_agent.ros import convert
from robot_agent.ros.raw_messages import image_of, stamp_of

STAMP_NS = 123_456_789_012_345


def picture(height: int = 3, width: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@given(st.text("abc/_", max_size=9), st.integers(1, 9), st.integers(1, 9))
def test_a_picture_is_read_as_the_middleware_reads_it(frame, height, width):
    message = convert.to_image(picture(height, width), STAMP_NS)
    message.header.frame_id = frame
    content = serialize_message(message)
    np.testing.assert_array_equal(image_of(content), picture(height, width))
    assert stamp_of(content) == STAMP_NS


def test_bgr_and_padded_rows_are_read(tmp_path):
    message = convert.to_image(picture(2, 2), STAMP_NS)
    message.encoding, message.step = "bgr8", 8
    rows = np.zeros((2, 8), np.uint8)
    rows[:, :6] = picture(2, 2).reshape(2, 6)
    message.data = rows.tobytes()
    read = image_of(serialize_message(message))
    np.testing.assert_array_equal(read, picture(2, 2)[:, :, ::-1])


def test_every_shorter_message_is_refused():
    content = serialize_message(convert.to_image(picture(), STAMP_NS))
    for size in range(len(content) - 3):  # the middleware pads the end
        with pytest.raises(InputError):
            image_of(content[:size])


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [("encoding", "mono8", "must be rgb8 or bgr8"), ("height", 4, "do not make 5x4")],
)
def test_a_picture_of_another_kind_is_refused(field, value, words):
    message = convert.to_image(picture(), STAMP_NS)
    setattr(message, field, value)
    with pytest.raises(InputError, match=words):
        image_of(serialize_message(message))


def test_the_stamp_of_joints_is_read_and_no_message_is_too_short_for_an_error():
    joints = JointState()
    joints.header.stamp = convert.to_stamp(STAMP_NS)
    assert stamp_of(serialize_message(joints)) == STAMP_NS
    for size in range(12):
        with pytest.raises(InputError, match="too short"):
            stamp_of(bytes(size))
    with pytest.raises(InputError, match="cut short"):
        image_of(serialize_message(Image())[:16])
