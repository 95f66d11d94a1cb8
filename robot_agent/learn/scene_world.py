"""Finetune the world-model members on a scene, and say whether they may be practised in."""

import copy
import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from robot_agent.core.config import require_range
from robot_agent.learn.data import Episodes, subset
from robot_agent.learn.fit import FitConfig, Metrics
from robot_agent.learn.real_windows import of_training
from robot_agent.learn.trust import TrustConfig, TrustReport, trust_report, worst_of
from robot_agent.learn.world_training import WorldTrainingConfig, held_out_errors, train_world
from robot_agent.models.tiny_imagination import TinyImagination
from robot_agent.models.tiny_world import TinyWorld


def _default_training() -> WorldTrainingConfig:
    return WorldTrainingConfig(
        fit=FitConfig(steps=120, learning_rate=5e-4, warmup_steps=10),
        frames=50,
        unroll=(5,),
        stages=(1.0,),
    )


@dataclass(frozen=True, kw_only=True)
class SceneWorldConfig:
    """How members are finetuned, and what they must show."""

    training: WorldTrainingConfig = field(default_factory=_default_training)
    held_out: int = 3
    """Newest real episodes that finetuning does not see."""
    horizon: int = 10
    """Step at which before and after are compared; shortened to the episodes'."""
    trust: TrustConfig = field(default_factory=lambda: TrustConfig(windows=12, sweep_starts=3))

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("held_out", self.held_out, 1, 100)
        require_range("horizon", self.horizon, 1, 40)


@dataclass(frozen=True)
class Trust:
    """Whether the members may be practised in."""

    verdict: str
    """train, shorten or refuse."""
    reason: str
    numbers: dict[str, Any]
    """JSON: the reports of the members, and the team's `verdict` and `safe_horizon`."""


def finetune_members(
    members: Sequence[TinyWorld],
    scene: Episodes,
    replay: Episodes,
    config: SceneWorldConfig,
    seed: int,
    *,
    report: Callable[[float, str], None],
    max_seconds: float = math.inf,
) -> tuple[list[TinyWorld], Trust]:
    """Return finetuned copies of the members and the trust in them; one thread for each member.

    The verdict is that of the worst member; see `trust_report`.
    """
    stop = threading.Event()
    seen, held = _split(scene, config.held_out)
    real = of_training(held)

    def tune(index: int) -> tuple[TinyWorld, dict[str, float], TrustReport]:
        world = copy.deepcopy(members[index])
        before = _errors(world, held, config, seed)

        def on_step(step: int, total: int, metrics: Metrics) -> None:
            if stop.is_set():
                raise KeyboardInterrupt  # the thread that waits for the members had Ctrl-C
            if index == 0 and step % 10 == 0:
                report(step / total, f"{len(members)} members, loss {metrics['loss']:.3f}")

        train_world(
            world,
            seen,
            config.training,
            seed * 31 + index,
            replay=replay,
            report=on_step,
            max_seconds=max_seconds,
        )
        found = {**_errors(world, held, config, seed), "before": before["ours"]}
        return world, found, trust_report(TinyImagination(world), real, config.trust, seed)

    with ThreadPoolExecutor(len(members)) as pool, ExitStack() as ending:
        ending.callback(stop.set)
        worlds, *found = zip(*pool.map(tune, range(len(members))), strict=True)
    return list(worlds), _judge(*found)


def _split(scene: Episodes, held_out: int) -> tuple[Episodes, Episodes]:
    rows = list(range(len(scene)))
    return subset(scene, rows[:-held_out] or rows), subset(scene, rows[-held_out:])


def _errors(
    world: TinyWorld, held: Episodes, config: SceneWorldConfig, seed: int
) -> dict[str, float]:
    horizon = min(config.horizon, int(held.lengths_N.max()))
    arguments: dict[str, Any] = {"horizons": (horizon,), "batch": 32}
    true = held_out_errors(world, held, seed, **arguments)
    shuffled = held_out_errors(world, held, seed, shuffle_actions=True, **arguments)
    key = str(horizon)
    return {
        "horizon": horizon,
        "ours": true["ours"][key],
        "repeat_last": true["repeat_last"][key],
        "shuffled": shuffled["ours"][key],
    }


def _judge(numbers: Sequence[dict[str, float]], reports: Sequence[TrustReport]) -> Trust:
    team, first = worst_of(reports), numbers[0]
    summary = (
        f"{first['ours']:.1f} dB at step {first['horizon']:.0f}; before {first['before']:.1f}, "
        f"repeat last {first['repeat_last']:.1f}, shuffled actions {first['shuffled']:.1f}"
    )
    members = [
        {**found, "report": report.plain()} for found, report in zip(numbers, reports, strict=True)
    ]
    reason = f"{'; '.join(team['reasons'])} ({summary})"
    return Trust(team["verdict"], reason, {**team, "members": members})
