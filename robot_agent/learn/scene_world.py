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
from robot_agent.learn.world_training import WorldTrainingConfig, held_out_errors, train_world
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
    """Step at which the members are held against real frames; shortened to the episodes'."""

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("held_out", self.held_out, 1, 100)
        require_range("horizon", self.horizon, 1, 40)


@dataclass(frozen=True)
class Trust:
    """Whether the members may be practised in."""

    verdict: str
    """train or refuse."""
    reason: str
    numbers: dict[str, Any]


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

    The verdict is `refuse` when a member is no better than repeating the last frame or than
    itself with another episode's actions: such a model does not listen to the policy.
    """
    rows = list(range(len(scene)))
    held, stop = subset(scene, rows[-config.held_out :]), threading.Event()
    seen = subset(scene, rows[: -config.held_out] or rows)

    def tune(index: int) -> tuple[TinyWorld, dict[str, float]]:
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
        after = _errors(world, held, config, seed)
        return world, {**after, "before": before["ours"]}

    with ThreadPoolExecutor(len(members)) as pool, ExitStack() as ending:
        ending.callback(stop.set)
        tuned = list(pool.map(tune, range(len(members))))
    return [world for world, _ in tuned], _judge([numbers for _, numbers in tuned])


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


def _judge(numbers: Sequence[dict[str, float]]) -> Trust:
    reasons = []
    for index, found in enumerate(numbers):
        for rival in ("repeat_last", "shuffled"):
            if found["ours"] <= found[rival]:
                reasons.append(
                    f"member {index}: {found['ours']:.1f} dB at step {found['horizon']:.0f} is "
                    f"not above {rival} ({found[rival]:.1f} dB)"
                )
    first = numbers[0]
    summary = (
        f"{first['ours']:.1f} dB at step {first['horizon']:.0f}; before {first['before']:.1f}, "
        f"repeat last {first['repeat_last']:.1f}, shuffled actions {first['shuffled']:.1f}"
    )
    verdict = "refuse" if reasons else "train"
    return Trust(verdict, "; ".join(reasons) or summary, {"members": list(numbers)})
