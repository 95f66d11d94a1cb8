"""The simulated robot and scene, advanced in the guard's 20 ms ticks."""

import os
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_agent.core import wx250s
from robot_agent.core.errors import SimulationError
from robot_agent.core.types import FloatArray, ImageArray, Observation
from robot_agent.sim import starts, target
from robot_agent.sim.lens import expose
from robot_agent.sim.mjcf import build_mjcf, textures
from robot_agent.sim.physics import Physics, physics_named
from robot_agent.sim.scenes import Scene
from robot_agent.sim.tasks import find_task
from robot_agent.sim.textures import pixels
from robot_agent.sim.truth import Truth, read_truth

os.environ.setdefault("MUJOCO_GL", "egl")


def _no_rendering(error: BaseException) -> SimulationError:
    return SimulationError(
        f"rendering cannot start with MUJOCO_GL={os.environ.get('MUJOCO_GL')}: {error}. "
        f"Install libegl1 and libgl1-mesa-dri, or try MUJOCO_GL=osmesa with libosmesa6."
    )


try:  # the rendering backend must be chosen before the import, which refuses an unknown one
    import mujoco

    from robot_agent.sim.dressing import dress
    from robot_agent.sim.rendering import adopt, choose_effects
except (RuntimeError, AttributeError, ImportError, OSError) as error:
    raise _no_rendering(error) from error

TICK_S = 0.02
PROFILE_S = 0.25
"""Servo time profile that Bridge streams with: 1.25 x 0.2 s."""
PWM_LIMIT = 350.0
_SETTLE_S = 0.3
"""After this an eggplant put down by hand has stopped rocking."""
_UNSTABLE = (
    mujoco.mjtWarning.mjWARN_BADQPOS,
    mujoco.mjtWarning.mjWARN_BADQVEL,
    mujoco.mjtWarning.mjWARN_BADQACC,
)
"""After these the library starts from zero again, silently but for a log file."""
MODEL_SIZE_PX = 64
"""Edge of the square pictures that the tiny models see."""


def halved(pictures: ImageArray) -> ImageArray:
    """Return pictures (..., 2 H, 2 W, 3) averaged to (..., H, W, 3)."""
    large = pictures.astype(np.uint16)
    rows = large[..., 0::2, :, :] + large[..., 1::2, :, :]
    return ((rows[..., 0::2, :] + rows[..., 1::2, :] + 2) // 4).astype(np.uint8)


class SimWorld:
    """One simulated arm in one cell. Not thread-safe; rendering keeps its own GL context.

    Positions are in base_link; the table is the plane z = 0.
    """

    def __init__(self, scene: Scene, seed: int = 0, physics: Physics | None = None) -> None:
        """Build the model and reset it; rendering starts at the first picture.

        `physics` stands in for the one that the scene names.
        """
        self.scene = scene
        self._own_physics, self._text = physics, ""
        self._renderers: dict[tuple[int, int], Any] = {}
        self._setpoint, self._setpoint_speed = np.zeros(6), np.zeros(6)
        self._goal, self._goal_elapsed_s = np.zeros(6), PROFILE_S
        self._segment = np.zeros((4, 6))
        self._late: deque[tuple[FloatArray, float]] = deque()
        self.ticks = 0
        self.reset(seed)

    def _compile(self, scene: Scene) -> None:
        """Make the model of a scene, unless the present one has the same shapes and textures."""
        self.physics = self._own_physics or physics_named(scene.physics)
        self._encoder_offset_rad = np.array(self.physics.encoder_offset_rad)
        self._substeps = round(TICK_S / self.physics.timestep_s)
        text = build_mjcf(scene, self.physics)
        if text == self._text:
            return
        self._model, self._text = mujoco.MjModel.from_xml_string(text), text
        self._data = mujoco.MjData(self._model)
        for name, texture in textures(scene).items():
            first = int(self._model.texture(name).adr[0])
            flat = pixels(texture).ravel()
            self._model.tex_data[first : first + flat.size] = flat
        target.fill(self._model, scene)
        joints = [self._model.joint(index) for index in range(self._model.njnt)]
        self._qpos = {joint.name: int(joint.qposadr[0]) for joint in joints}
        self._joint_qpos = np.array([self._qpos[name] for name in wx250s.JOINT_NAMES])
        arm = [self._model.joint(name) for name in wx250s.JOINT_NAMES]
        self._joint_dof = np.array([int(joint.dofadr[0]) for joint in arm])

    # --- state -----------------------------------------------------------------------------------

    @property
    def joints_rad(self) -> FloatArray:
        """Measured joints (6,)."""
        return np.array(self._data.qpos[self._joint_qpos]) + self._encoder_offset_rad

    @property
    def joint_columns(self) -> NDArray[np.int64]:
        """Where the joints (6,) stand among the positions of a snapshot."""
        return self._joint_qpos

    @property
    def joint_velocities_radps(self) -> FloatArray:
        """Measured joint velocities (6,)."""
        return np.array(self._data.qvel[self._joint_dof])

    @property
    def finger_m(self) -> float:
        """Position of the left finger."""
        return float(self._data.qpos[self._qpos["left_finger"]])

    @property
    def drawer_m(self) -> float:
        """True opening of the drawer, 0 where there is none; neither policy nor judge sees it."""
        return self.truth.drawer_m

    @property
    def tool_m(self) -> FloatArray:
        """True tool position (3,), from MuJoCo's own kinematics."""
        return np.array(self._data.site("tool").xpos)

    @property
    def truth(self) -> Truth:
        """What is really so at this moment."""
        return read_truth(self._model, self._data)

    def success(self, task: str) -> bool:
        """Return whether this moment solves a task of this cell, given by name or instruction."""
        return find_task(self.scene.cell, task).is_solved(self.truth)

    # --- reset -----------------------------------------------------------------------------------

    def reset(self, seed: int, task: str = "") -> None:
        """Put scene, objects and arm where `seed` says.

        The table starts its two tasks alike, so that the instruction matters; the twin starts a
        task as AutoEval does, and without a task wherever its objects can be.
        """
        rng = np.random.default_rng(seed)
        varied = self.scene.varied(rng)
        self._compile(varied)
        mujoco.mj_resetData(self._model, self._data)
        dress(self._model, varied, self.physics)
        start = find_task(varied.cell, task) if task else None
        if "drawer" in self._qpos:
            self._data.qpos[self._qpos["drawer"]] = rng.uniform(*starts.opening_m(varied, start))
        else:
            self._data.qpos[self._qpos["object"] :][:7] = starts.object_pose(varied, start, rng)
        joints = starts.joints(varied.cell, rng) - self._encoder_offset_rad
        self._data.qpos[self._joint_qpos] = joints
        for finger in wx250s.FINGER_NAMES:
            self._data.qpos[self._qpos[finger]] = wx250s.FINGER_OPEN_M
        self._setpoint, self._setpoint_speed = joints.copy(), np.zeros(6)
        self._goal, self._goal_elapsed_s = joints.copy(), PROFILE_S
        self._late = deque([(joints + self._encoder_offset_rad, 0.0)] * self.physics.delay_ticks)
        if "object" in self._qpos:
            self._settle()
        self._seed, self.ticks = seed, 0
        mujoco.mj_forward(self._model, self._data)

    def _settle(self) -> None:
        """Let what is loose come to rest."""
        self._data.ctrl[:6] = self._setpoint
        for _ in range(round(_SETTLE_S / self.physics.timestep_s)):
            mujoco.mj_step(self._model, self._data)

    # --- time ------------------------------------------------------------------------------------

    def tick(self, joints_rad: FloatArray, gripper_pwm: float) -> None:
        """Advance 20 ms towards joint targets (6,) [rad] with a gripper PWM in [-350, 350].

        The servos follow a time profile of 250 ms from their present setpoint and speed, replanned
        when the target changes, as Dynamixels do in time-based position mode.
        """
        self._late.append((np.asarray(joints_rad, dtype=np.float64), gripper_pwm))
        command_rad, pwm = self._late.popleft()
        goal = command_rad - self._encoder_offset_rad
        if not np.array_equal(goal, self._goal):
            self._plan(goal)
        share = float(np.clip(pwm / PWM_LIMIT, -1.0, 1.0))
        self._data.ctrl[6:8] = share * self.physics.finger_force_n
        for _ in range(self._substeps):
            self._advance_setpoint(TICK_S / self._substeps)
            self._data.ctrl[:6] = self._setpoint
            mujoco.mj_step(self._model, self._data)
        self.ticks += 1
        if any(self._data.warning[kind].number for kind in _UNSTABLE):
            raise SimulationError(
                f"simulation became unstable in tick {self.ticks} of scene '{self.scene.name}': "
                f"its state is worthless. Soften the scene's contacts, or report the seed."
            )

    def _plan(self, goal: FloatArray) -> None:
        """Plan a cubic from the present setpoint and speed to `goal` at rest."""
        p, v, s = self._setpoint, self._setpoint_speed, PROFILE_S
        d = goal - p
        self._segment = np.stack([p, v, 3 * d / s**2 - 2 * v / s, -2 * d / s**3 + v / s**2])
        self._goal, self._goal_elapsed_s = goal.copy(), 0.0

    def _advance_setpoint(self, seconds: float) -> None:
        if self._goal_elapsed_s >= PROFILE_S:
            self._setpoint, self._setpoint_speed = self._goal.copy(), np.zeros(6)
            return
        self._goal_elapsed_s = min(self._goal_elapsed_s + seconds, PROFILE_S)
        t = self._goal_elapsed_s
        a, b, c, d = self._segment
        self._setpoint = a + t * (b + t * (c + t * d))
        self._setpoint_speed = b + t * (2 * c + 3 * t * d)

    # --- pictures --------------------------------------------------------------------------------

    def render(self, width: int = 640, height: int = 480) -> ImageArray:
        """Return the Bridge camera's picture (height, width, 3) RGB uint8.

        Another aspect than 4:3 squashes the picture, as Bridge does when it resizes.

        Raises:
            SimulationError: No GL context could be made; says how to get one.
        """
        renderer = self._renderers.get((width, height))
        if renderer is None:
            renderer = self._renderers[(width, height)] = self._make_renderer(width, height)
        elif renderer.model is not self._model:
            adopt(renderer, self._model)
            choose_effects(renderer, shadows=self.physics.shadows)
        renderer.update_scene(self._data, camera="bridge")
        picture: ImageArray = np.array(renderer.render())
        if self.physics.has_lens:
            return expose(picture, self.physics, (self._seed, self.ticks))
        return picture

    def render_model_view(self, size: int = MODEL_SIZE_PX) -> ImageArray:
        """Return the picture as the tiny models see it: (size, size, 3), squashed.

        Rendered at twice the size and averaged, which agrees with averaging down a 640x480
        picture to within a few grey levels and costs a tenth.
        """
        return halved(self.render(2 * size, 2 * size))

    def _make_renderer(self, width: int, height: int) -> Any:
        try:
            renderer = mujoco.Renderer(self._model, height, width)
        except (RuntimeError, AttributeError, ImportError, mujoco.FatalError) as error:
            raise _no_rendering(error) from error
        choose_effects(renderer, shadows=self.physics.shadows)
        return renderer

    def observe(self) -> Observation:
        """Return model-sized picture, joints and opening, stamped with simulated time."""
        return Observation(
            image_hwc=self.render_model_view(),
            joints_rad=self.joints_rad,
            gripper=wx250s.opening_from_finger(self.finger_m),
            stamp_ns=round(self.ticks * TICK_S * 1e9),
        )

    def close(self) -> None:
        """Free the GL contexts."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()
