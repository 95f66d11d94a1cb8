"""What goes into the guard at every tick, and what it remembers from one tick to the next."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from robot_agent.core import wx250s
from robot_agent.core.types import ACTION_DIM, NUM_JOINTS, FloatArray, Proposal, require_array
from robot_agent.guard.grip import Grip
from robot_agent.guard.health import Health
from robot_agent.guard.retreat import Retreat
from robot_agent.guard.strain import Strain

__all__ = [
    "Controller",
    "Counters",
    "GuardInputs",
    "GuardState",
    "Measured",
    "Mode",
    "OperatorInput",
    "ResetRequest",
    "clip_to_hard_limits",
    "evolve",
    "initial_state",
]

if TYPE_CHECKING:
    from dataclasses import replace as evolve
else:
    State = TypeVar("State")

    def evolve(state: State, **changes: Any) -> State:
        """Return a copy with changed fields: `dataclasses.replace` at a sixth of its price.

        For GuardState and Counters, which check nothing when they are made. The names of the
        fields are checked by mypy, which is shown the original.
        """
        made = object.__new__(type(state))
        made.__dict__.update(state.__dict__)
        made.__dict__.update(changes)
        return made


Mode = Literal["idle", "active", "hold", "stopped"]
Controller = Literal["policy", "operator", "none"]


@dataclass(frozen=True, eq=False)
class Measured:
    """The newest joint states."""

    joints_rad: FloatArray
    """Joints (6,) [rad]."""
    finger_m: float
    """Position of the left finger."""
    stamp_ns: int
    """Monotonic time at which they were received."""
    velocity_radps: FloatArray | None = None
    effort: FloatArray | None = None
    """Efforts (7,) of joints and gripper as the driver tells them [mA]; None where it does not."""


@dataclass(frozen=True, eq=False)
class OperatorInput:
    """The newest command of the person at the robot."""

    delta: FloatArray
    """Wanted motion per 0.2 s (6,): metres and radians in base axes, as in a Bridge action."""
    gripper: float | None
    """Wanted opening, 0 to 1; None keeps it."""
    deadman: bool
    """True while the person holds the enabling switch."""
    stamp_ns: int
    """Monotonic time at which it was received."""
    source: str = "operator"
    rivals: tuple[str, ...] = ()
    """Other devices whose deadman is held at the same time."""


@dataclass(frozen=True)
class ResetRequest:
    """A person's wish to end one latched stop."""

    operator: str
    """Who looked at the arm; must not be empty."""
    acknowledge: str
    """The latched cause that the person saw; one cause per request, there is no `all`."""


@dataclass(frozen=True, eq=False)
class GuardInputs:
    """Everything that the guard sees in one tick."""

    measured: Measured | None
    proposal: Proposal | None = None
    """The newest proposal; the same object may be shown again and counts once."""
    operator: OperatorInput | None = None
    policy_alive_ns: int | None = None
    """Monotonic time of the inference loop's last heartbeat."""
    stop: bool = False
    reset: ResetRequest | None = None
    num_command_publishers: int = 1
    health: Health | None = None
    """Newest poll of the motors; None where nobody polls."""


@dataclass(frozen=True)
class Counters:
    """How often what happened since the guard started."""

    ticks: int = 0
    accepted: int = 0
    rejected: int = 0
    """Proposals that were refused for what they hold, or could not be carried out."""
    dropped_late: int = 0
    dropped_duplicate: int = 0
    dropped_held: int = 0
    """Proposals that came while the arm held, was stopped or was in the operator's hand."""
    held_ticks: int = 0
    stops: int = 0
    resets: int = 0
    refused_resets: int = 0


def _zero_action() -> FloatArray:
    return np.zeros(ACTION_DIM)


@dataclass(frozen=True, eq=False)
class GuardState:
    """The guard's memory; made by `initial_state` and `step` only."""

    measured: Measured
    """Last good joint states."""
    T_target: FloatArray
    """Commanded tool pose (4, 4) in base_link."""
    joint_target: FloatArray
    """Commanded joints (6,) [rad]."""
    gripper_target: float
    """Commanded opening, 0 to 1."""
    now_ns: int = 0
    """Time of the last tick; time never goes back."""
    mode: Mode = "idle"
    controller: Controller = "none"
    latched: tuple[str, ...] = ()
    """Causes of the protective stop, in the order in which they came."""
    holds: tuple[tuple[str, int], ...] = ()
    """Causes of the hold, each with the time at which it was last present."""
    is_relaxed: bool = True
    """The target is a measured pose; the next step starts from the pose measured then."""
    last_sequence: int = -1
    last_version: str = ""
    last_seen: Proposal | None = None
    """The newest proposal that was looked at."""
    tried_ns: int = -(10**12)
    """Time of the last step that was tried, accepted or not."""
    expires_ns: int = 0
    """Time until which the last accepted step is in force."""
    resume_after_ns: int = -1
    """Proposals that answer an observation up to this time are dropped."""
    operator_stamp_ns: int = -1
    """Stamp of the last operator command that was carried out."""
    num_zero_frames: int = 0
    seen_stamp_ns: int = -1
    """Stamp of the newest joint states, good or not."""
    non_finite_ns: tuple[int, ...] = ()
    huge_ns: tuple[int, ...] = ()
    strain: Strain = field(default_factory=Strain)
    grip: Grip = field(default_factory=Grip)
    retreat: Retreat | None = None
    """The way back from the contact that stopped the arm; None when there is none."""
    notes: tuple[str, ...] = ()
    """Causes of kind `note` that are present: told, and otherwise without effect on the mode."""
    accepted_this_tick: bool = False
    proposed: FloatArray = field(default_factory=_zero_action)
    """The action that was last looked at (7,); zeros when it was not seven numbers."""
    sent: FloatArray = field(default_factory=_zero_action)
    """The Bridge action let through last (7,); zeros and the held gripper while holding."""
    changes: tuple[str, ...] = ()
    """In words, what differs from the proposal and why; of the last decision."""
    counters: Counters = field(default_factory=Counters)

    @property
    def hold_causes(self) -> tuple[str, ...]:
        """Names of the causes that hold the arm."""
        return tuple(name for name, _ in self.holds)


def clip_to_hard_limits(joints_rad: FloatArray) -> FloatArray:
    """Return joints (6,) [rad] inside the limits of the arm."""
    return np.clip(joints_rad, wx250s.JOINT_LOWER_RAD, wx250s.JOINT_UPPER_RAD)


def initial_state(
    measured: Measured, now_ns: int | None = None, latched: tuple[str, ...] = ()
) -> GuardState:
    """Return a guard that is armed at the measured pose and holds there.

    Args:
        measured: First joint states; must be finite.
        now_ns: Monotonic time; the stamp of `measured` when None.
        latched: Causes of an earlier run (`latch.load`); the guard comes up stopped on them.

    Raises:
        InputError: The joint states are not six finite numbers and a finite finger position.
    """
    joints_rad = require_array("measured.joints_rad", measured.joints_rad, (NUM_JOINTS,))
    require_array("measured.finger_m", measured.finger_m, ())
    target = clip_to_hard_limits(joints_rad)
    opening = min(max(wx250s.opening_from_finger(float(measured.finger_m)), 0.0), 1.0)
    held = _zero_action()
    held[6] = opening
    return GuardState(
        measured=measured,
        T_target=wx250s.forward(target),
        joint_target=target,
        gripper_target=opening,
        now_ns=measured.stamp_ns if now_ns is None else now_ns,
        mode="stopped" if latched else "idle",
        latched=latched,
        sent=held,
    )
