"""Configuration of a node as ROS parameters: described, with ranges, read-only."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

from robot_agent.core.config import build, require_range

Config = TypeVar("Config")


def setting(
    default: Any,
    description: str,
    low: float | None = None,
    high: float | None = None,
    *,
    choices: Sequence[str] = (),
) -> Any:
    """Return a dataclass field that tells `ros2 param describe` what it is and may be."""
    metadata: dict[str, Any] = {"description": description, "choices": tuple(choices)}
    if low is not None and high is not None:
        metadata["range"] = (low, high)
    return dataclasses.field(default=default, metadata=metadata)


def check_ranges(config: Any) -> None:
    """Raise ValueError when a field leaves what its `setting` allows; for `__post_init__`."""
    for field in dataclasses.fields(config):
        choices, value = field.metadata.get("choices", ()), getattr(config, field.name)
        if choices and value not in choices:
            raise ValueError(f"{field.name}='{value}' must be one of {', '.join(choices)}")
        if "range" in field.metadata:
            require_range(field.name, getattr(config, field.name), *field.metadata["range"])


def declare(node: Any, kind: type[Config]) -> Config:
    """Declare one read-only parameter per field of `kind` and return their values, checked.

    Raises:
        ConfigError: A value of a wrong type or outside its range; begins with the node's name.
    """
    values: dict[str, Any] = {}
    for field in dataclasses.fields(kind):  # type: ignore[arg-type]
        default = field.default
        default = str(default) if isinstance(default, Path) else default
        default = list(default) if isinstance(default, tuple) else default
        parameter = node.declare_parameter(field.name, default, _descriptor(field))
        value = parameter.value
        values[field.name] = tuple(value) if isinstance(value, list) else value
    return build(kind, values, node.get_name())


def _descriptor(field: "dataclasses.Field[Any]") -> Any:
    descriptor = ParameterDescriptor()
    descriptor.description = str(field.metadata.get("description", ""))
    descriptor.read_only = True
    if field.metadata.get("choices"):
        descriptor.additional_constraints = "one of " + ", ".join(field.metadata["choices"])
    if "range" in field.metadata:
        low, high = field.metadata["range"]
        if isinstance(field.default, int):
            limits = IntegerRange(from_value=int(low), to_value=int(high), step=0)
            descriptor.integer_range = [limits]
        else:
            limits = FloatingPointRange(from_value=float(low), to_value=float(high), step=0.0)
            descriptor.floating_point_range = [limits]
    return descriptor


def arguments(values: Mapping[str, Any]) -> list[str]:
    """Return `-p name:=value` arguments of a command line for parameter values."""
    flags: list[str] = []
    for name, value in values.items():
        text = str(value).lower() if isinstance(value, bool) else _literal(value)
        flags += ["-p", f"{name}:={text}"]
    return flags


def _literal(value: Any) -> str:
    """YAML for a parameter; text is quoted, so that `off` or `1` stay text."""
    if isinstance(value, str | Path):
        return "'" + str(value).replace("'", "''") + "'"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_literal(item) for item in value) + "]"
    return str(value)
