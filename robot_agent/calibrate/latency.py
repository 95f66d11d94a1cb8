"""Command to picture: how late the camera shows what was commanded, by cross-correlation."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from robot_agent.calibrate.gates import Gate
from robot_agent.core.errors import CalibrationError
from robot_agent.core.types import FloatArray, ImageArray

MAX_DELAY_S = 1.0
MIN_CORRELATION = 0.5
MAX_SPREAD_S = 0.06
_GRID_S = 0.005
_BLUR_S = 0.1
_CHANGE_FLOOR = 6.0
"""Grey levels that a sensor's noise reaches; less is no motion."""


@dataclass(frozen=True)
class Delay:
    """How late one signal follows another."""

    delay_s: float
    correlation: float
    """At the best delay, of 1."""


@dataclass(frozen=True)
class LatencyResult:
    """Delays from the command to what is measured and to what is seen."""

    command_to_picture: Delay
    command_to_joints: Delay
    joints_to_picture: Delay
    halves_s: tuple[float, float]
    """Command to picture from the first and the second half alone."""
    period_s: float
    """Between pictures: the resolution."""

    @property
    def gates(self) -> tuple[Gate, ...]:
        """Limits that decide whether it is saved."""
        first, second = self.halves_s
        limit_s = max(MAX_SPREAD_S, 1.5 * self.period_s)
        again = "let nothing else move in the picture, and keep the camera's exposure fixed."
        return (
            Gate(
                "correlation",
                self.command_to_picture.correlation,
                MIN_CORRELATION,
                "",
                again,
                is_floor=True,
            ),
            Gate("difference of both halves", abs(first - second), limit_s, "s", again),
        )  # fmt: skip


Signal = tuple[FloatArray, FloatArray]
"""Values (N,) and their stamps (N,) [s]."""


def motion_energy(pictures: Sequence[ImageArray], stamps_s: FloatArray) -> Signal:
    """Return how fast neighbouring pictures differ [grey levels/s], at the times between them.

    Changes within the noise of a sensor count as none.
    """
    changes = []
    for before, after in pairwise(pictures):
        change = np.abs(after.astype(np.int16) - before.astype(np.int16))
        changes.append(float(np.where(change > _CHANGE_FLOOR, change, 0).mean()))
    return _rate(np.array(changes), stamps_s)


def speed(values: FloatArray, stamps_s: FloatArray) -> Signal:
    """Return how fast rows (N, K) change, as a norm per second, at the times between them."""
    return _rate(np.linalg.norm(np.diff(values, axis=0), axis=1), stamps_s)


def _rate(changes: FloatArray, stamps_s: FloatArray) -> Signal:
    return changes / np.maximum(np.diff(stamps_s), 1e-3), (stamps_s[1:] + stamps_s[:-1]) / 2.0


def find_delay(cause: Signal, effect: Signal) -> Delay:
    """Return how much later `effect` does what `cause` did, by normalised cross-correlation.

    Both are laid on one grid of 5 ms and correlated over delays from -0.1 to 1 s; a parabola
    through the best three gives the delay between grid points.

    Args:
        cause: What comes first.
        effect: What follows, stamped by the same clock.

    Raises:
        CalibrationError: A signal does not vary, or they overlap by less than two seconds.
    """
    begin, end = max(cause[1][0], effect[1][0]), min(cause[1][-1], effect[1][-1])
    if end - begin < 2.0:
        raise CalibrationError(
            f"latency: signals overlap by {max(end - begin, 0.0):.1f} s, must be at least 2 s. "
            f"Record for longer; do camera and driver share a clock?"
        )
    first, second = _smooth(cause), _smooth(effect)
    delays = np.arange(-0.1, MAX_DELAY_S + _GRID_S / 2, _GRID_S)
    scores = np.array([_score(first, second, float(delay)) for delay in delays])
    k = int(np.argmax(scores))
    delay_s = float(delays[k])
    if 0 < k < len(scores) - 1:
        left, middle, right = map(float, scores[k - 1 : k + 2])
        bend = left - 2.0 * middle + right
        delay_s += 0.5 * (left - right) / bend * _GRID_S if bend < 0.0 else 0.0
    return Delay(delay_s, float(scores[k]))


def _smooth(signal: Signal) -> Signal:
    """Return a signal on the grid, blurred alike to both sides: commands are spikes at 5 Hz."""
    values, stamps_s = signal
    grid = np.arange(stamps_s[0], stamps_s[-1], _GRID_S)
    reach = np.arange(-3.0 * _BLUR_S, 3.0 * _BLUR_S + _GRID_S / 2, _GRID_S)
    weights = np.exp(-0.5 * (reach / _BLUR_S) ** 2)
    level = np.interp(grid, stamps_s, values)
    padded = np.pad(level, len(reach) // 2, mode="edge")
    return np.convolve(padded, weights / weights.sum(), mode="valid"), grid


def _score(cause: Signal, effect: Signal, delay_s: float) -> float:
    """Return the correlation of effect(t) with cause(t - delay) where both are known."""
    begin = max(cause[1][0] + delay_s, effect[1][0])
    end = min(cause[1][-1] + delay_s, effect[1][-1])
    grid = np.arange(begin, end, _GRID_S)
    a = np.interp(grid - delay_s, cause[1], cause[0])
    b = np.interp(grid, effect[1], effect[0])
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a @ a) * (b @ b)))
    if size < 1e-12:
        raise CalibrationError(
            "latency: a signal does not vary, must move. Does the camera see the arm, and does "
            "the guard let it move?"
        )
    return float(a @ b) / size


@dataclass(frozen=True, eq=False)
class Recorded:
    """What a latency run recorded, all stamps of one clock."""

    commands_rad: FloatArray
    """Commanded joints (N, 6)."""
    commands_s: FloatArray
    joints_rad: FloatArray
    """Measured joints (M, 6)."""
    joints_s: FloatArray
    pictures: Sequence[ImageArray]
    """Pictures (P); small ones are enough."""
    pictures_s: FloatArray


def solve_latency(recorded: Recorded) -> LatencyResult:
    """Return the delays between command, joints and picture.

    The command and the joint that moves most are compared with their signs, so that a target that
    the guard takes back and gives again counts as nothing; pictures know no sign.

    Raises:
        CalibrationError: Something does not move, or too little was recorded.
    """
    k = int(np.argmax(np.ptp(recorded.joints_rad, axis=0)))
    command = _rate(np.diff(recorded.commands_rad[:, k]), recorded.commands_s)
    answer = _rate(np.diff(recorded.joints_rad[:, k]), recorded.joints_s)
    to_joints = find_delay(command, answer)
    joints = speed(recorded.joints_rad, recorded.joints_s)
    energy, at_s = motion_energy(recorded.pictures, recorded.pictures_s)
    to_picture = find_delay(joints, (energy, at_s))
    half = len(energy) // 2
    parts = ((energy[:half], at_s[:half]), (energy[half:], at_s[half:]))
    first_s, second_s = (to_joints.delay_s + find_delay(joints, part).delay_s for part in parts)
    return LatencyResult(
        command_to_picture=Delay(
            to_joints.delay_s + to_picture.delay_s,
            min(to_joints.correlation, to_picture.correlation),
        ),
        command_to_joints=to_joints,
        joints_to_picture=to_picture,
        halves_s=(first_s, second_s),
        period_s=float(np.median(np.diff(recorded.pictures_s))),
    )


def excitation(seconds: float, seed: int = 0) -> list[FloatArray]:
    """Return Bridge actions (7,) whose speed never repeats itself: moves and rests at random.

    The tool goes left and right about where it is, and comes back.
    """
    rng, actions, y_m = np.random.default_rng(seed), [], 0.0
    for _ in range(round(seconds / 0.2)):
        step_m = float(rng.choice([-0.04, -0.02, 0.0, 0.0, 0.02, 0.04]))
        if abs(y_m + step_m) > 0.08:
            step_m = -step_m
        y_m += step_m
        actions.append(np.array([0.0, step_m, 0.0, 0.0, 0.0, 0.0, 1.0]))
    return actions
