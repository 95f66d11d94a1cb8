"""TFRecord files of `tf.train.Example` messages, without TensorFlow.

Source of the layout: TensorFlow, `lib/io/record_writer.h` and `core/example/example.proto`: each
record is its length (uint64), the length's masked CRC-32C, the bytes, and theirs.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from robot_agent.core.errors import EpisodeFormatError
from robot_agent.store.durable import storage_errors

Values = Sequence[bytes] | np.ndarray[Any, Any]
"""The list of one feature: bytes, float32 or int64."""

_MAX_RECORD_BYTES = 2**30
_MASK_DELTA = 0xA282EAD8
_HEAD = struct.Struct("<QI")
_TAIL = struct.Struct("<I")


def _masked_crc(content: bytes) -> int:
    crc = google_crc32c.value(content)
    return int((((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF)


def _example_class() -> Any:
    """Return the message class of `tf.train.Example`."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="t", syntax="proto3")

    def message(name: str, *fields: tuple[str, int, int, int, str]) -> Any:
        made = file.message_type.add(name=name)
        for field, number, label, kind, of in fields:
            made.field.add(name=field, number=number, label=label, type=kind)
            if of:
                made.field[-1].type_name = of
        return made

    one, many = kinds.LABEL_OPTIONAL, kinds.LABEL_REPEATED
    message("BytesList", ("value", 1, many, kinds.TYPE_BYTES, ""))
    message("FloatList", ("value", 1, many, kinds.TYPE_FLOAT, ""))
    message("Int64List", ("value", 1, many, kinds.TYPE_INT64, ""))
    lists = ("BytesList", "FloatList", "Int64List")
    names = ("bytes_list", "float_list", "int64_list")
    feature = message(
        "Feature",
        *(
            (name, index + 1, one, kinds.TYPE_MESSAGE, f".t.{of}")
            for index, (name, of) in enumerate(zip(names, lists, strict=True))
        ),
    )
    feature.oneof_decl.add(name="kind")
    for field in feature.field:
        field.oneof_index = 0
    features = message("Features", ("feature", 1, many, kinds.TYPE_MESSAGE, ".t.Features.Entry"))
    entry = features.nested_type.add(name="Entry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=one, type=kinds.TYPE_STRING)
    entry.field.add(
        name="value", number=2, label=one, type=kinds.TYPE_MESSAGE, type_name=".t.Feature"
    )
    message("Example", ("features", 1, one, kinds.TYPE_MESSAGE, ".t.Features"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Example"))


_EXAMPLE = _example_class()


def write_records(path: Path, examples: Iterable[Mapping[str, Values]]) -> list[int]:
    """Write one record per example; return the sizes of the records [bytes].

    Float arrays are stored as float32, integers and booleans as int64, as the format has no other.
    """
    sizes = []
    with storage_errors("writing records", path), path.open("wb") as file:
        for example in examples:
            content = _encode(example)
            head = struct.pack("<Q", len(content))
            file.write(head + _TAIL.pack(_masked_crc(head)))
            file.write(content + _TAIL.pack(_masked_crc(content)))
            sizes.append(len(content))
    return sizes


def read_records(path: Path) -> Iterator[dict[str, Values]]:
    """Yield the features of each record.

    Raises:
        EpisodeFormatError: The file is cut, a checksum is wrong, or a record is no example.
    """
    with storage_errors("reading records", path), path.open("rb") as file:
        number = 0
        while head := file.read(_HEAD.size):
            length, crc = _HEAD.unpack(head) if len(head) == _HEAD.size else (-1, 0)
            is_head_right = length >= 0 and _masked_crc(head[:8]) == crc
            if not is_head_right or length > _MAX_RECORD_BYTES:
                raise _broken(path, number, "its length is damaged or the file was cut")
            content, tail = file.read(length), file.read(_TAIL.size)
            if len(tail) < _TAIL.size or _masked_crc(content) != _TAIL.unpack(tail)[0]:
                raise _broken(path, number, "its checksum is wrong or the file was cut")
            yield _decode(content, path, number)
            number += 1


def _encode(example: Mapping[str, Values]) -> bytes:
    message = _EXAMPLE()
    for name, values in example.items():
        feature = message.features.feature[name]
        if not isinstance(values, np.ndarray):
            feature.bytes_list.value.extend(values)
        elif values.dtype.kind == "f":
            feature.float_list.value.extend(values.astype(np.float32).ravel().tolist())
        else:
            feature.int64_list.value.extend(values.astype(np.int64).ravel().tolist())
    return bytes(message.SerializeToString(deterministic=True))


def _decode(content: bytes, path: Path, number: int) -> dict[str, Values]:
    message = _EXAMPLE()
    try:
        message.ParseFromString(content)
    except DecodeError as error:
        raise _broken(path, number, f"it is no tf.train.Example ({error})") from error
    found: dict[str, Values] = {}
    for name, feature in message.features.feature.items():
        match feature.WhichOneof("kind"):
            case "float_list":
                found[name] = np.array(feature.float_list.value, np.float32)
            case "int64_list":
                found[name] = np.array(feature.int64_list.value, np.int64)
            case _:
                found[name] = list(feature.bytes_list.value)
    return found


def _broken(path: Path, number: int, why: str) -> EpisodeFormatError:
    return EpisodeFormatError(
        f"{path}: record {number} cannot be read: {why}. Copy the file again or leave it out."
    )
