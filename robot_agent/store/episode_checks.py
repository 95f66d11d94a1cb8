"""What can be wrong with an episode whose bytes are right: pictures, stamps, motion, labels."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robot_agent.core.bridge_action import STEP_LIMIT_M, STEP_LIMIT_RAD
from robot_agent.core.config import require_range
from robot_agent.core.types import CONTROL_HZ, Episode, FloatArray
from robot_agent.core.wx250s import body_points
from robot_agent.store.episode_format import EpisodeInfo
from robot_agent.store.strict_json import canonical_json

_PERIOD_NS = round(1e9 / CONTROL_HZ)


@dataclass(frozen=True, kw_only=True)
class CheckConfig:
    """Where a finding begins; chosen so that none of 200 sound simulated episodes has one."""

    min_steps: int = 2
    max_gap_periods: float = 2.5
    """Longest time between two pictures, in control periods: else some were dropped."""
    frozen_pictures: int = 5
    """Equal pictures in a row while the arm moves."""
    frozen_motion_rad: float = 0.05
    """Joint motion over them that a picture must show."""
    max_idle_share: float = 0.8
    """Share of steps in which neither arm nor gripper moves."""
    idle_rad: float = 1e-4
    """Motion of the joints in a step that counts as none."""
    max_saturated_share: float = 0.9
    """Share of steps with a component at its limit."""
    max_jump_rad: float = 0.9
    """Largest motion of a joint in a step; 3.14 rad/s, and half as much again."""
    min_dark: float = 2.0
    """Mean grey level below which a picture shows nothing."""

    max_lag_steps: int = 3
    """Shifts between pictures and motion that are tried."""
    min_lag_episodes: int = 20
    """Episodes that are looked at together; one alone is too short to tell."""
    min_lag_gain: float = 0.05
    """How much better a shift must correlate than none. Of 200 sound simulated episodes, 500 draws
    of 20: none flagged; with pictures 1, 2 or 3 steps late 100, 99.8 and 99.6 % found."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        require_range("min_steps", self.min_steps, 1, 1000)
        require_range("max_gap_periods", self.max_gap_periods, 1.0, 100.0)
        require_range("frozen_pictures", self.frozen_pictures, 2, 1000)
        require_range("max_idle_share", self.max_idle_share, 0.0, 1.0)
        require_range("max_saturated_share", self.max_saturated_share, 0.0, 1.0)


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong."""

    kind: str
    detail: str
    """With value and limit."""
    is_fatal: bool = True
    """Training on it would teach something false: the episode goes to the quarantine."""


def check_episode(episode: Episode, config: CheckConfig | None = None) -> list[Finding]:
    """Return everything that is wrong with an episode; nothing for a sound one."""
    config = config or CheckConfig()
    return [
        *_lengths(episode, config),
        *_numbers(episode, config),
        *_stamps(episode, config),
        *_pictures(episode, config),
        *_motion(episode, config),
        *_labels(episode),
    ]


def _lengths(episode: Episode, config: CheckConfig) -> list[Finding]:
    if episode.num_steps >= config.min_steps:
        return []
    return [Finding("short", f"{episode.num_steps} steps, at least {config.min_steps}")]


def _numbers(episode: Episode, config: CheckConfig) -> list[Finding]:
    numbers = {
        "actions": episode.actions,
        "proposals": episode.proposed,
        "joints": episode.joints_rad,
        "gripper": episode.gripper,
    }
    bad = [name for name, values in numbers.items() if not np.isfinite(values).all()]
    bad = [name for name in bad if name != "proposals"]  # the guard refused those
    found = [Finding("not_finite", f"{', '.join(bad)} hold numbers that are none")] if bad else []
    if not bad and episode.num_steps:
        jump = float(np.abs(np.diff(episode.joints_rad, axis=0)).max())
        if jump > config.max_jump_rad:
            text = f"a joint moves {jump:.2f} rad in a step, at most {config.max_jump_rad}"
            found.append(Finding("jump", text))
    return found


def _stamps(episode: Episode, config: CheckConfig) -> list[Finding]:
    if not len(episode.stamps_ns):
        return []
    gaps = np.diff(episode.stamps_ns)
    if len(gaps) and int(gaps.min()) <= 0:
        step = int(gaps.argmin())
        return [Finding("stamp_order", f"picture {step + 1} is not later than picture {step}")]
    longest = float(gaps.max()) / _PERIOD_NS if len(gaps) else 0.0
    if longest > config.max_gap_periods:
        text = f"{longest:.1f} periods without a picture, at most {config.max_gap_periods}"
        return [Finding("dropped_frames", text)]
    return []


def _pictures(episode: Episode, config: CheckConfig) -> list[Finding]:
    found = []
    means = episode.images.reshape(len(episode.images), -1).mean(axis=1)
    if float(np.median(means)) < config.min_dark:
        text = f"median grey level {np.median(means):.1f}, at least {config.min_dark}"
        found.append(Finding("dark", text))
    same = (episode.images[1:] == episode.images[:-1]).all(axis=(1, 2, 3))
    for first, last in _runs(same):
        moved = float(np.ptp(episode.joints_rad[first : last + 1], axis=0).max())
        if last - first + 1 >= config.frozen_pictures and moved > config.frozen_motion_rad:
            text = f"pictures {first} to {last} are equal while a joint moves {moved:.2f} rad"
            found.append(Finding("frozen", text))
            break
    return found


def _motion(episode: Episode, config: CheckConfig) -> list[Finding]:
    if not episode.num_steps:
        return []
    found = []
    moved = np.abs(np.diff(episode.joints_rad, axis=0)).max(axis=1) > config.idle_rad
    gripped = np.abs(np.diff(episode.gripper)) > 0.01
    idle = 1.0 - float((moved | gripped).mean())
    if idle > config.max_idle_share:
        text = f"{idle:.0%} of the steps without motion, at most {config.max_idle_share:.0%}"
        found.append(Finding("idle", text))
    limits = np.array([STEP_LIMIT_M] * 3 + [STEP_LIMIT_RAD] * 3)
    at_limit = (np.abs(episode.actions[:, :6]) >= 0.999 * limits).any(axis=1)
    if float(at_limit.mean()) > config.max_saturated_share:
        text = f"{at_limit.mean():.0%} of the actions at a limit, "
        found.append(Finding("saturated", text + f"at most {config.max_saturated_share:.0%}"))
    return found


def _labels(episode: Episode) -> list[Finding]:
    found = []
    if not episode.instruction.strip():
        found.append(Finding("no_instruction", "the instruction is empty; label it", False))
    if episode.outcome == "unknown":
        found.append(Finding("no_outcome", "nobody judged it; label it", False))
    return found


def check_calibration(info: EpisodeInfo, wanted: str = "") -> list[Finding]:
    """Return what is wrong with the calibration that an episode names.

    Args:
        info: What `episode.json` says.
        wanted: Hash of the calibration it must have been recorded with; empty accepts any whole.
    """
    has, seal = info.calibration_hash, info.config.get("calibration")
    if seal is None and not has:
        return [Finding("no_calibration", "names none, one is wanted")] if wanted else []
    carried = seal if isinstance(seal, Mapping) else {}
    kinds, short = carried.get("kinds"), has[:12]
    own = hashlib.sha256(canonical_json(kinds)).hexdigest() if kinds else ""
    if own != has or carried.get("hash") != has:
        text = f"hash is {short}, the calibration it carries has {own[:12] or 'none'}"
        return [Finding("wrong_calibration", text)]
    if wanted and has != wanted:
        text = f"recorded with calibration {short}, must be {wanted[:12]}"
        return [Finding("wrong_calibration", text)]
    return []


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return (first, last) picture of each run of equal neighbours."""
    runs, begin = [], -1
    for index, flag in enumerate([*flags.tolist(), False]):
        if flag and begin < 0:
            begin = index
        elif not flag and begin >= 0:
            runs.append((begin, index))
            begin = -1
    return runs


def check_alignment(
    episodes: Iterable[Episode], config: CheckConfig | None = None
) -> Finding | None:
    """Return a finding when the pictures of a set of episodes are early or late by whole steps.

    Correlates, step by step, the mean change of the picture with the motion of the arm's points,
    at every shift, and averages over the episodes. None where too few of them move long enough.
    """
    config = config or CheckConfig()
    lags = range(-config.max_lag_steps, config.max_lag_steps + 1)
    fits = [_fits(episode, lags) for episode in episodes if episode.num_steps >= 4 * max(lags)]
    if len(fits) < config.min_lag_episodes:
        return None
    mean = np.mean(fits, axis=0)
    best = int(np.argmax(mean))
    gain = float(mean[best] - mean[config.max_lag_steps])
    if lags[best] == 0 or gain <= config.min_lag_gain:
        return None
    text = f"pictures of {len(fits)} episodes follow the motion {lags[best]:+d} steps off, better "
    text += f"by {gain:.2f} of correlation, at most {config.min_lag_gain}. Measure the latency"
    return Finding("misaligned", text)


def _fits(episode: Episode, lags: range) -> list[float]:
    """Return Pearson's correlation of motion[t] with change[t + lag] for each lag."""
    small = episode.images[:, ::2, ::2].astype(np.int16)
    change = np.abs(np.diff(small, axis=0)).mean(axis=(1, 2, 3))
    points = np.stack([np.stack(list(body_points(q).values())) for q in episode.joints_rad])
    motion = np.linalg.norm(np.diff(points, axis=0), axis=2).mean(axis=1)
    edge, steps = max(lags), len(motion)
    core = motion[edge : steps - edge]
    return [_correlation(core, change[edge + lag : steps - edge + lag]) for lag in lags]


def _correlation(a: FloatArray, b: FloatArray) -> float:
    if a.std() < 1e-9 or b.std() < 1e-9:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])
