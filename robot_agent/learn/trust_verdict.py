"""From measurements to a verdict: train, shorten, or refuse with the reason."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from robot_agent.core.config import require_range
from robot_agent.learn.axis_sweep import AXES, AxisMotion
from robot_agent.learn.world_probe import EditEffect, ErrorsByStep


@dataclass(frozen=True, kw_only=True)
class TrustLimits:
    """What a model must show; chosen on the shipped models and on planted bad ones."""

    used_m: float = 0.004
    """Rms command of a step from which a real episode uses an axis; half of them must."""
    used_rad: float = 0.025
    gain: tuple[float, float] = (0.5, 1.6)
    """Motion over command of an axis that is used; proportion is judged by the same limits."""
    opposite_gain: float = -0.1
    """Gain below which an axis moves the wrong way, used or not."""
    opposite_picture_gain: float = -0.5
    rest_share: float = 0.4
    """Most motion of the null action, over that of the probes."""
    sharpness: float = 0.5
    """Least detail of one step's pictures, over that of the real ones."""
    disagreement: float = 1.0
    """Most disagreement of two members, over how far the real picture moved."""
    seen: float = 0.2
    """Least difference of pictures between opposite commands, grey levels."""
    first_share: float = 0.05
    """Least share of that difference that is there after one step of a chunk."""
    flow_explained: float = 0.2
    min_steps: int = 5
    """Least safe horizon to practise at all: one chunk."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("rest_share", self.rest_share, 0.01, 1.0)
        require_range("sharpness", self.sharpness, 0.0, 1.0)
        require_range("disagreement", self.disagreement, 0.01, 100.0)
        require_range("min_steps", self.min_steps, 1, 1000)


@dataclass(frozen=True)
class Findings:
    """Everything that the verdict looks at."""

    axes: Mapping[str, Mapping[str, Any]]
    at_rest: Mapping[str, float | None]
    sweep: Mapping[str, AxisMotion]
    effects: Mapping[str, EditEffect]
    errors: ErrorsByStep
    disagreement: Sequence[float]


def judge_axes(
    sweep: Mapping[str, AxisMotion],
    effects: Mapping[str, EditEffect],
    used: Sequence[float],
    limits: TrustLimits,
) -> dict[str, dict[str, Any]]:
    """Return by axis the measurements, whether real episodes use it, and `fault` ("" is none)."""
    found = {}
    for index, name in enumerate(AXES):
        least = limits.used_m if index < 3 else limits.used_rad if index < 6 else 0.5
        is_used = used[index] >= least
        motion, mirrored = sweep[name], effects[f"mirror {name}"]
        found[name] = {
            **asdict(motion),
            "mirrored_worse_db": mirrored.worse_db,
            "mirrored_worse_in_errors": mirrored.in_errors,
            "used": used[index],
            "is_used": is_used,
            "fault": _fault(motion, mirrored, limits, is_used=is_used),
        }
    return found


def _fault(motion: AxisMotion, mirrored: EditEffect, limits: TrustLimits, *, is_used: bool) -> str:
    """Return what is wrong with an axis; an axis that nobody uses may be deaf, not reversed."""
    if motion.gain is not None and motion.gain < limits.opposite_gain:
        return f"moves the wrong way (gain {motion.gain:.2f})"
    if not is_used:
        return ""
    if mirrored.worse_db <= 0.0:
        return (
            f"real pictures agree as well with the mirrored command "
            f"({mirrored.worse_db:+.2f} dB, must be above 0)"
        )
    picture = motion.picture_gain
    if motion.gain is None and picture is not None and picture < limits.opposite_picture_gain:
        return f"moves the wrong way in the pictures (gain {picture:.2f})"
    for words, gain in (("gain", motion.gain), ("gain of half", motion.gain_half)):
        if gain is not None and not limits.gain[0] <= gain <= limits.gain[1]:
            return f"{words} {gain:.2f}, must be {limits.gain[0]:g} to {limits.gain[1]:g}"
    return ""


def verdict_of(
    found: Findings, limits: TrustLimits, horizon: int
) -> tuple[str, int, list[str], list[str]]:
    """Return verdict, safe horizon, its reasons, and notes that decide nothing."""
    faults = [f"{name}: {axis['fault']}" for name, axis in found.axes.items() if axis["fault"]]
    faults += [*_rest_faults(found, limits), *_timing_faults(found), *_blur_faults(found, limits)]
    safe, why = safe_horizon(found.errors, found.disagreement, limits)
    if safe < limits.min_steps:
        faults.append(f"safe horizon {safe} steps, must be at least {limits.min_steps}: {why}")
    notes = [
        f"{name}: the model is deaf to it (gain {axis['gain']:.2f}), and the real episodes hardly "
        f"use it"
        for name, axis in found.axes.items()
        if axis["gain"] is not None and not axis["is_used"] and abs(axis["gain"]) < limits.gain[0]
    ]
    notes += [
        f"{name}: the real episodes hardly use it, so its sign is not proven by pictures"
        for name, axis in found.axes.items()
        if axis["gain"] is None and not axis["is_used"]
    ]
    if faults:
        return "refuse", 0, faults, notes
    if safe < horizon:
        return "shorten", safe, [f"safe for {safe} of {horizon} steps: {why}"], notes
    return "train", safe, [f"safe for all {horizon} steps that were asked for"], notes


def _rest_faults(found: Findings, limits: TrustLimits) -> list[str]:
    """The null action must not move: in the state, and in pictures beside what commands do."""
    faults = []
    drift = found.at_rest["drift_m"]
    probe = [found.sweep[name] for name in AXES[:3]]
    if drift is not None:
        moved = max(abs(motion.gain or 0.0) for motion in probe) * 0.02
        if drift > limits.rest_share * moved:
            faults.append(
                f"null action: the tool drifts {1000 * drift:.1f} mm a step, must be at most "
                f"{1000 * limits.rest_share * moved:.1f} mm"
            )
    change = max(motion.picture_change for motion in probe)
    first = max(motion.first_change for motion in probe)
    if change < limits.seen:
        faults.append(f"ignored actions: commands change no picture ({change:.2f} grey levels)")
    elif first < limits.first_share * change:
        faults.append(
            f"shifted actions: after one step a command has done {first / change:.3f} of what it "
            f"does in all, must be at least {limits.first_share}"
        )
    return faults


def _timing_faults(found: Findings) -> list[str]:
    faults = []
    for edit, words in (
        ("rest", "ignored actions: no motion agrees as well as the robot's own"),
        ("late", "shifted actions: those of the step before agree as well"),
        ("early", "shifted actions: those of the step after agree as well"),
    ):
        effect = found.effects[edit]
        if effect.worse_db <= 0.0:
            faults.append(f"{words} ({effect.worse_db:+.2f} dB, must be above 0)")
    return faults


def _blur_faults(found: Findings, limits: TrustLimits) -> list[str]:
    first = found.errors.sharpness[0]
    if first >= limits.sharpness:
        return []
    return [f"blurred: {first:.2f} of the real detail after one step, at least {limits.sharpness}"]


def safe_horizon(
    errors: ErrorsByStep, disagreement: Sequence[float], limits: TrustLimits
) -> tuple[int, str]:
    """Return the last step to which the model is better than its rivals, and what ends it there.

    Rivals are the repeated start frame and the model itself under another episode's actions.
    """
    ours = errors.psnr["ours"]
    for t in range(ours.shape[1]):
        for rival in ("repeat_last", "shuffled"):
            worse = float((errors.psnr[rival][:, t] - ours[:, t]).mean())
            if worse >= 0.0:
                return t, f"at step {t + 1} not better than {rival} ({-worse:+.2f} dB)"
        if disagreement[t] > limits.disagreement:
            return t, (
                f"at step {t + 1} two imaginations are {disagreement[t]:.2f} of the real change "
                f"apart, at most {limits.disagreement:g}"
            )
    return ours.shape[1], f"real episodes of {ours.shape[1]} steps show no more"
