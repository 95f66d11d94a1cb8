"""Where a network is trained: the processor or a GPU, and whether it has the memory."""

import torch

from robot_agent.core.errors import ConfigError
from robot_agent.models.memory import require_memory


def device_of(name: str) -> torch.device:
    """Return the device called `cpu`, `cuda` or `cuda:N`.

    Raises:
        ConfigError: The name is no such device, or torch sees no such GPU.
    """
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not (kind == "cuda" and number.isdecimal())):
        raise ConfigError(f"device '{name}': must be cpu, cuda or cuda:N. Choose one of them.")
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if kind == "cuda" and int(number or 0) >= there:
        raise ConfigError(
            f"device {name}: torch {torch.__version__} sees {there} GPUs, must see at least "
            f"{int(number or 0) + 1}. Use --device cpu, or install a GPU build of torch and its "
            f"driver: robot-agent doctor"
        )
    return torch.device(name)


def require_device_memory(device: torch.device, needed_bytes: int, what: str) -> None:
    """Raise ConfigError when `device` has less memory free than `what` needs, before it starts."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
    require_memory(needed_bytes, f"{what} on {device}", free)
