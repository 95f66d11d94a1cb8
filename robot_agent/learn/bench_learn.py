"""How fast practice learns, beside the published loop, on the same networks in one run.

Axis letters: B rollouts, N chunks, K action of a chunk, A dimension, T time, H W C picture.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robot_agent.core.clock import Stopwatch, ThreadStopwatch
from robot_agent.core.types import FloatArray, ImageArray, Observation
from robot_agent.learn.imagine import Imagination, Start
from robot_agent.learn.practice import Burst, PracticeConfig
from robot_agent.learn.published_loop import PublishedLoop, PublishedLoopConfig
from robot_agent.learn.stage_times import StageTimes
from robot_agent.models.classifier_judge import ClassifierJudge
from robot_agent.models.peak import measured, torch_threads
from robot_agent.models.tiny_policy import TinyPolicy

OnRun = Callable[[str], None]


@dataclass(eq=False)
class LearnBench:
    """What both loops practise on; every run begins with the same weights."""

    policy: TinyPolicy
    worlds: Sequence[Imagination]
    judge: ClassifierJudge
    starts: Sequence[Start]
    seconds: float
    """Of each run."""
    seed: int
    prompts: int = 20
    """Groups of one update of the published loop; 20 as published."""

    def compare(
        self, config: PracticeConfig, sizes: Sequence[str], on_run: OnRun
    ) -> dict[str, Any]:
        """Return both loops' numbers, their ratio and how ours grows with `sizes` of `SCALED`."""
        on_run("published")
        published = self.published(PublishedLoopConfig(prompts=self.prompts))
        on_run("ours")
        ours = self.ours(config)
        both = {"published": published, "ours": ours}
        useful = {name: run["useful_samples_per_minute"] for name, run in both.items()}
        cost = {n: run["useful_samples_per_processor_minute"] for n, run in both.items()}
        return {
            "useful_samples_per_minute": useful,
            "ratio": useful["ours"] / useful["published"] if useful["published"] else None,
            "ratio_by_processor": cost["ours"] / cost["published"] if cost["published"] else None,
            "stages": {name: run.pop("stages") for name, run in both.items()},
            "runs": both,
            "scaling": [self._scaled(config, name, on_run) for name in sizes],
        }

    def published(self, config: PublishedLoopConfig) -> dict[str, Any]:
        """Run the published loop for the time given; the count of what is useful is not timed."""
        loop = PublishedLoop(
            copy.deepcopy(self.policy),
            self.worlds[0],
            self.judge,
            self.starts,
            config,
            seed=self.seed,
        )
        with measured() as stage:
            loop.run(self.seconds)
        counts = (loop.rollouts, loop.updates, loop.useful)
        found = _per_minute(loop.times, loop.seconds, loop.processor_seconds, *counts)
        return found | {"peak_memory_mb": stage.peak_memory_mb, "samples": loop.samples}

    def ours(self, config: PracticeConfig) -> dict[str, Any]:
        """Practise for the time given, in all worlds side by side, each with one thread."""
        times, watch = StageTimes(ThreadStopwatch), Stopwatch()
        with torch_threads(1), measured() as stage:
            burst = Burst(
                copy.deepcopy(self.policy),
                [_TimedWorld(copy.copy(world), times) for world in self.worlds],
                _TimedJudge(self.judge, times),
                self.starts,
                replace(config, iterations=10_000),
                seed=self.seed,
            )
            result = burst.run(is_over=lambda: watch.seconds() > self.seconds)
            wall_s = watch.seconds()
        times.finish(stage.cpu_seconds)
        useful = sum(row["useful_chunks"] for row in result.curve)
        updates = sum("loss" in row for row in result.curve)
        rollouts = len(result.curve) * config.starts * config.group
        counts = (rollouts, updates, int(useful))
        found = _per_minute(times, wall_s, stage.cpu_seconds, *counts)
        return found | {"peak_memory_mb": stage.peak_memory_mb, "samples": int(useful)}

    def _scaled(self, config: PracticeConfig, name: str, on_run: OnRun) -> dict[str, Any]:
        on_run(name)
        found = self.ours(SCALED[name](config))
        del found["stages"]
        return {"what": name, **found}


SCALED: dict[str, Callable[[PracticeConfig], PracticeConfig]] = {
    "group 4": lambda c: replace(c, group=4),
    "group 16": lambda c: replace(c, group=16),
    "starts 4": lambda c: replace(c, starts=4),
    "starts 16": lambda c: replace(c, starts=16),
    "horizon 15": lambda c: replace(c, imagine=replace(c.imagine, chunks=3)),
    "horizon 60": lambda c: replace(c, imagine=replace(c.imagine, chunks=12)),
}
"""Sizes that are changed one at a time."""


def _per_minute(
    times: StageTimes, wall_s: float, processor_s: float, *counts: int
) -> dict[str, Any]:
    minutes, (rollouts, updates, useful) = wall_s / 60.0, counts
    return {
        "useful_samples_per_processor_minute": useful / (processor_s / 60.0),
        "busy_cores": processor_s / wall_s,
        "useful_samples_per_minute": useful / minutes,
        "rollouts_per_minute": rollouts / minutes,
        "judge_calls_per_minute": times.calls["judge"] / minutes,
        "updates_per_minute": updates / minutes,
        "stages": times.shares(),
        "seconds": wall_s,
    }


@dataclass(eq=False)
class _TimedWorld:
    """An imagination whose steps are timed."""

    world: Any
    times: StageTimes

    def reset(self, observations: Sequence[Observation]) -> ImageArray:
        with self.times.of("world"):
            frames: ImageArray = self.world.reset(observations)
        return frames

    def step(self, actions_BA: FloatArray) -> ImageArray:
        with self.times.of("world"):
            frames: ImageArray = self.world.step(actions_BA)
        return frames

    def keep(self, rows: Sequence[int]) -> None:
        self.world.keep(rows)


class _TimedJudge(ClassifierJudge):
    """A classifier whose answers are timed; a call is one look at one picture of one rollout."""

    def __init__(self, judge: ClassifierJudge, times: StageTimes) -> None:
        self._judge, self._times = judge, times
        self.instructions = judge.instructions

    def assess(
        self, first: ImageArray, images: ImageArray, instruction_ids: NDArray[np.int64]
    ) -> tuple[FloatArray, FloatArray]:
        with self._times.of("judge", len(images)):
            return self._judge.assess(first, images, instruction_ids)
