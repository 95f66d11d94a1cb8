"""A burst of practice: imagine, judge, update, until the iterations or the time are used up."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from robot_agent.core.config import require_range
from robot_agent.learn.grpo import GrpoConfig, TinyPolicyLearner
from robot_agent.learn.imagine import ImagineConfig, Rollouts, Start, imagine, merge
from robot_agent.models.classifier_judge import ClassifierJudge
from robot_agent.models.tiny_imagination import TinyImagination
from robot_agent.models.tiny_policy import TinyPolicy

OnIteration = Callable[[int, int, dict[str, float]], None]


@dataclass(frozen=True, kw_only=True)
class PracticeConfig:
    """How long and how wide one burst is."""

    iterations: int = 20
    starts: int = 8
    """Start frames per iteration, instructions mixed."""
    group: int = 8
    """Rollouts of each start frame; advantages are relative to them."""
    imagine: ImagineConfig = field(default_factory=ImagineConfig)
    grpo: GrpoConfig = field(default_factory=GrpoConfig)

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("iterations", self.iterations, 1, 10_000)
        require_range("starts", self.starts, 1, 512)
        require_range("group", self.group, 2, 64)


@dataclass(eq=False)
class PracticeResult:
    """What a burst showed."""

    curve: list[dict[str, float]]
    """Metrics of each iteration."""
    clip: NDArray[np.uint8]
    """Frames of one imagined episode of the last iteration."""


def practise(
    policy: TinyPolicy,
    worlds: Sequence[TinyImagination],
    judge: ClassifierJudge,
    starts: Sequence[Start],
    config: PracticeConfig,
    *,
    seed: int,
    on_iteration: OnIteration | None = None,
    is_over: Callable[[], bool] = lambda: False,
) -> PracticeResult:
    """Improve `policy` in place by imagined episodes.

    Every iteration practises in all worlds side by side, one thread each, every world with its
    own start frames and random numbers, so that the outcome does not depend on the threads.
    """
    rng = np.random.default_rng(seed)
    generators = [torch.Generator().manual_seed(seed * 97 + i) for i in range(len(worlds) + 1)]
    learner = TinyPolicyLearner(policy, config.grpo, config.imagine.temperature)
    curve, clip = list[dict[str, float]](), np.zeros((0, 64, 64, 3), np.uint8)
    with ThreadPoolExecutor(len(worlds)) as pool:
        for iteration in range(config.iterations):
            if is_over():
                break
            shares = _shares(config, len(worlds), iteration)
            drawn = [draw_starts(starts, share, rng) for share in shares]

            def roll_out(index: int, drawn: list[list[Start]] = drawn) -> Rollouts:
                return imagine(
                    worlds[index],
                    policy,
                    judge,
                    drawn[index],
                    config.imagine,
                    group=config.group,
                    version=learner.version,
                    generator=generators[1 + index],
                )

            rollouts = merge(list(pool.map(roll_out, np.flatnonzero(shares).tolist())))
            curve.append(learner.update(rollouts, generators[0]))
            clip = rollouts.clip
            if on_iteration is not None:
                on_iteration(iteration + 1, config.iterations, curve[-1])
    return PracticeResult(curve, clip)


def _shares(config: PracticeConfig, worlds: int, iteration: int) -> list[int]:
    """Split the start frames over the worlds; what does not divide goes to each in turn."""
    each, rest = divmod(config.starts, worlds)
    return [each + ((i + iteration) % worlds < rest) for i in range(worlds)]


def draw_starts(starts: Sequence[Start], count: int, rng: np.random.Generator) -> list[Start]:
    """Draw start frames, the instructions in equal shares."""
    by_task: dict[int, list[Start]] = {}
    for start in starts:
        by_task.setdefault(start.instruction_id, []).append(start)
    tasks = sorted(by_task)
    chosen = [tasks[i % len(tasks)] for i in range(count)]
    return [by_task[task][rng.integers(len(by_task[task]))] for task in chosen]


def imagined_success(
    policy: TinyPolicy,
    world: TinyImagination,
    judge: ClassifierJudge,
    starts: Sequence[Start],
    config: ImagineConfig,
    *,
    seed: int,
    repeats: int = 4,
) -> dict[int, tuple[float, int]]:
    """Return closed-loop success (rate, rollouts) in imagination per instruction id.

    Only of rollouts that the judge knows; a task of which it knows none is left out.
    """
    rollouts = imagine(
        world,
        policy,
        judge,
        starts,
        config,
        group=repeats,
        version=0,
        generator=torch.Generator().manual_seed(seed),
    )
    ids = rollouts.instructions_B.numpy()[rollouts.known_B]
    success = rollouts.success_B[rollouts.known_B]
    return {
        int(task): (float(success[ids == task].mean()), int((ids == task).sum()))
        for task in np.unique(ids)
    }
