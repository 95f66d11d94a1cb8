"""What a person beside the arm must know of a running agent, at one moment."""

import math
from dataclasses import dataclass

SILENT_S = 1.0
"""A part that has said nothing for longer is called silent."""


@dataclass(frozen=True, kw_only=True)
class AgentView:
    """One look at guard, policy and camera; ages are infinite before the first word."""

    guard_age_s: float = math.inf
    mode: str = ""
    """idle, active, hold or stopped."""
    controller: str = ""
    """Who moves the arm: none, policy, or operator and the device."""
    is_latched: bool = False
    causes: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    """What the guard changed in the newest action, in words."""
    policy_age_s: float = math.inf
    policy_state: str = ""
    weights_version: str = ""
    stage: str = ""
    """What is being proven of the weights, in words."""
    speed: float = 1.0
    """Share of the ordinary speed limits at which the weights act."""
    inference_ms: float = 0.0
    camera_age_s: float = math.inf
    camera_hz: float = 0.0
    """Pictures per second over the last two seconds."""
    is_solved: bool | None = None
    """Whether the simulator calls the task solved now; None on a real arm."""

    @property
    def is_guard_silent(self) -> bool:
        """Whether nobody knows what the arm does."""
        return self.guard_age_s > SILENT_S
