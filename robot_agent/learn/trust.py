"""The trust report: what a world model may be used for in a scene, and for how many steps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from robot_agent.core.config import require_range
from robot_agent.core.protocols import WorldModel
from robot_agent.core.types import ImageArray
from robot_agent.learn.axis_sweep import (
    FLOW_STEPS,
    AxisMotion,
    FlowOfMotion,
    fit_flow,
    sweep_axes,
)
from robot_agent.learn.real_windows import RealEpisode, RealWindows, cut_windows
from robot_agent.learn.trust_verdict import Findings, TrustLimits, judge_axes, verdict_of
from robot_agent.learn.world_probe import (
    ErrorsByStep,
    Lpips,
    disagreement_by_step,
    edit_effects,
    errors_by_step,
)


@dataclass(frozen=True, kw_only=True)
class TrustConfig:
    """How much is measured, and what must be shown."""

    horizon: int = 30
    """Longest rollout [steps] that is asked for; the real episodes may be shorter."""
    windows: int = 24
    """Real windows that are held against the model, at each of both lengths."""
    edit_steps: int = 5
    """Length of the windows whose actions are edited: one chunk."""
    sweep_starts: int = 6
    probe_m: float = 0.02
    """Command of a sweep per step."""
    probe_rad: float = 0.1
    limits: TrustLimits = field(default_factory=TrustLimits)

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("horizon", self.horizon, 2, 1000)
        require_range("windows", self.windows, 4, 10_000)
        require_range("edit_steps", self.edit_steps, FLOW_STEPS, 100)
        require_range("sweep_starts", self.sweep_starts, 1, 1000)
        require_range("probe_m", self.probe_m, 0.001, 0.05)
        require_range("probe_rad", self.probe_rad, 0.005, 0.25)


@dataclass(frozen=True, kw_only=True)
class TrustReport:
    """What was found; JSON but for the clips."""

    verdict: str
    """train, shorten or refuse."""
    safe_horizon: int
    """Imagined steps that agree with reality; imagined episodes are cut there. 0 when refused."""
    reasons: list[str]
    """Of the verdict."""
    notes: list[str]
    """What was seen and does not decide, or could not be measured."""
    axes: dict[str, dict[str, Any]]
    at_rest: dict[str, float | None]
    errors: dict[str, dict[str, dict[str, float]]]
    """By step and measure (psnr, ssim, lpips) the value of each method; and `sharpness`."""
    edits: dict[str, dict[str, float]]
    """By edit of the actions how much worse the real pictures agree [dB], with standard error."""
    disagreement: list[float]
    """By step, over how far the real picture moved."""
    flow_explained: float
    """Share of the real optical flow that motion of the tool explains."""
    windows: dict[str, int]
    clips: dict[str, ImageArray] = field(default_factory=dict, repr=False, compare=False)
    """Real beside imagined, (T + 1, H, 2 W, 3) by title; not in the JSON."""

    def plain(self) -> dict[str, Any]:
        """Return the report without its clips."""
        return {name: value for name, value in vars(self).items() if name != "clips"}


def trust_report(
    world: WorldModel,
    episodes: Sequence[RealEpisode],
    config: TrustConfig,
    seed: int,
    *,
    other: WorldModel | None = None,
    lpips: Lpips | None = None,
) -> TrustReport:
    """Hold a world model against real episodes that it was not trained on.

    Args:
        world: The model, as practice would use it.
        episodes: Held-out real episodes of the scene.
        config: How much is measured.
        seed: Of the windows that are drawn.
        other: A second member, to see where both disagree.
        lpips: Perceptual distance, when its weights are at hand.

    Raises:
        InputError: No episode is as long as a window.
    """
    rng = np.random.default_rng(seed)
    long = cut_windows(episodes, _horizon(episodes, config), config.windows, rng)
    short = cut_windows(
        episodes, min(config.edit_steps, long.actions_BTA.shape[1]), config.windows, rng
    )
    errors = errors_by_step(world, long, rng, lpips)
    effects = edit_effects(world, short)
    flow = fit_flow(short) if short.actions_BTA.shape[1] >= FLOW_STEPS else None
    trusted_flow = flow if flow and flow.explained >= config.limits.flow_explained else None
    measured, at_rest = _sweep(world, short, trusted_flow, config)
    apart = disagreement_by_step(world, other, long, rng)
    used = _used(short)
    axes = judge_axes(measured, effects, used, config.limits)
    findings = Findings(axes, at_rest, measured, effects, errors, apart)
    verdict, safe, reasons, notes = verdict_of(findings, config.limits, config.horizon)
    return TrustReport(
        verdict=verdict,
        safe_horizon=safe,
        reasons=reasons,
        notes=notes + _not_measured(flow, trusted_flow, lpips),
        axes=axes,
        at_rest=at_rest,
        errors=_table(errors),
        edits={name: asdict(effect) for name, effect in effects.items()},
        disagreement=apart,
        flow_explained=flow.explained if flow else 0.0,
        windows={"long": len(long.starts), "short": len(short.starts)},
        clips=_clips(errors, long, episodes),
    )


def _horizon(episodes: Sequence[RealEpisode], config: TrustConfig) -> int:
    """Return the longest horizon that half of the episodes have."""
    lengths = sorted((len(episode.actions) for episode in episodes), reverse=True)
    return max(1, min(config.horizon, lengths[(len(lengths) - 1) // 2] if lengths else 1))


def _sweep(
    world: WorldModel, windows: RealWindows, flow: FlowOfMotion | None, config: TrustConfig
) -> tuple[dict[str, AxisMotion], dict[str, float | None]]:
    every = max(1, math.ceil(len(windows.starts) / config.sweep_starts))
    return sweep_axes(
        world,
        windows.starts[::every],
        flow,
        steps=config.edit_steps,
        probe=np.array([config.probe_m] * 3 + [config.probe_rad] * 3),
    )


def _used(windows: RealWindows) -> list[float]:
    """Return how much the real episodes use each axis.

    For an arm's axis the rms of a step [m, rad] that at least half of the episodes reach. Not over
    all steps at once: one episode in which a policy lost its way would say that the others use
    what they do not. For the gripper the range over all of them: each may hold it still.
    """
    rms = [
        np.sqrt((windows.actions_BTA[windows.episode_B == episode, :, :6] ** 2).mean(axis=(0, 1)))
        for episode in np.unique(windows.episode_B)
    ]
    half = np.sort(np.stack(rms), axis=0)[len(rms) // 2]
    return [*half.tolist(), float(np.ptp(windows.actions_BTA[..., 6]))]


def _table(errors: ErrorsByStep) -> dict[str, dict[str, dict[str, float]]]:
    steps = range(len(errors.sharpness))
    return {
        str(t + 1): {
            "psnr": {name: float(values[:, t].mean()) for name, values in errors.psnr.items()},
            "ssim": {name: values[t] for name, values in errors.ssim.items()},
            "lpips": {name: values[t] for name, values in errors.lpips.items()},
            "sharpness": {"ours": errors.sharpness[t]},
        }
        for t in steps
    }


def _not_measured(
    flow: FlowOfMotion | None, trusted: FlowOfMotion | None, lpips: Lpips | None
) -> list[str]:
    notes = []
    if flow is not None and trusted is None:
        notes.append(
            f"optical flow: motion of the tool explains {flow.explained:.2f} of it in the real "
            f"episodes, too little to read the sweeps' motion from pictures"
        )
    if lpips is None:
        notes.append("LPIPS: not measured, no weights were given (--lpips)")
    return notes


def _clips(
    errors: ErrorsByStep, windows: RealWindows, episodes: Sequence[RealEpisode]
) -> dict[str, ImageArray]:
    shown: dict[str, ImageArray] = {}
    for row, episode in enumerate(windows.episode_B):
        title = f"{episodes[episode].name}: real, imagined"
        if title not in shown and len(shown) < 4:
            shown[title] = np.concatenate([errors.real[row], errors.frames[row]], axis=2)
    return shown


def worst_of(reports: Sequence[TrustReport]) -> Mapping[str, Any]:
    """Return verdict, safe horizon and reasons of a team: that of its worst member counts."""
    order = ("train", "shorten", "refuse")
    verdict = max((report.verdict for report in reports), key=order.index)
    safe = min(report.safe_horizon for report in reports)
    reasons = [
        f"member {index}: {reason}"
        for index, report in enumerate(reports)
        for reason in report.reasons
        if report.verdict == verdict
    ]
    return {"verdict": verdict, "safe_horizon": safe, "reasons": reasons}
