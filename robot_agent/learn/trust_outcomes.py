"""Task success in imagination beside what happened: by replaying actions, and in closed loop."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from robot_agent.core.protocols import Judge, WorldModel
from robot_agent.core.types import ImageArray
from robot_agent.learn.axis_sweep import roll_out
from robot_agent.learn.imagine import ImagineConfig, Start
from robot_agent.learn.practice import imagined_success
from robot_agent.learn.real_windows import RealEpisode
from robot_agent.models.classifier_judge import ClassifierJudge
from robot_agent.models.scaling import resize_squashed
from robot_agent.models.tiny_imagination import TinyImagination
from robot_agent.models.tiny_policy import TinyPolicy
from robot_agent.models.tiny_vla import instruction_id
from robot_agent.models.tiny_world import SIZE_PX


@dataclass(frozen=True)
class ReplayAgreement:
    """Success by the judge: of replayed imagination against the real pictures."""

    episodes: int
    both: int
    imagined_only: int
    """The model imagines a success that did not happen."""
    real_only: int
    """The model misses a success."""
    neither: int

    @property
    def agreed(self) -> float:
        """Share of the episodes on which both agree."""
        return (self.both + self.neither) / max(1, self.episodes)


def replay_agreement(
    world: WorldModel, episodes: Sequence[RealEpisode], judge: Judge, threshold: float
) -> ReplayAgreement:
    """Replay the recorded actions of whole episodes and let the judge compare both ends.

    A person's word on the outcome stands; otherwise the judge reads the real pictures too.
    """
    counts = {(True, True): 0, (True, False): 0, (False, True): 0, (False, False): 0}
    for episode in episodes:
        drawn = roll_out(world, [episode.observation(0)], episode.actions[None]).frames_BTHWC[0]
        imagined = _succeeded(judge, drawn, episode.instruction, threshold)
        real = (
            episode.outcome == "success"
            if episode.outcome in ("success", "failure")
            else _succeeded(judge, episode.frames, episode.instruction, threshold)
        )
        counts[imagined, real] += 1
    return ReplayAgreement(
        episodes=len(episodes),
        both=counts[True, True],
        imagined_only=counts[True, False],
        real_only=counts[False, True],
        neither=counts[False, False],
    )


def _succeeded(judge: Judge, frames: ImageArray, instruction: str, threshold: float) -> bool:
    ends = np.stack([resize_squashed(frames[i], SIZE_PX) for i in (0, -2, -1)])
    return bool(judge.score(ends[None], [instruction])[0] > threshold)


@dataclass(frozen=True)
class ClosedLoop:
    """Success of one policy on one task, imagined and real."""

    imagined: float
    rollouts: int
    real: float
    episodes: int

    def exceeds(self, limit: float) -> bool:
        """Return whether imagination promises more than reality keeps, one error granted."""
        return self.imagined - self.real > limit + float(np.sqrt(0.25 / max(1, self.episodes)))


def closed_loop(
    world: TinyImagination,
    policy: TinyPolicy,
    judge: ClassifierJudge,
    episodes: Sequence[RealEpisode],
    real_success: Callable[[RealEpisode], bool],
    *,
    seed: int,
) -> dict[str, ClosedLoop]:
    """Roll the policy out from the first real pictures; return by task both success rates.

    The episodes must be of the same weights. This is the test that exposes a policy which lives
    on the model's mistakes: replaying recorded actions does not.
    """
    known = [episode for episode in episodes if episode.instruction in judge.instructions]
    starts = [
        Start(episode.observation(0), instruction_id(episode.instruction, judge.instructions))
        for episode in known
    ]
    if not starts:
        return {}
    found = imagined_success(policy, world, judge, starts, ImagineConfig(), seed=seed)
    compared = {}
    for task, (rate, rollouts) in found.items():
        name = judge.instructions[task]
        real = [real_success(episode) for episode in known if episode.instruction == name]
        compared[name] = ClosedLoop(rate, rollouts, float(np.mean(real)), len(real))
    return compared


def plain(agreement: ReplayAgreement | None, loops: dict[str, ClosedLoop]) -> dict[str, Any]:
    """Return both as JSON."""
    replay = None if agreement is None else {**asdict(agreement), "agreed": agreement.agreed}
    return {"replay": replay, "closed_loop": {name: asdict(loop) for name, loop in loops.items()}}
