"""A burst of practice: imagine, judge, update, until the iterations or the time are used up."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from robot_agent.core.config import require_range
from robot_agent.core.errors import ConfigError
from robot_agent.learn.anchor import Anchor
from robot_agent.learn.budget import OutOfBudgetError
from robot_agent.learn.checkpoint import BurstState, fingerprint
from robot_agent.learn.groups import WaitingGroups
from robot_agent.learn.grpo import GrpoConfig, TinyPolicyLearner, batch_metrics
from robot_agent.learn.held_out import HeldOutCheck
from robot_agent.learn.imagine import Imagination, ImagineConfig, Start, imagine
from robot_agent.learn.judging import ClipReward, FrameJudge
from robot_agent.learn.rolling import Rolling
from robot_agent.learn.rollouts import Rollouts, merge
from robot_agent.learn.starts import draw_starts, shares_of
from robot_agent.models.chunk_policy import ChunkPolicy

OnIteration = Callable[[int, int, dict[str, float]], None]


@dataclass(frozen=True, kw_only=True)
class PracticeConfig:
    """How long and how wide one burst is."""

    iterations: int = 20
    starts: int = 8
    """Start frames per iteration, instructions mixed."""
    group: int = 8
    """Rollouts of each start frame; advantages are relative to them."""
    min_groups: int = 4
    """Groups of mixed reward that an update needs; fewer wait for the next iteration."""
    max_groups: int = 8
    """Groups that an update takes at most; more wait for the next update."""
    max_disagreement: float = 1.0
    """Difference of best progress in another member beyond which a rollout teaches nothing; 1
    asks no other member."""
    check_every: int = 0
    """Iterations between looks at the held-out judge and member; 0 never looks."""
    max_drop: float = 0.15
    """Fall of held-out success, while success in practice rises, that ends the burst."""
    overlap: bool = False
    """Update on the groups of earlier iterations while the next ones are imagined by the weights
    before: no core waits for the trainer, and rollouts are one update older."""
    save_every: int = 5
    """Iterations between checkpoints."""
    imagine: ImagineConfig = field(default_factory=ImagineConfig)
    grpo: GrpoConfig = field(default_factory=GrpoConfig)

    def __post_init__(self) -> None:
        """Check ranges."""
        require_range("iterations", self.iterations, 1, 10_000)
        require_range("starts", self.starts, 1, 512)
        require_range("group", self.group, 2, 64)
        require_range("max_groups", self.max_groups, 1, 4096)
        require_range("min_groups", self.min_groups, 1, self.max_groups)
        require_range("max_disagreement", self.max_disagreement, 0.01, 1.0)
        require_range("check_every", self.check_every, 0, 10_000)
        require_range("max_drop", self.max_drop, 0.01, 1.0)
        require_range("save_every", self.save_every, 1, 10_000)
        require_range("max_staleness", self.grpo.max_staleness, int(self.overlap), 100)


@dataclass(eq=False)
class Safeguards:
    """What a burst may lean on besides its worlds and judge; everything is optional."""

    anchor: Anchor | None = None
    """What the policy is held to, where a divergence has a weight."""
    held_out_world: Imagination | None = None
    """Member that practice never sees."""
    held_out_judge: FrameJudge | None = None
    """Judge that is never a reward."""
    checkpoint: Path | None = None
    """File that lets a burst that was killed go on to the same curve."""


@dataclass(eq=False)
class PracticeResult:
    """What a burst showed."""

    curve: list[dict[str, float]]
    """Metrics of each iteration."""
    clip: NDArray[np.uint8]
    """Frames of one imagined episode of the last iteration."""
    stopped: str = ""
    """Why it ended before its iterations; empty when it did not."""


def practise(
    policy: ChunkPolicy,
    worlds: Sequence[Imagination],
    judge: FrameJudge | ClipReward,
    starts: Sequence[Start],
    config: PracticeConfig,
    *,
    seed: int,
    on_iteration: OnIteration | None = None,
    is_over: Callable[[], bool] = lambda: False,
) -> PracticeResult:
    """Improve `policy` in place by imagined episodes: a `Burst` without safeguards."""
    burst = Burst(policy, worlds, judge, starts, config, seed=seed)
    return burst.run(on_iteration, is_over)


class Burst:
    """One burst of practice.

    Every iteration practises in all worlds side by side, one thread each, every world with its
    own start frames and random numbers, so that the outcome does not depend on the threads.
    """

    def __init__(
        self,
        policy: ChunkPolicy,
        worlds: Sequence[Imagination],
        judge: FrameJudge | ClipReward,
        starts: Sequence[Start],
        config: PracticeConfig,
        *,
        seed: int,
        safeguards: Safeguards | None = None,
    ) -> None:
        """Take what is practised; a checkpoint of another seed or configuration is not used.

        Raises:
            ConfigError: A check is asked for and what it needs is missing.
        """
        self._guards = safeguards or Safeguards()
        _require_parts(config, self._guards, len(worlds), judge)
        self._policy, self._worlds, self._judge = policy, worlds, judge
        self._starts, self._config, self._seed = starts, config, seed
        self._learner = TinyPolicyLearner(
            policy, config.grpo, config.imagine.temperature, self._guards.anchor
        )
        self._check = HeldOutCheck(config.max_drop)
        self._state = self._fresh()

    def _fresh(self) -> BurstState:
        config, seed = self._config, self._seed
        count = len(self._worlds) + 1
        return BurstState(
            learner=self._learner,
            rng=np.random.default_rng(seed),
            generators=[torch.Generator().manual_seed(seed * 97 + i) for i in range(count)],
            waiting=WaitingGroups(
                least=config.min_groups,
                most=config.max_groups,
                max_staleness=config.grpo.max_staleness,
            ),
            made_by=fingerprint(self._policy, config, seed),
        )

    def run(
        self,
        on_iteration: OnIteration | None = None,
        is_over: Callable[[], bool] = lambda: False,
    ) -> PracticeResult:
        """Practise what is left of the burst.

        When `is_over` says so, or an exception such as Ctrl-C comes, imagining ends within one
        step and the weights are those of the last whole update.
        """
        state, stop, path = self._state, threading.Event(), self._guards.checkpoint
        if path is not None:
            state.load(path)
        reason, config = "", self._config
        acting = self._policy.twin() if config.overlap else self._policy
        rolling = Rolling(acting, self._worlds, self._judge, config.imagine, group=config.group)
        with ThreadPoolExecutor(len(self._worlds)) as pool, rolling:
            try:
                while state.iteration < config.iterations and not (reason or is_over()):
                    self._iterate(pool, rolling, lambda: stop.is_set() or is_over())
                    if config.overlap:
                        acting.restore(self._policy.trained())
                    if on_iteration is not None:
                        on_iteration(state.iteration, config.iterations, state.curve[-1])
                    reason = self._look() or self._spent()
                    if path is not None and state.iteration % config.save_every == 0:
                        state.save(path)
            except OutOfBudgetError as error:
                reason = str(error)
            finally:
                stop.set()
        return PracticeResult(state.curve, state.clip, reason)

    def _iterate(
        self, pool: ThreadPoolExecutor, rolling: Rolling, is_over: Callable[[], bool]
    ) -> None:
        state, config = self._state, self._config
        shares = shares_of(config.starts, len(self._worlds), state.iteration)
        drawn = [draw_starts(self._starts, share, state.rng) for share in shares]
        version = self._learner.version

        def roll_out(index: int) -> Rollouts:
            generator, starts = state.generators[1 + index], drawn[index]
            found = rolling.roll_out(index, starts, version, generator, is_over=is_over)
            if config.max_disagreement < 1.0:
                limit = config.max_disagreement
                rolling.drop_doubted(index, starts, found, limit, is_over=is_over)
            return found

        rolled = [pool.submit(roll_out, int(index)) for index in np.flatnonzero(shares)]
        updated = self._update(version, is_over) if config.overlap else {}
        fresh = merge([future.result() for future in rolled])
        state.waiting.add(fresh)
        if not config.overlap:
            updated = self._update(version, is_over)
        dropped = {"dropped": float(state.waiting.dropped)}
        state.curve.append({**updated, **batch_metrics(fresh), **dropped})
        state.clip = fresh.clip
        state.iteration += 1

    def _update(self, version: int, is_over: Callable[[], bool]) -> dict[str, float]:
        batch = self._state.waiting.take(version)
        if batch is None:
            return {"useful_chunks": 0.0}
        return self._learner.update(batch, self._state.generators[0], is_over)

    def _spent(self) -> str:
        return self._judge.spent if isinstance(self._judge, ClipReward) else ""

    def _look(self) -> str:
        """Ask the held-out judge and member now and then; return why to stop, or nothing."""
        state, config = self._state, self._config
        if not config.check_every or state.iteration % config.check_every:
            return ""
        world, judge = self._guards.held_out_world, self._guards.held_out_judge
        if world is None or judge is None:
            return ""  # refused in __init__
        starts = draw_starts(self._starts, config.starts, np.random.default_rng(self._seed))
        found = imagined_success(
            self._policy, world, judge, starts, config.imagine, seed=self._seed, repeats=2
        )
        if not found:
            return ""  # the held-out judge cannot say
        held_out = float(np.mean([rate for rate, _ in found.values()]))
        state.curve[-1]["held_out"] = held_out
        recent = [row["success"] for row in state.curve[-config.check_every :]]
        return self._check.stops(float(np.mean(recent)), held_out, self._policy)


def _require_parts(
    config: PracticeConfig, guards: Safeguards, num_worlds: int, judge: FrameJudge | ClipReward
) -> None:
    is_held_out = guards.held_out_world is not None and guards.held_out_judge is not None
    if config.check_every and not is_held_out:
        raise ConfigError(
            f"check_every={config.check_every} needs a held-out judge and world, there are none. "
            f"Give both, or set it to 0."
        )
    if config.max_disagreement < 1.0 and num_worlds < 2:
        raise ConfigError(
            f"max_disagreement={config.max_disagreement} needs 2 members, there are "
            f"{num_worlds}. Finetune more, or set it to 1."
        )
    if config.max_disagreement < 1.0 and isinstance(judge, ClipReward):
        raise ConfigError(
            f"max_disagreement={config.max_disagreement} needs a judge of frames, the reward "
            f"judges clips. Set it to 1, or choose a classifier."
        )


def imagined_success(
    policy: ChunkPolicy,
    world: Imagination,
    judge: FrameJudge,
    starts: Sequence[Start],
    config: ImagineConfig,
    *,
    seed: int,
    repeats: int = 4,
) -> dict[int, tuple[float, int]]:
    """Return closed-loop success (rate, rollouts) in imagination per instruction id.

    Only of rollouts that the judge knows; a task of which it knows none is left out.
    """
    generator = torch.Generator().manual_seed(seed)
    rollouts = imagine(
        world, policy, judge, starts, config, group=repeats, version=0, generator=generator
    )
    known = ~np.isnan(rollouts.success_B)
    ids, success = rollouts.instructions_B.numpy()[known], rollouts.success_B[known]
    return {
        int(task): (float(success[ids == task].mean()), int((ids == task).sum()))
        for task in np.unique(ids)
    }
