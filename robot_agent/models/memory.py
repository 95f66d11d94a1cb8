"""How much memory a model needs, asked before it starts."""

from pathlib import Path

from robot_agent.core.errors import ConfigError

_MEMINFO = Path("/proc/meminfo")


def available_bytes(meminfo: Path = _MEMINFO) -> int | None:
    """Return the memory that can be had without swapping; None where the system does not tell."""
    try:
        lines = meminfo.read_text("ascii").splitlines()
    except OSError:
        return None
    values = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return 1024 * int(values[0]) if values else None


def require_memory(needed_bytes: int, what: str, available: int | None = None) -> None:
    """Raise ConfigError when less memory is free than `what` needs; nothing was started then."""
    free = available_bytes() if available is None else available
    if free is not None and free < needed_bytes:
        raise ConfigError(
            f"{what}: needs {needed_bytes / 1e9:.2f} GB of memory, {free / 1e9:.2f} GB are free. "
            f"Close other programs, take a smaller batch, or bfloat16 instead of float32."
        )
