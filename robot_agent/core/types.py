"""The data that flows through the loops; every array is checked once, where it enters."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_agent.core.errors import InputError

FloatArray = NDArray[np.float64]
ImageArray = NDArray[np.uint8]

ACTION_DIM = 7
"""Bridge action `[dx dy dz droll dpitch dyaw gripper]`: metres, radians, base axes, 1 = open."""
NUM_JOINTS = 6
CONTROL_HZ = 5.0
"""Rate at which actions are executed; the published Bridge rate."""


def require_array(
    name: str,
    value: Any,
    shape: tuple[int | None, ...],
    dtype: type[np.generic] = np.float64,
    *,
    finite: bool = True,
) -> NDArray[Any]:
    """Return `value` as an array of `dtype` after checking its sizes; `None` admits any size.

    Integer arrays are never converted from floats and float arrays must be finite unless told.

    Raises:
        InputError: The shape or type differs, or a number is not finite; names expected and got.
    """
    array = np.asarray(value)
    wanted = ", ".join("any" if size is None else str(size) for size in shape)
    kind_fits = np.issubdtype(array.dtype, np.number) and (
        array.dtype == dtype or np.issubdtype(dtype, np.floating)
    )
    shape_fits = array.ndim == len(shape) and all(
        size is None or size == got for size, got in zip(shape, array.shape, strict=True)
    )
    if not (kind_fits and shape_fits):
        raise InputError(
            f"{name}: expected {np.dtype(dtype)}({wanted}), got {array.dtype}{array.shape}. "
            f"Check what produces it."
        )
    array = array.astype(dtype, copy=False)
    if finite and np.issubdtype(dtype, np.floating) and not np.isfinite(array).all():
        raise InputError(f"{name}: holds a number that is not finite. Check what produces it.")
    return array


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a camera."""

    image_hwc: ImageArray
    """RGB (H, W, 3) uint8."""
    stamp_ns: int
    """Monotonic capture time."""
    number: int
    """Counted by the camera; a gap is a lost frame."""
    depth_mm: NDArray[np.uint16] | None = None
    """Distance (H, W) [mm] aligned to the picture, 0 where unknown; None without depth."""
    is_stamp_replaced: bool = False
    """Whether the camera's own stamp was of no use and the time of arrival stands for it."""


@dataclass(frozen=True, eq=False)
class Observation:
    """What the robot saw and felt at one moment."""

    image_hwc: ImageArray
    """RGB (H, W, 3) uint8."""
    joints_rad: FloatArray
    """Measured joints (6,) [rad], paired with the image by stamp."""
    gripper: float
    """Measured opening, 0 closed to 1 open."""
    stamp_ns: int
    """Monotonic capture time of the image."""
    age_s: float = 0.0
    """Age of the image when the observation was handed out."""
    views: Mapping[str, ImageArray] = field(default_factory=dict)
    """RGB pictures (H, W, 3) uint8 of further cameras, by name."""

    def view(self, name: str) -> ImageArray:
        """Return the picture of a further camera; InputError lists those that there are."""
        if name not in self.views:
            raise InputError(
                f"observation: has no picture of camera '{name}', only of: "
                f"{', '.join(['color', *self.views])}. Is that camera running?"
            )
        return self.views[name]

    def __post_init__(self) -> None:
        """Check sizes and finiteness once, at the border."""
        for name, picture in self.views.items():
            require_array(f"observation.views[{name}]", picture, (None, None, 3), np.uint8)
        require_array("observation.image_hwc", self.image_hwc, (None, None, 3), np.uint8)
        require_array("observation.joints_rad", self.joints_rad, (NUM_JOINTS,))
        if not np.isfinite(self.gripper):
            raise InputError(
                f"observation.gripper={self.gripper} is not finite. Check the driver."
            )


@dataclass(frozen=True, eq=False)
class Chunk:
    """The actions of one inference."""

    actions: FloatArray
    """Bridge actions (K, 7); not yet checked by the guard."""
    weights_version: str
    chunk_id: int
    observation_stamp_ns: int


@dataclass(frozen=True, eq=False)
class Proposal:
    """One action that the policy or an operator wants; may hold anything until the guard looks."""

    action: Any
    """Bridge action (7,), unchecked: shape, type and finiteness are the guard's to judge."""
    weights_version: str
    chunk_id: int
    index: int
    """Position in its chunk."""
    sequence: int
    """Strictly increasing over the life of the proposer."""
    stamp_ns: int
    """Monotonic stamp of the observation that it answers."""
    deadline_ns: int
    """Monotonic time until which it may be started."""
    speed: float = 1.0
    """Share of the guard's ordinary speed limits, (0, 1]; never loosens one."""


@dataclass(frozen=True, eq=False)
class SafeAction:
    """A command inside every limit. Only `robot_agent.guard` may construct one."""

    joints_rad: FloatArray
    """Joint targets (6,) [rad]."""
    gripper_pwm: float
    """PWM for the gripper motor, -350 to 350; positive opens."""
    tool_target: FloatArray
    """Commanded tool pose in base_link, homogeneous (4, 4)."""
    gripper_target: float
    """Commanded opening, 0 to 1."""
    weights_version: str
    sequence: int
    changes: tuple[str, ...] = ()
    """In words, what differs from the proposal and why."""


@dataclass(frozen=True, eq=False)
class Step:
    """One executed control step of an episode: action t leads from image t to image t+1."""

    observation: Observation
    proposed: FloatArray
    """What the controller wanted (7,)."""
    sent: FloatArray
    """The Bridge action that the guard let through (7,); zeros and the held gripper on hold."""
    weights_version: str
    controller: str
    """policy, operator or none."""
    changes: tuple[str, ...] = ()
    accepted_ns: int = 0
    """Monotonic time at which the guard let it through; 0 where nobody measured it."""


@dataclass(frozen=True, eq=False)
class Episode:
    """One real (or simulated) run of a task, T steps and T + 1 images."""

    episode_id: str
    instruction: str
    images: ImageArray
    """(T + 1, H, W, 3) uint8; image t is what action t was chosen from."""
    actions: FloatArray
    """Sent Bridge actions (T, 7)."""
    proposed: FloatArray
    """Proposed Bridge actions (T, 7)."""
    joints_rad: FloatArray
    """Measured joints (T + 1, 6)."""
    gripper: FloatArray
    """Measured opening (T + 1,)."""
    weights_versions: tuple[str, ...]
    """Version of the weights behind each step (T,)."""
    controllers: tuple[str, ...]
    """Who was in control at each step (T,)."""
    outcome: str = "unknown"
    """success, failure, abort or unknown."""
    judged_by: str = ""
    scene: str = ""
    stamps_ns: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """Monotonic stamps of the images (T + 1,), or empty when the source had none."""

    @property
    def num_steps(self) -> int:
        """Number of actions, T."""
        return len(self.actions)

    def __post_init__(self) -> None:
        """Check that pictures, actions and names have matching lengths."""
        steps = len(self.actions)
        lengths = {
            "images": (len(self.images), steps + 1),
            "proposed": (len(self.proposed), steps),
            "joints_rad": (len(self.joints_rad), steps + 1),
            "gripper": (len(self.gripper), steps + 1),
            "weights_versions": (len(self.weights_versions), steps),
            "controllers": (len(self.controllers), steps),
        }
        for name, (got, wanted) in lengths.items():
            if got != wanted:
                raise InputError(
                    f"episode {self.episode_id}: {name} has {got} entries, must be {wanted} "
                    f"for {steps} actions. Re-record or drop this episode."
                )
