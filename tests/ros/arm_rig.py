"""A guard before an emulated driver and a stand-in for the policy, as real processes."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.qos import QoSProfile
from robot_agent_interfaces.msg import ActionProposal, PolicyStatus

from robot_agent.core.clock import SystemClock
from robot_agent.ros import topics
from robot_agent.ros.client import AgentClient
from robot_agent.ros.description import AgentOptions, NodeProcess
from robot_agent.ros.up import Agent
from tests.ros.running import try_reset, until

HOME_M = (0.26, 0.0, 0.2)
"""Where the tool is sent before each failure: the middle of the box."""
COMPONENTS = (
    "bus",
    "driver",
    "commands",
    "supply",
    "object",
    "waist",
    "shoulder_shadow",
    "elbow",
    "forearm_roll",
    "wrist_angle",
    "wrist_rotate",
    "gripper",
)
"""Everything that the tests break."""
UP = [0.015, 0.0, 0.02, 0.0, 0.0, 0.0, 1.0]
STILL = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]


def nodes(folder: Path, **guard: Any) -> list[NodeProcess]:
    """Return the emulator and the guard, with more parameters for the guard."""
    parameters = {"latch_file": str(folder / "latch.json"), "driver": "xs_sdk", **guard}
    return [
        NodeProcess(name="xs_emulator"),
        NodeProcess(name="arm_guard", parameters=parameters, is_lifecycle=True),
    ]


def rig(folder: Path, domain_id: int) -> Agent:
    options = AgentOptions(folder=folder, is_simulated=False)
    return Agent(options, nodes(folder), domain_id=domain_id)


class Driving:
    """Proposes at 5 Hz and shows signs of life at 50 Hz, as the policy node does."""

    def __init__(self, client: AgentClient, action: list[float]) -> None:
        self.action, self._client = action, client
        self._node, self._clock = client.node, SystemClock()
        depth = QoSProfile(depth=1)
        self._proposals = self._node.create_publisher(ActionProposal, topics.PROPOSAL, depth)
        self._status = self._node.create_publisher(
            PolicyStatus, topics.POLICY_STATUS, topics.STATUS
        )
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Driving":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(2.0)

    def to(self, place_m: tuple[float, float, float]) -> None:
        """Lead the tool to `place_m`, 12 mm a step, and stay."""
        goal = np.array(place_m)

        def is_there() -> bool:
            state = self._client.guard_state
            gap = goal - np.array(state.tool_target_m)
            far_m = float(np.linalg.norm(gap))
            step = gap * min(1.0, 0.012 / max(far_m, 1e-9))
            self.action = [*step.tolist(), 0.0, 0.0, 0.0, self.action[6]]
            return far_m < 0.02

        until(is_there, 12.0, f"the tool at {place_m}")
        self.action = [*STILL[:6], self.action[6]]

    def _run(self) -> None:
        tick = 0
        while not self._over.wait(0.02):
            tick += 1
            now_ns = self._clock.now_ns()
            self._status.publish(PolicyStatus(stamp_ns=now_ns))
            if tick % 10 == 0:
                message = ActionProposal(action=self.action, weights_version="rig")
                message.sequence, message.stamp_ns = now_ns // 1_000_000, now_ns
                message.deadline_ns = now_ns + 200_000_000
                self._proposals.publish(message)


def recover(client: AgentClient, components: tuple[str, ...]) -> None:
    """Take the faults away and reset the latch, as a person would who looked at the arm."""
    for component in components:
        client.calls.call("sim/inject", component=component, kind="ok")
    until(lambda: _is_reset(client), 8.0, "reset")


def _is_reset(client: AgentClient) -> bool:
    state = client.guard_state
    if state is not None and not state.latched:
        return True
    for cause in list(state.causes) if state is not None else []:
        try_reset(client, cause)
    client.calls.forget("guard/state")
    return not client.calls.wait_for("guard/state", lambda state: True, 2.0).latched
