"""Sweeps of the action's axes: how far does the imagined tool move for one step of command?

The motion is read from the state that the model predicts, where it predicts one, and from its
pictures: optical flow of what changed, held against the flow that real motion of the tool makes.

Axis letters: B rollouts, T steps, H W C picture, A action (7).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np

from robot_agent.core.protocols import WorldModel
from robot_agent.core.types import FloatArray, ImageArray, Observation
from robot_agent.learn.real_windows import RealWindows

AXES = ("dx", "dy", "dz", "droll", "dpitch", "dyaw", "gripper")
FLOW_STEPS = 2
"""Steps between the two pictures of a flow: longer motion leaves what flow can follow at 64 px."""
_FLOW_PX = 128
_CHUNK = 5


@runtime_checkable
class KnowsTool(Protocol):
    """A world model that predicts the state of the tool."""

    @property
    def tool_states(self) -> FloatArray:
        """Imagined Bridge states (B, 7)."""


@runtime_checkable
class TakesChunks(Protocol):
    """A world model that draws the frames of a chunk together, as practice asks it to."""

    def step_chunk(self, actions_BKA: FloatArray) -> ImageArray:
        """Advance by K actions; return frames (B, K, H, W, 3)."""


@dataclass(frozen=True, eq=False)
class Imagined:
    """A batch of rollouts under given actions."""

    frames_BTHWC: ImageArray
    """(B, T + 1, H, W, 3) uint8, the start frame first."""
    states_BTP: FloatArray | None
    """Bridge states (B, T + 1, 7), for a model that predicts them."""


def roll_out(
    world: WorldModel, starts: Sequence[Observation], actions_BTA: FloatArray
) -> Imagined:
    """Return what the world model imagines from real starts under these actions."""
    frames = [world.reset(starts)]
    states = [world.tool_states] if isinstance(world, KnowsTool) else []
    if isinstance(world, TakesChunks):
        for first in range(0, actions_BTA.shape[1], _CHUNK):
            drawn = world.step_chunk(actions_BTA[:, first : first + _CHUNK])
            frames += list(drawn.swapaxes(0, 1))
    else:
        for actions_BA in actions_BTA.swapaxes(0, 1):
            frames.append(world.step(actions_BA))
            if isinstance(world, KnowsTool):
                states.append(world.tool_states)
    whole = len(states) == len(frames)
    return Imagined(np.stack(frames, axis=1), np.stack(states, axis=1) if whole else None)


@dataclass(frozen=True, eq=False)
class FlowOfMotion:
    """What a small motion of the tool does to the picture: flow = motion @ matrix."""

    matrix: FloatArray
    """(6, 2): picture widths per metre or radian."""
    explained: float
    """Share of the real flow that the matrix explains on windows that it was not fitted to."""


def flow_of(frames_BTHWC: ImageArray) -> FloatArray:
    """Return the mean flow (B, 2), in picture widths, of what changed over `FLOW_STEPS`.

    Source: Farneback 2003, by OpenCV, weighted by the change of the grey picture.
    """
    flows = []
    for frames in frames_BTHWC:
        first, last = (_grey(frames[i]) for i in (0, FLOW_STEPS))
        start = np.zeros((*first.shape, 2), np.float32)
        flow = cv2.calcOpticalFlowFarneback(
            first, last, start, pyr_scale=0.5, levels=3, winsize=15, iterations=3, poly_n=5,
            poly_sigma=1.2, flags=0,
        )  # fmt: skip
        weight = np.abs(last.astype(np.float64) - first)
        total = max(float(weight.sum()), 1e-6)
        flows.append((flow * weight[..., None]).sum(axis=(0, 1)) / total / _FLOW_PX)
    return np.stack(flows)


def _grey(frame: ImageArray) -> Any:
    return cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (_FLOW_PX, _FLOW_PX))


def fit_flow(windows: RealWindows) -> FlowOfMotion:
    """Return how real motion of the tool shows in real pictures of this scene.

    Ridge regression; every fourth window is left out in turn to see what is explained.
    """
    flow = flow_of(windows.frames_BTHWC)
    moved = windows.states_BTP[:, FLOW_STEPS, :6] - windows.states_BTP[:, 0, :6]
    guessed = np.zeros_like(flow)
    for fold in range(4):
        out = np.arange(len(flow)) % 4 == fold
        guessed[out] = moved[out] @ _ridge(moved[~out], flow[~out])
    left = float(((flow - guessed) ** 2).sum()) / max(float((flow**2).sum()), 1e-12)
    return FlowOfMotion(_ridge(moved, flow), 1.0 - left)


def _ridge(moved: FloatArray, flow: FloatArray) -> FloatArray:
    scale = np.array([0.01] * 3 + [0.05] * 3)
    unit = moved / scale
    solved: FloatArray = np.linalg.solve(unit.T @ unit + 0.1 * np.eye(6), unit.T @ flow)
    return solved / scale[:, None]


@dataclass(frozen=True)
class AxisMotion:
    """What a sweep of one axis showed; gains are motion over what was commanded, 1 is perfect."""

    gain: float | None
    """From the predicted state, over the full command; None for a model without states."""
    gain_half: float | None
    """The same for half the command: proportion means that both gains are equal."""
    picture_gain: float | None
    """From pictures; None for the gripper and where real flow does not tell of the axis."""
    picture_change: float
    """Mean difference of the last pictures of both pushes, grey levels."""
    first_change: float
    """The same after one step: 0 where a command takes effect a step late."""


def sweep_axes(
    world: WorldModel,
    starts: Sequence[Observation],
    flow: FlowOfMotion | None,
    *,
    steps: int,
    probe: FloatArray,
) -> tuple[dict[str, AxisMotion], dict[str, float | None]]:
    """Push every axis both ways, fully and by half, from every start; also rest.

    Args:
        world: The model.
        starts: Real observations.
        flow: How motion shows in pictures of this scene, when it is known.
        steps: Steps of each push.
        probe: Command of a step by axis (6,) [m, rad].

    Returns:
        By axis what was measured; and what the null action does: `drift_m`, `drift_rad` of the
        predicted state per step, `picture_change` in grey levels.
    """
    rest = np.zeros((len(starts), steps, 7))
    rest[:, :, 6] = np.round(np.array([start.gripper for start in starts]))[:, None]
    still = roll_out(world, starts, rest)
    measured = {}
    for axis, name in enumerate(AXES):
        runs = {}
        for share in (1.0, -1.0, 0.5, -0.5):
            actions = rest.copy()
            if axis < 6:
                actions[:, :, axis] = share * probe[axis]
            else:
                actions[:, :, 6] = 0.5 + 0.5 * share
            runs[share] = roll_out(world, starts, actions)
        size = steps * probe[axis] if axis < 6 else 0.5
        measured[name] = AxisMotion(
            gain=_state_gain(runs[1.0], runs[-1.0], axis, size),
            gain_half=_state_gain(runs[0.5], runs[-0.5], axis, 0.5 * size),
            picture_gain=_picture_gain(runs, axis, flow, probe) if axis < 6 else None,
            picture_change=_apart(runs[1.0], runs[-1.0], -1),
            first_change=_apart(runs[1.0], runs[-1.0], 1),
        )
    return measured, _at_rest(still, steps)


def _state_gain(up: Imagined, down: Imagined, axis: int, size: float) -> float | None:
    if up.states_BTP is None or down.states_BTP is None:
        return None
    apart = up.states_BTP[:, -1, axis] - down.states_BTP[:, -1, axis]
    return float(apart.mean() / (2.0 * size))


def _picture_gain(
    runs: dict[float, Imagined], axis: int, flow: FlowOfMotion | None, probe: FloatArray
) -> float | None:
    """Return the flow between both pushes over that which real motion would make."""
    if flow is None:
        return None
    up, down = (flow_of(runs[share].frames_BTHWC).mean(axis=0) for share in (1.0, -1.0))
    wanted = flow.matrix[axis] * 2.0 * FLOW_STEPS * probe[axis]
    size = float(wanted @ wanted)
    return float((up - down) @ wanted) / size if size > 1e-6 else None


def _apart(up: Imagined, down: Imagined, step: int) -> float:
    apart = up.frames_BTHWC[:, step].astype(np.float64) - down.frames_BTHWC[:, step]
    return float(np.abs(apart).mean())


def _at_rest(still: Imagined, steps: int) -> dict[str, float | None]:
    change = still.frames_BTHWC[:, -1].astype(np.float64) - still.frames_BTHWC[:, 0]
    found: dict[str, float | None] = {"picture_change": float(np.abs(change).mean())}
    if still.states_BTP is None:
        return {**found, "drift_m": None, "drift_rad": None}
    moved = (still.states_BTP[:, -1] - still.states_BTP[:, 0]) / steps
    found["drift_m"] = float(np.linalg.norm(moved[:, :3], axis=1).mean())
    found["drift_rad"] = float(np.linalg.norm(moved[:, 3:6], axis=1).mean())
    return found
