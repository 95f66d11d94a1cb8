"""What a candidate must show on the road to GOOD, who may let it stay, and where that is kept."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from robot_agent.core.protocols import Policy
from robot_agent.guard.reactions import REACTIONS
from robot_agent.release.gate import CheckResult
from robot_agent.release.probation import ProbationConfig
from robot_agent.release.shadow import ShadowConfig
from robot_agent.release.states import State

TAKEOVER = "takeover"
"""What is said when the operator takes the arm out of the policy's hand."""
_FAULTS = frozenset({"non_finite", "malformed", "huge_action"})
"""Holds that only a policy can cause."""


def is_safety_event(cause: str) -> bool:
    """Return whether weights on probation go for this: a takeover, any stop, a fault of theirs."""
    is_stop = cause in REACTIONS and REACTIONS[cause].kind == "stop"
    return is_stop or cause == TAKEOVER or cause in _FAULTS


def spell(check: CheckResult) -> str:
    """Return what a check found, in words."""
    return f"{check.name} is {check.value}, must be {check.limit}"


class Stage(StrEnum):
    """How far a candidate is."""

    NONE = ""
    """Nothing is being proven."""
    SHADOW = "shadow"
    """It sees what the active weights see."""
    ARMED = "armed"
    """It waits for the next episode."""
    PROBATION = "probation"
    """Episodes come in pairs, one with it and one with the previous weights."""
    PROVEN = "proven"
    """Not worse; a person must let it stay."""


@dataclass(frozen=True, kw_only=True)
class PromotionConfig:
    """What a candidate must show, and who lets it stay."""

    shadow: ShadowConfig = field(default_factory=ShadowConfig)
    probation: ProbationConfig = field(default_factory=ProbationConfig)
    approved_by: str = ""
    """Who lets weights stay that are not worse, for the journal; empty asks a person each time."""
    excused: tuple[str, ...] = ()
    """Causes of a stop that no weights can be blamed for; real robots excuse none."""


SIMULATED = PromotionConfig(
    shadow=ShadowConfig(
        min_observations=4,
        max_divergence=1.0,
        max_roughness_ratio=4.0,
        max_limit_excess=0.2,
        max_latency_ratio=20.0,
    ),
    probation=ProbationConfig(
        false_roll_back=0.2, miss=0.2, max_pairs=3, max_latency_ratio=20.0, speed=1.0
    ),
    approved_by="simulation",
    excused=("driver_silent",),
)
"""For a simulated arm, where nothing breaks: the same road at a length that fits a demonstration.
Three pairs, all lost, roll back; a busy machine makes times and the driver's silence noisy."""


@dataclass(frozen=True)
class Progress:
    """How far a candidate is, as one consistent picture."""

    stage: Stage = Stage.NONE
    version: str = ""
    """Version that is being proven; empty when none is."""
    words: str = ""
    """For a person; what became of the last candidate when there is none."""
    repeats_start: bool = False
    """The next episode is the second of a pair, and should begin like the last."""
    speed: float = 1.0
    """Share of the ordinary speed limits at which weights act: both of a pair alike."""


class Weights(Protocol):
    """Versions by name. Methods may take seconds; none is called in the control loop."""

    def boot(self) -> Policy:
        """Return the policy to start with."""

    def state(self, version: str) -> State | None:
        """Return the state of `version`; None when it is unknown."""

    def load(self, version: str) -> Policy:
        """Return a verified policy that may be promoted; SwapRefusedError says why not."""

    def activate(self, version: str, reason: str) -> None:
        """Record that `version` acts from the next boundary on; a candidate is on probation."""

    def prove(self, version: str, reason: str) -> None:
        """Record that `version` has passed its probation."""

    def reject(self, version: str, reason: str) -> None:
        """Record that a candidate failed before it acted."""

    def roll_back(self, reason: str, leaving: str = "") -> str:
        """Record the return to the previous version and name what is current then.

        With `leaving`, nothing is recorded unless that version is current.
        """

    def suspend(self, reason: str) -> str:
        """End a probation in good order, to be begun anew; name what is current then."""

    def note(self, version: str, what: str, values: Mapping[str, Any]) -> None:
        """Record evidence about `version`."""

    def require_waiver(self, version: str, key_id: str, signature: bytes) -> str:
        """Return who lets `version` act at once; SwapRefusedError when nobody may."""

    def list(self) -> list[tuple[str, str]]:
        """Return every version with its state, oldest first."""
