"""Standard ROS 2 messages as CDR bytes, with the definitions that let any reader decode them.

Source: OMG CDR (little endian, XCDR1 as ROS 2 uses it); common_interfaces (Apache-2.0) for the
fields of each message. Encoded here because the MCAP library encodes pictures byte by byte.
"""

import struct
from collections.abc import Sequence

import numpy as np

from robot_agent.core.types import FloatArray

_RULE = "=" * 80
_HEADER = f"""{_RULE}
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
{_RULE}
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
"""
DEFINITIONS = {
    "sensor_msgs/msg/CompressedImage": (
        f"std_msgs/Header header\nstring format\nuint8[] data\n{_HEADER}"
    ),
    "sensor_msgs/msg/JointState": (
        "std_msgs/Header header\nstring[] name\nfloat64[] position\nfloat64[] velocity\n"
        f"float64[] effort\n{_HEADER}"
    ),
    "std_msgs/msg/String": "string data\n",
    "std_msgs/msg/Float64MultiArray": f"""std_msgs/MultiArrayLayout layout
float64[] data
{_RULE}
MSG: std_msgs/MultiArrayLayout
std_msgs/MultiArrayDimension[] dim
uint32 data_offset
{_RULE}
MSG: std_msgs/MultiArrayDimension
string label
uint32 size
uint32 stride
""",
}
"""Message definition text (`ros2msg`) of every type that an episode holds."""


def compressed_image(stamp_ns: int, frame_id: str, codec: str, content: bytes) -> bytes:
    """Return a sensor_msgs/CompressedImage."""
    cdr = _Cdr()
    cdr.header(stamp_ns, frame_id)
    cdr.string(codec)
    cdr.uint32(len(content))
    cdr.raw(content)
    return cdr.message()


def joint_state(stamp_ns: int, names: Sequence[str], positions: Sequence[float]) -> bytes:
    """Return a sensor_msgs/JointState with positions only."""
    cdr = _Cdr()
    cdr.header(stamp_ns, "")
    cdr.uint32(len(names))
    for name in names:
        cdr.string(name)
    cdr.doubles(positions)
    cdr.doubles(())
    cdr.doubles(())
    return cdr.message()


def string(text: str) -> bytes:
    """Return a std_msgs/String."""
    cdr = _Cdr()
    cdr.string(text)
    return cdr.message()


def float64_array(label: str, values: FloatArray) -> bytes:
    """Return a std_msgs/Float64MultiArray of one dimension named `label`."""
    cdr = _Cdr()
    cdr.uint32(1)
    cdr.string(label)
    cdr.uint32(len(values))
    cdr.uint32(len(values))
    cdr.uint32(0)
    cdr.doubles(values)
    return cdr.message()


class _Cdr:
    """Little-endian CDR; numbers are aligned to their size, counted after the 4-byte prefix."""

    def __init__(self) -> None:
        self._body = bytearray()

    def message(self) -> bytes:
        return b"\x00\x01\x00\x00" + bytes(self._body)

    def uint32(self, value: int) -> None:
        self._align(4)
        self._body += struct.pack("<I", value)

    def string(self, text: str) -> None:
        content = text.encode() + b"\x00"
        self.uint32(len(content))
        self._body += content

    def raw(self, content: bytes) -> None:
        self._body += content

    def doubles(self, values: Sequence[float] | FloatArray) -> None:
        self.uint32(len(values))
        if len(values):
            self._align(8)
            self._body += np.asarray(values, "<f8").tobytes()

    def header(self, stamp_ns: int, frame_id: str) -> None:
        self.uint32(stamp_ns // 1_000_000_000)
        self.uint32(stamp_ns % 1_000_000_000)
        self.string(frame_id)

    def _align(self, size: int) -> None:
        self._body += b"\x00" * (-len(self._body) % size)
