"""The few fields that the recorder needs of serialised messages, without making objects of them.

Source: OMG CDR (XCDR1, as ROS 2 uses it): numbers are aligned to their size, counted after the
4-byte prefix, whose second byte tells the byte order.
"""

import struct

import numpy as np

from robot_agent.core.errors import InputError
from robot_agent.core.types import ImageArray

_PREFIX = 4
_CHANNELS = {"rgb8": slice(None), "bgr8": slice(None, None, -1)}


def stamp_of(message: bytes) -> int:
    """Return `header.stamp` [ns] of any message that begins with a std_msgs/Header."""
    if len(message) < _PREFIX + 8:
        raise InputError(f"message of {len(message)} bytes: too short for a header.")
    seconds, nanoseconds = struct.unpack_from(_order(message) + "iI", message, _PREFIX)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def image_of(message: bytes) -> ImageArray:
    """Return RGB (H, W, 3) uint8 of a serialised sensor_msgs/Image; of rgb8 a view.

    Raises:
        InputError: Another encoding, or a size that does not fit the data.
    """
    order = _order(message)
    try:
        _, at = _string(message, order, 8)  # header.frame_id, after the stamp
        (height, width), at = _uints(message, order, at, 2)
        encoding, at = _string(message, order, at)
        (row_bytes, size), at = _uints(message, order, at + 1, 2)  # after is_bigendian
        pixels = np.frombuffer(message, np.uint8, size, _PREFIX + at)
    except (struct.error, ValueError, UnicodeDecodeError) as error:
        raise InputError(f"image of {len(message)} bytes: is cut short ({error}).") from error
    if encoding not in _CHANNELS:
        raise InputError(
            f"image: encoding is '{encoding}', must be rgb8 or bgr8. "
            f"Check the camera's colour profile."
        )
    if not height or not width or size != height * row_bytes or row_bytes < 3 * width:
        raise InputError(
            f"image: {size} bytes do not make {width}x{height} pixels with rows of {row_bytes} "
            f"bytes. Check what publishes it."
        )
    rows = pixels.reshape(height, row_bytes)[:, : 3 * width]
    return rows.reshape(height, width, 3)[:, :, _CHANNELS[encoding]]


def _order(message: bytes) -> str:
    return "<" if len(message) > 1 and message[1] & 1 else ">"


def _uints(message: bytes, order: str, at: int, count: int) -> tuple[tuple[int, ...], int]:
    at += -at % 4
    return struct.unpack_from(f"{order}{count}I", message, _PREFIX + at), at + 4 * count


def _string(message: bytes, order: str, at: int) -> tuple[str, int]:
    (size,), at = _uints(message, order, at, 1)
    content = message[_PREFIX + at : _PREFIX + at + size]
    if len(content) != size:
        raise ValueError(f"a text of {size} bytes ends after {len(content)}")
    return content.rstrip(b"\x00").decode(), at + size
