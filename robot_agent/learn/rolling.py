"""Rollouts in several worlds side by side, each with a judge beside it in a thread of its own."""

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch

from robot_agent.core.daemon_pool import DaemonPool
from robot_agent.learn.doubt import disagreement
from robot_agent.learn.imagine import Imagination, ImagineConfig, Start, imagine
from robot_agent.learn.judging import Attended, Beside, ClipReward, FrameJudge
from robot_agent.learn.rollouts import Rollouts, merge
from robot_agent.learn.stoppable import Stoppable
from robot_agent.models.chunk_policy import ChunkPolicy

IsOver = Callable[[], bool]


class Rolling:
    """Rolls a policy out; use it in a `with`, and each world in one thread at a time.

    Pictures are judged while the world goes on to the next ones, clips while the next group is
    rolled out. The rollouts are those of the serial order.
    """

    def __init__(
        self,
        policy: ChunkPolicy,
        worlds: Sequence[Imagination],
        judge: FrameJudge | ClipReward,
        config: ImagineConfig,
        *,
        group: int,
    ) -> None:
        """Start a judge's thread for each world."""
        self._policy, self._worlds, self._judge = policy, worlds, judge
        self._config, self._group = config, group
        self._pools = [DaemonPool(1, f"judge-{index}") for index in range(len(worlds))]

    def roll_out(
        self,
        index: int,
        starts: Sequence[Start],
        version: int,
        generator: torch.Generator,
        *,
        is_over: IsOver,
    ) -> Rollouts:
        """Return a group of rollouts of each start in one world.

        Raises:
            OutOfBudgetError: `is_over` said so, while imagining or waiting for the judge.
        """
        world = Stoppable(self._worlds[index], is_over)
        beside, judge = Beside(self._pools[index], is_over), self._judge

        def rolled(some: Sequence[Start], by: Attended | None) -> Rollouts:
            return imagine(
                world,
                self._policy,
                by,
                some,
                self._config,
                group=self._group,
                version=version,
                generator=generator,
            )

        if not isinstance(judge, ClipReward):
            return rolled(starts, Attended(judge, beside))
        weight = self._config.progress_weight
        asked = [beside(judge.judged, rolled([start], None), weight) for start in starts]
        return merge([answer() for answer in asked])

    def drop_doubted(
        self,
        index: int,
        starts: Sequence[Start],
        rollouts: Rollouts,
        limit: float,
        is_over: IsOver,
    ) -> None:
        """Keep only the known rollouts that the next world tells like this one, within `limit`."""
        judge = self._judge
        assert not isinstance(judge, ClipReward), "disagreement needs a judge of frames"
        other = Stoppable(copy.copy(self._worlds[(index + 1) % len(self._worlds)]), is_over)
        doubt = disagreement(other, self._policy, judge, starts, rollouts)
        rollouts.kept_B = (doubt <= limit) & ~np.isnan(rollouts.success_B)

    def __enter__(self) -> "Rolling":
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the judges behind."""
        for pool in self._pools:
            pool.close()
