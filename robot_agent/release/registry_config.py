"""How a release registry is kept: one file in its folder, so that every process obeys the same."""

from dataclasses import dataclass
from pathlib import Path

from robot_agent.core.config import load_config, require_range

CONFIG_FILE = "registry.yaml"
"""In the registry's folder; absent, the coded values hold."""


@dataclass(frozen=True, kw_only=True)
class RegistryConfig:
    """How much the registry keeps and how often it tries."""

    min_free_gb: float = 0.5
    """Free space that must remain after two copies of new weights [GB]."""
    keep: int = 3
    """Good releases that are kept besides the pinned ones."""
    max_unhealthy_boots: int = 3
    """Starts in a row without a healthy mark before the factory release takes over."""
    max_age_days: float = 30.0
    """Days after its signature at which a release expires: it is not taken in any more, and no
    candidate is promoted. What is GOOD by then stays, also as a way back."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require_range("min_free_gb", self.min_free_gb, 0.0, 1e6, "GB")
        require_range("keep", self.keep, 0, 1000)
        require_range("max_unhealthy_boots", self.max_unhealthy_boots, 1, 100)
        require_range("max_age_days", self.max_age_days, 0.01, 36_500.0, "days")


def config_of(folder: Path) -> RegistryConfig:
    """Return what the registry.yaml in `folder` says, over the coded values.

    Raises:
        ConfigError: An unknown key or a value out of its range.
    """
    file = folder / CONFIG_FILE
    return load_config(RegistryConfig, [file] if file.exists() else [])
