"""What a policy needs of a robot, and each thing in which the two differ."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from robot_agent.core.config import require_range
from robot_agent.core.errors import InputError
from robot_agent.core.types import CONTROL_HZ

BRIDGE_ACTIONS = "bridge-7d-5hz-1"
"""Action space of this project: seven Bridge numbers, executed at 5 Hz, version 1."""
COLOR_CAMERA = "color"
"""Name of the camera that every observation begins with."""
BRIDGE_STATE = "bridge_state"
"""Tool position, rotation and opening (7,), as `core.bridge_action.bridge_state` gives them."""


@dataclass(frozen=True, kw_only=True)
class PolicyNeeds:
    """What weights were trained with; a robot that lacks one of these must not run them."""

    cameras: tuple[str, ...] = (COLOR_CAMERA,)
    """Names of the pictures that are looked at."""
    image_hw_px: tuple[int, int] | None = None
    """Exact height and width of every picture, or any when the policy resizes them itself."""
    min_image_px: int = 0
    """Shortest side that still holds what the policy looks at."""
    history: int = 1
    """Observations of one inference."""
    state: str = ""
    """Name of the measured state, or empty when only pictures are looked at."""
    statistics: str = "bridge_orig"
    """Name of the statistics that give actions their size."""
    control_hz: float = CONTROL_HZ
    """Rate that the actions were recorded at."""
    action_space: str = BRIDGE_ACTIONS
    chunk: int = 5
    """Actions of one inference."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require_range("min_image_px", self.min_image_px, 0, 4096, "px")
        require_range("history", self.history, 1, 64)
        require_range("control_hz", self.control_hz, 0.1, 1000.0, "Hz")
        require_range("chunk", self.chunk, 1, 100)


@dataclass(frozen=True, kw_only=True)
class RobotOffer:
    """What a robot provides."""

    cameras: Mapping[str, tuple[int, int]] = field(
        default_factory=lambda: {COLOR_CAMERA: (480, 640)}
    )
    """Name to height and width [px]."""
    history: int = 1
    states: tuple[str, ...] = (BRIDGE_STATE,)
    statistics: tuple[str, ...] = ("bridge_orig", "bridge_dataset")
    """Statistics that describe this arm's actions."""
    control_hz: float = CONTROL_HZ
    action_space: str = BRIDGE_ACTIONS
    max_chunk: int = 20
    """Longest chunk that is executed open loop: 4 s at 5 Hz."""


def differences(needs: PolicyNeeds, offer: RobotOffer) -> tuple[str, ...]:
    """Return each difference in words; empty when the robot provides all that is needed."""
    found = [_camera(name, needs, offer) for name in needs.cameras]
    pairs = (
        ("observations of history", needs.history, offer.history, needs.history <= offer.history),
        ("state", needs.state, _listed(offer.states), needs.state in ("", *offer.states)),
        (
            "statistics",
            needs.statistics,
            _listed(offer.statistics),
            needs.statistics in offer.statistics,
        ),
        (
            "control rate [Hz]",
            needs.control_hz,
            offer.control_hz,
            abs(needs.control_hz - offer.control_hz) < 1e-6,
        ),
        (
            "action space",
            needs.action_space,
            offer.action_space,
            needs.action_space == offer.action_space,
        ),
        ("actions of a chunk", needs.chunk, offer.max_chunk, needs.chunk <= offer.max_chunk),
    )
    found += [
        f"{what}: the policy needs {wanted}, the robot has {has}"
        for what, wanted, has, fits in pairs
        if not fits
    ]
    return tuple(line for line in found if line)


def require_fit(needs: PolicyNeeds, offer: RobotOffer, name: str) -> None:
    """Raise InputError that names every difference; to be asked before anything moves."""
    found = differences(needs, offer)
    if found:
        raise InputError(
            f"{name}: does not fit this robot: {'; '.join(found)}. "
            f"Choose other weights, or change the robot's settings."
        )


def _camera(name: str, needs: PolicyNeeds, offer: RobotOffer) -> str:
    size = offer.cameras.get(name)
    if size is None:
        return f"camera: the policy needs '{name}', the robot has {_listed(offer.cameras)}"
    if needs.image_hw_px is not None and tuple(size) != needs.image_hw_px:
        return f"picture of '{name}' [px]: the policy needs {needs.image_hw_px}, it is {size}"
    if min(size) < needs.min_image_px:
        return (
            f"picture of '{name}' [px]: the policy needs sides of {needs.min_image_px} or more, "
            f"it is {size}"
        )
    return ""


def _listed(names: Mapping[str, object] | tuple[str, ...]) -> str:
    return ", ".join(names) or "none"
