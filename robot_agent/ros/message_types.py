"""The class of a message by its name; rosidl_runtime_py does the same, where it is installed."""

import importlib
from typing import Any

from robot_agent.core.errors import InputError


def message_type(name: str) -> Any:
    """Return the class of for example `sensor_msgs/msg/Image`; InputError when there is none."""
    package, _, kind = name.partition("/msg/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), kind)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"message type '{name}': is not installed. Source the workspace that has it."
        ) from error
