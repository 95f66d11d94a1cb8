# ruff: noqa: N803, N806 - T_base_camera and its kin keep the names of the formulas
"""The simulated arm and camera as a `Stage`, with the truth that a calibration must find."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from robot_agent.calibrate.board import BoardConfig
from robot_agent.calibrate.intrinsics import Intrinsics
from robot_agent.calibrate.latency import Recorded
from robot_agent.calibrate.stage import View, next_target
from robot_agent.core import wx250s
from robot_agent.core.errors import ArmFaultError
from robot_agent.core.geometry import pose, rotation_from_vector
from robot_agent.core.types import FloatArray, ImageArray, SafeAction
from robot_agent.guard.screen import action_between
from robot_agent.sim import target
from robot_agent.sim.household import scene_named
from robot_agent.sim.mjcf import CAMERA_CENTER_PX, CAMERA_FOCAL_PX, CAMERA_SIZE_PX
from robot_agent.sim.robot import SimRobot
from robot_agent.sim.world import TICK_S, SimWorld

_MAX_STEPS = 60
_REST_STEPS = 5
"""Steps of 0.2 s after which the servos have settled."""
_REACHED_M, _REACHED_RAD = 1e-3, 5e-3


class SimStage:
    """The simulated arm with the board in its gripper, moved through the guard's pure function."""

    def __init__(self, scene: str = "calibration", seed: int = 0) -> None:
        """Build the world; `calibration@real` plays the real robot."""
        self.robot = SimRobot(scene_named(scene))
        self.robot.reset(seed)

    @property
    def world(self) -> SimWorld:
        """The simulated world."""
        return self.robot.world

    @property
    def board(self) -> BoardConfig:
        """The board in the gripper."""
        return target.BOARD

    def move_to(self, T_base_tool: FloatArray) -> None:
        """Move in steps of 0.2 s through the guard, then wait for rest."""
        for _ in range(_MAX_STEPS):
            if self._is_there(T_base_tool):
                self._rest()
                return
            self._step(next_target(self._T_target(), T_base_tool))
        raise ArmFaultError(
            f"simulated arm: a pose was not reached in {_MAX_STEPS} steps; the guard says: "
            f"{'; '.join(self.robot.guard.state.changes) or 'nothing'}. Choose another pose."
        )

    def look(self) -> View:
        """Return the picture of this moment with the measured joints."""
        return View(self.world.render(), self.world.joints_rad)

    def pose(self) -> tuple[FloatArray, float]:
        """Return the measured tool pose (4, 4) and the gripper's opening."""
        opening = wx250s.opening_from_finger(self.world.finger_m)
        return wx250s.forward(self.world.joints_rad), opening

    def act(self, action: FloatArray) -> None:
        """Carry out one Bridge action (7,) through the guard."""
        self.robot.execute(action)

    def settle(self) -> None:
        """Wait until the arm rests."""
        self._rest()

    def record(self, actions: Sequence[FloatArray], camera_delay_s: float = 0.0) -> Recorded:
        """Carry out actions and return commands, joints and small pictures with their stamps.

        Args:
            actions: Bridge actions (7,), 0.2 s each.
            camera_delay_s: Planted: pictures are stamped this much later than they were taken.
        """
        log = _Log(self.world, camera_delay_s)
        self.robot.on_tick = log.look
        try:
            for action in actions:
                self.act(action)
        finally:
            self.robot.on_tick = None
        return log.recorded()

    def close(self) -> None:
        """Free the renderer."""
        self.world.close()

    def _T_target(self) -> FloatArray:  # noqa: N802
        state = self.robot.guard.state
        measured = self.world.joints_rad
        return wx250s.forward(measured) if state.is_relaxed else state.T_target

    def _is_there(self, T_base_tool: FloatArray) -> bool:
        T = self._T_target()
        is_near = float(np.linalg.norm(T[:3, 3] - T_base_tool[:3, 3])) < _REACHED_M
        return is_near and bool(np.abs(T[:3, :3] - T_base_tool[:3, :3]).max() < _REACHED_RAD)

    def _step(self, T_next: FloatArray) -> None:
        p_measured = wx250s.forward(self.world.joints_rad)[:3, 3]
        opening = self.robot.guard.state.gripper_target
        self.robot.execute(action_between(self._T_target(), T_next, p_measured, opening))

    def _rest(self) -> None:
        still = np.append(np.zeros(6), self.robot.guard.state.gripper_target)
        for _ in range(_REST_STEPS):
            self.robot.execute(still)


class _Log:
    """Notes every tick of the simulated arm, and a picture at 25 Hz."""

    def __init__(self, world: SimWorld, camera_delay_s: float) -> None:
        self._world, self._camera_delay_s = world, camera_delay_s
        self._first = world.ticks
        self._commands: list[tuple[float, FloatArray]] = []
        self._joints: list[tuple[float, FloatArray]] = []
        self._pictures: list[ImageArray] = []
        self._pictures_s: list[float] = []

    def look(self, command: SafeAction) -> None:
        """Note what was commanded and what came of it, 20 ms later."""
        now_s = (self._world.ticks - self._first) * TICK_S
        self._commands.append((now_s - TICK_S, command.joints_rad))
        self._joints.append((now_s, self._world.joints_rad))
        if self._world.ticks % 2 == 0:
            self._pictures.append(self._world.render(160, 120))
            self._pictures_s.append(now_s + self._camera_delay_s)

    def recorded(self) -> Recorded:
        """Return everything as arrays."""
        commands_s, commands = zip(*self._commands, strict=True)
        joints_s, joints = zip(*self._joints, strict=True)
        return Recorded(
            commands_rad=np.stack(commands),
            commands_s=np.array(commands_s),
            joints_rad=np.stack(joints),
            joints_s=np.array(joints_s),
            pictures=self._pictures,
            pictures_s=np.array(self._pictures_s),
        )


def true_intrinsics(world: SimWorld) -> Intrinsics:
    """Return the lens of the simulated camera as OpenCV counts pixels: from their centres.

    OpenGL counts from their edges, half a pixel less, and MuJoCo counts its centre upwards, which
    the model does not undo: its pictures lie 0.9 px lower than those of the published camera.
    """
    focal = CAMERA_FOCAL_PX * world.physics.focal_scale
    cx = CAMERA_CENTER_PX[0] - 0.5
    cy = CAMERA_SIZE_PX[1] - CAMERA_CENTER_PX[1] - 0.5
    K = np.array([[focal, 0.0, cx], [0.0, focal, cy], [0.0, 0.0, 1.0]])
    return Intrinsics(K, np.zeros(5), CAMERA_SIZE_PX)


def true_camera(world: SimWorld) -> FloatArray:
    """Return T_base_camera (4, 4), optical axes, as the simulator places the camera."""
    camera = world._data.camera("bridge")
    axes = np.array(camera.xmat).reshape(3, 3) * np.array([1.0, -1.0, -1.0])
    return pose(axes, np.array(camera.xpos))


def true_camera_of_arm(world: SimWorld) -> FloatArray:
    """Return T_base_camera in the frame that the arm's own encoders define.

    base_link turns with the zero of the waist: no picture can tell the two apart, and every
    command is in the turned frame.
    """
    turn = rotation_from_vector(np.array([0.0, 0.0, world.physics.encoder_offset_rad[0]]))
    return pose(turn, np.zeros(3)) @ true_camera(world)


def held_views(num: int, scene: str = "calibration", seed: int = 0) -> list[ImageArray]:
    """Return pictures of a board that a person shows to the camera everywhere and tilted."""
    world = SimWorld(replace(scene_named(scene), board="hand"), seed)
    rng, T_base_camera = np.random.default_rng(seed), true_camera(world)
    middle = np.array([*target.BOARD.size_m, 0.0]) / 2.0
    pictures = []
    for number in range(num):
        depth_m = rng.uniform(0.25, 0.45)
        # Round the picture: the middle of the board visits nine places.
        across = np.array([number % 3 - 1, number // 3 % 3 - 1]) * np.array([0.62, 0.55])
        across = across + rng.uniform(-0.1, 0.1, 2)
        half = np.array([319.5, 239.5]) / CAMERA_FOCAL_PX * depth_m
        room = np.maximum(half - 0.6 * np.array(target.BOARD.size_m), 0.02)
        p = np.append(np.sign(across) * np.minimum(np.abs(across * half), room), depth_m)
        R = rotation_from_vector(rng.uniform(-0.6, 0.6, 3))
        target.place(world._data, T_base_camera @ pose(R, p - R @ middle))
        _forward(world)
        pictures.append(world.render())
        world.ticks += 1  # other noise
    world.close()
    return pictures


def _forward(world: SimWorld) -> None:
    import mujoco

    mujoco.mj_kinematics(world._model, world._data)
    mujoco.mj_camlight(world._model, world._data)
