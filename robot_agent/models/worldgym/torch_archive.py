"""Tensors out of a torch checkpoint (.pt) without running anything that is written in it.

Such a file is a zip of raw numbers and one program in the pickle language that says how they are
named and cut. Python's own interpreter of that language can call any function, so it is not used:
here `pickletools` only splits the program into operations, and an interpreter of a few of them
builds plain dictionaries, lists and descriptions of tensors. Anything else in the file is refused.

Source: torch's serialisation notes (zip format, `_rebuild_tensor_v2`) and the opcode list of
`pickletools`.
"""

import pickletools
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robot_agent.core.errors import ConfigError

_DTYPES = {
    "torch DoubleStorage": torch.float64,
    "torch FloatStorage": torch.float32,
    "torch HalfStorage": torch.float16,
    "torch BFloat16Storage": torch.bfloat16,
    "torch LongStorage": torch.int64,
    "torch IntStorage": torch.int32,
    "torch BoolStorage": torch.bool,
    "torch ByteStorage": torch.uint8,
}
_TENSOR, _PARAMETER = "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter"
_DICTIONARY = "collections OrderedDict"
_LARGEST_PROGRAM = 64_000_000
"""Bytes; the names of ten thousand tensors take one million."""
_CONSTANTS = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_LITERALS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_IGNORED = {"PROTO", "FRAME", "STOP"}


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies in the archive."""

    file: str
    dtype: torch.dtype
    offset: int
    """First number."""
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True)
class _Global:
    """A name that the program mentions; it is never looked up."""

    name: str


class _Mark:
    """The beginning of a group on the stack."""


class TorchArchive:
    """A checkpoint file, opened; `content` names tensors, `read` fetches one."""

    def __init__(self, path: Path) -> None:
        """Read the directory and the names.

        Raises:
            ConfigError: The file is cut, of another format, or asks for more than tensors.
        """
        self._path = path
        try:
            self._zip = zipfile.ZipFile(path)
            name = next(n for n in self._zip.namelist() if n.endswith("/data.pkl"))
            self._prefix = name.removesuffix("data.pkl")
            size = self._zip.getinfo(name).file_size
            if size > _LARGEST_PROGRAM:
                raise ValueError(f"{size} bytes of names")
            self.content: Any = _Interpreter().run(self._zip.read(name))
        except (OSError, zipfile.BadZipFile, StopIteration) as error:
            raise ConfigError(
                f"{path}: is no whole torch checkpoint ({error!r}). Copy it again, or give the "
                f"weights as safetensors."
            ) from error
        except (ValueError, IndexError, KeyError, TypeError) as error:
            raise ConfigError(
                f"{path}: holds more than tensors ({error}); only names, numbers and tensors are "
                f"read. Convert it to safetensors where you trust it, and import that."
            ) from error

    def read(self, stored: StoredTensor) -> Tensor:
        """Return one tensor; ConfigError when its numbers are missing."""
        try:
            raw = self._zip.read(f"{self._prefix}data/{stored.file}")
            flat = torch.frombuffer(bytearray(raw), dtype=stored.dtype)
            return flat.as_strided(stored.shape, stored.stride, stored.offset).contiguous()
        except (KeyError, ValueError, RuntimeError, zipfile.BadZipFile, EOFError) as error:
            raise ConfigError(
                f"{self._path}: the numbers of {stored.file} cannot be read ({error}). The file "
                f"was cut: copy it again."
            ) from error

    def close(self) -> None:
        """Close the file."""
        self._zip.close()


def tensors_below(content: Any, *keys: str) -> Mapping[str, StoredTensor]:
    """Return the named tensors of the dictionary under `keys`; empty when there is none."""
    for key in keys:
        content = content.get(key) if isinstance(content, dict) else None
    found = content if isinstance(content, dict) else {}
    return {str(k): v for k, v in found.items() if isinstance(v, StoredTensor)}


class _Interpreter:
    """A stack, a memo, and the operations that plain data need."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, program: bytes) -> Any:
        for opcode, argument, _ in pickletools.genops(program):
            self._operate(opcode.name, argument)
        return self._stack.pop()

    def _operate(self, name: str, argument: Any) -> None:
        if name in _IGNORED:
            return
        if name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name]())
        elif name in _LITERALS:
            self._stack.append(_LITERALS[name])
        elif name in {"BINPUT", "LONG_BINPUT", "MEMOIZE"}:
            self._memo[len(self._memo) if argument is None else argument] = self._stack[-1]
        elif name in {"BINGET", "LONG_BINGET"}:
            self._stack.append(self._memo[argument])
        elif name in {"BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"} or isinstance(
            argument, int | float
        ):
            self._stack.append(argument)
        elif (operate := getattr(self, f"_{name.lower()}", None)) is not None:
            operate(argument)
        else:
            raise ValueError(f"operation {name}")

    def _group(self) -> list[Any]:
        start = max(i for i, item in enumerate(self._stack) if isinstance(item, _Mark))
        group = self._stack[start + 1 :]
        del self._stack[start:]
        return group

    def _mark(self, _: Any) -> None:
        self._stack.append(_Mark())

    def _global(self, name: str) -> None:
        allowed = {*_DTYPES, _TENSOR, _PARAMETER, _DICTIONARY}
        if name not in allowed:
            raise ValueError(f"the name {name}")
        self._stack.append(_Global(name))

    def _tuple(self, _: Any) -> None:
        self._stack.append(tuple(self._group()))

    def _tuple1(self, _: Any) -> None:
        self._stack[-1:] = [tuple(self._stack[-1:])]

    def _tuple2(self, _: Any) -> None:
        self._stack[-2:] = [tuple(self._stack[-2:])]

    def _tuple3(self, _: Any) -> None:
        self._stack[-3:] = [tuple(self._stack[-3:])]

    def _append(self, _: Any) -> None:
        item = self._stack.pop()
        self._stack[-1].append(item)

    def _appends(self, _: Any) -> None:
        group = self._group()
        self._stack[-1].extend(group)

    def _setitem(self, _: Any) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._stack[-1][key] = value

    def _setitems(self, _: Any) -> None:
        group = self._group()
        self._stack[-1].update(zip(group[::2], group[1::2], strict=True))

    def _build(self, _: Any) -> None:
        """Leave out attributes set on a dictionary, such as torch's `_metadata`."""
        self._stack.pop()

    def _binpersid(self, _: Any) -> None:
        """Turn ("storage", type, file, device, count) into its type and file."""
        kind, storage, file, *_rest = self._stack.pop()
        if kind != "storage" or not isinstance(storage, _Global):
            raise ValueError(f"a reference to {kind}")
        self._stack.append((_DTYPES[storage.name], str(file)))

    def _reduce(self, _: Any) -> None:
        arguments, called = self._stack.pop(), self._stack.pop()
        if not isinstance(called, _Global):
            raise TypeError("a call of what is no name")
        if called.name == _DICTIONARY:
            self._stack.append(dict(*arguments))
        elif called.name == _PARAMETER:
            self._stack.append(arguments[0])
        elif called.name == _TENSOR:
            (dtype, file), offset, shape, stride, *_rest = arguments
            self._stack.append(StoredTensor(file, dtype, offset, tuple(shape), tuple(stride)))
        else:
            raise ValueError(f"a call of {called.name}")
