"""A guard and an arm on paper: time moves when told, the arm follows its targets or does not."""

from typing import Any

import numpy as np

from robot_agent.core import wx250s
from robot_agent.core.types import FloatArray, Proposal, SafeAction
from robot_agent.guard.guard import step
from robot_agent.guard.limits import GuardConfig
from robot_agent.guard.state import (
    GuardInputs,
    GuardState,
    Measured,
    OperatorInput,
    ResetRequest,
    initial_state,
)

MS = 1_000_000
TICK_NS = 20 * MS
START_NS = 1_000_000_000_000
WORK_RAD = wx250s.inverse(wx250s.pose_at(np.array([0.28, 0.0, 0.15])), wx250s.NEUTRAL_RAD)
"""A pose in the middle of the workspace, gripper down."""


def make_measured(joints_rad: Any, stamp_ns: int, finger_m: Any = 0.03) -> Measured:
    return Measured(joints_rad=joints_rad, finger_m=finger_m, stamp_ns=stamp_ns)


def make_action(*first: float, gripper: float = 1.0) -> FloatArray:
    action = np.zeros(7)
    action[: len(first)] = first
    action[6] = gripper
    return action


class PaperArm:
    """Ticks the guard and moves the arm by `follow` of the way to its target in each tick."""

    def __init__(self, config: GuardConfig | None = None, joints_rad: Any = None) -> None:
        self.config = config or GuardConfig()
        self.joints_rad = np.array(WORK_RAD if joints_rad is None else joints_rad)
        self.now_ns = START_NS
        self.state: GuardState = initial_state(make_measured(self.joints_rad, self.now_ns))
        self.follow = 0.3
        self.sequence = 0
        self.heartbeat = True
        self.command: SafeAction | None = None
        self.commands: list[SafeAction | None] = []

    def propose(self, action: Any, *, life_ms: int = 200, **changes: Any) -> Proposal:
        self.sequence += 1
        values: dict[str, Any] = {
            "action": action,
            "weights_version": "v1",
            "chunk_id": 0,
            "index": 0,
            "sequence": self.sequence,
            "stamp_ns": self.now_ns + TICK_NS,
            "deadline_ns": self.now_ns + TICK_NS + life_ms * MS,
        }
        return Proposal(**{**values, **changes})

    def operate(
        self, *delta: float, gripper: float | None = None, **changes: Any
    ) -> OperatorInput:
        values: dict[str, Any] = {
            "delta": make_action(*delta)[:6],
            "gripper": gripper,
            "deadman": True,
            "stamp_ns": self.now_ns + TICK_NS,
            "source": "joystick",
        }
        return OperatorInput(**{**values, **changes})

    def tick(self, proposal: Any = None, **inputs: Any) -> GuardState:
        """Let 20 ms pass; the driver reports unless `measured` is given."""
        self.now_ns += TICK_NS
        inputs.setdefault("measured", make_measured(self.joints_rad.copy(), self.now_ns))
        inputs.setdefault("policy_alive_ns", self.now_ns if self.heartbeat else None)
        given = GuardInputs(proposal=proposal, **inputs)
        self.command, self.state = step(self.config, self.state, self.now_ns, given)
        self.commands.append(self.command)
        if self.command is not None:
            self.joints_rad += self.follow * (self.command.joints_rad - self.joints_rad)
        return self.state

    def ticks(self, count: int, proposal: Any = None, **inputs: Any) -> GuardState:
        for _ in range(count):
            self.tick(proposal, **inputs)
        return self.state

    def run(self, action: Any, count: int = 10) -> GuardState:
        """Propose one action and let its 0.2 s pass."""
        self.tick(self.propose(action))
        return self.ticks(count - 1)

    def reset(self, cause: str, operator: str = "Ada", **inputs: Any) -> GuardState:
        return self.tick(reset=ResetRequest(operator, cause), **inputs)

    @property
    def tool_m(self) -> FloatArray:
        return wx250s.forward(self.joints_rad)[:3, 3]
