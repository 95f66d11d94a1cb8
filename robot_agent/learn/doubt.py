"""Whether another member of the ensemble would have told the same story."""

from collections.abc import Sequence

import numpy as np

from robot_agent.core.types import FloatArray
from robot_agent.learn.imagine import Imagination, Start
from robot_agent.learn.judging import FrameJudge
from robot_agent.learn.rollouts import Rollouts
from robot_agent.models.chunk_policy import ChunkPolicy
from robot_agent.models.tiny_policy import CHUNK


def disagreement(
    other: Imagination,
    policy: ChunkPolicy,
    judge: FrameJudge,
    starts: Sequence[Start],
    rollouts: Rollouts,
) -> FloatArray:
    """Return |best progress as imagined - best progress in `other`| (B,), both in [0, 1].

    The same actions are taken from the same start frames in another member. Doubles the frames.
    """
    repeated = [start for start in starts for _ in range(rollouts.group)]
    frames = other.reset([start.observation for start in repeated])
    ids, first = rollouts.instructions_B.numpy(), frames
    alive = np.arange(len(ids))
    best, last = np.zeros(len(ids)), np.zeros(len(ids))
    actions = policy.bridge_actions(rollouts.tokens_BNKA)
    for step in range(rollouts.mask_BN.shape[1] * CHUNK):
        n, k = divmod(step, CHUNK)
        if k == 0:
            staying = np.flatnonzero(rollouts.mask_BN[alive, n].numpy() > 0.0)
            alive = alive[staying]
            other.keep(staying.tolist())
            if len(alive) == 0:
                break
        frames = other.step(actions[alive, n, k])
        _, progress = judge.assess(first[alive], frames, ids[alive])
        smooth = 0.5 * (progress + last[alive]) if step else progress
        best[alive] = np.maximum(best[alive], smooth)
        last[alive] = progress
    return np.asarray(np.abs(rollouts.progress_B - best))
