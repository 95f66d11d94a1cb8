"""The simulated robot behind its guard, in one process: what demonstrators and trials drive."""

from collections.abc import Callable

import numpy as np

from robot_agent.core import wx250s
from robot_agent.core.bridge_action import bridge_state
from robot_agent.core.types import FloatArray, Observation, SafeAction
from robot_agent.guard.session import TICK_NS, GuardSession
from robot_agent.guard.state import Measured
from robot_agent.sim.cells import cell_named
from robot_agent.sim.scenes import Scene
from robot_agent.sim.world import SimWorld


class SimRobot:
    """A `SimWorld` whose only road to the motors is the guard's pure function."""

    def __init__(self, scene: Scene) -> None:
        """Build the world; call `reset` before each episode."""
        self.world = SimWorld(scene)
        self.guard = GuardSession(cell_named(scene.cell).guard)
        self._now_ns = 0
        self.on_tick: Callable[[SafeAction], None] | None = None
        """Told of every command after its 20 ms."""

    @property
    def measured(self) -> Measured:
        """Joint states of this moment."""
        return Measured(
            joints_rad=self.world.joints_rad, finger_m=self.world.finger_m, stamp_ns=self._now_ns
        )

    def reset(self, seed: int, task: str = "", scene: Scene | None = None) -> None:
        """Start an episode at the start state of `seed`, holding."""
        if scene is not None:
            if scene.cell != self.world.scene.cell:
                self.guard = GuardSession(cell_named(scene.cell).guard)
            self.world.scene = scene
        self.world.reset(seed, task)
        self._now_ns += TICK_NS
        self.guard.reset(self.measured)

    def execute(self, action: FloatArray, version: str = "") -> FloatArray:
        """Run one 5 Hz action through the guard; return what was sent (7,)."""
        self._now_ns = self.guard.execute(
            action, self._now_ns, self._move, weights_version=version
        )
        return np.array(self.guard.state.sent)

    def hold(self) -> None:
        """Let 200 ms pass in which nothing is proposed."""
        self._now_ns = self.guard.hold(self._now_ns, self._move)

    def correct(self, action: FloatArray) -> FloatArray:
        """Run one 5 Hz action of an operator through the guard; return what was sent (7,)."""
        self._now_ns = self.guard.correct(action, self._now_ns, self._move)
        return np.array(self.guard.state.sent)

    def _move(self, command: SafeAction) -> Measured:
        self.world.tick(command.joints_rad, command.gripper_pwm)
        if self.on_tick is not None:
            self.on_tick(command)
        return Measured(
            joints_rad=self.world.joints_rad,
            finger_m=self.world.finger_m,
            stamp_ns=self._now_ns + self.world_ticks_ns(),
        )

    def world_ticks_ns(self) -> int:
        """Return the simulated time since the last whole step."""
        return TICK_NS * (self.world.ticks % 10 or 10)

    def observe(self) -> Observation:
        """Return the model-sized picture with joints and opening."""
        return self.world.observe()

    def state(self) -> FloatArray:
        """Return Bridge's state (7,)."""
        opening = wx250s.opening_from_finger(self.world.finger_m)
        return bridge_state(self.world.joints_rad, opening)
