"""How chunks are executed: four modes, and what each makes of a chunk that overlaps the plan."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robot_agent.core.bridge_action import STEP_LIMIT_M, STEP_LIMIT_RAD
from robot_agent.core.config import require_range
from robot_agent.core.types import FloatArray

MODES = ("synchronous", "asynchronous", "real_time_chunking", "temporal_ensembling")
"""Modes of execution, by the names that the field gives them."""
GRIPPER = 6
"""Index of the gripper in an action."""
_OPEN = 0.5
_STEP = np.array([STEP_LIMIT_M] * 3 + [STEP_LIMIT_RAD] * 3)


@dataclass(frozen=True, kw_only=True)
class ExecutionConfig:
    """When an inference begins, and how its chunk joins what is planned already.

    - synchronous: the arm finishes what is planned, holds, and looks; as in training.
    - asynchronous: an inference begins when few actions are left; its chunk takes their place.
    - real_time_chunking: the same, and the chunk goes on from the plan: policies that can be
      guided make it so, for the others the overlap fades from the plan to the chunk.
    - temporal_ensembling: the same, and every action is the weighted mean of all that was
      predicted for its step; the gripper is voted on.

    Sources: K. Black, M. Galliker, S. Levine, Real-time execution of action chunking flow
    policies, arXiv 2506.07339; T. Zhao et al., Learning fine-grained bimanual manipulation with
    low-cost hardware, arXiv 2304.13705 (temporal ensembling).
    """

    mode: str = "synchronous"
    refill: int = 0
    """An inference begins when fewer actions than this are left; 0 chooses by measured latency,
    see `refill_after`. Of no account in synchronous."""
    horizon: int = 0
    """Actions of a chunk that are used at most; 0 uses all."""
    catches_up: bool = True
    """Whether a late chunk's first actions lead to where its dropped ones would have led."""
    decay: float = 0.01
    """Weight of the i-th oldest prediction of a step is exp(-decay i); of temporal_ensembling."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.mode not in MODES:
            raise ValueError(f"mode='{self.mode}' is not one of {', '.join(MODES)}")
        require_range("refill", self.refill, 0, 100)
        require_range("horizon", self.horizon, 0, 100)
        require_range("decay", self.decay, -10.0, 10.0)

    @property
    def is_synchronous(self) -> bool:
        """Whether the arm holds while the policy thinks."""
        return self.mode == "synchronous"


def refill_after(latencies_ns: Sequence[int], chunk: int, period_ns: int) -> int:
    """Return with how many actions left, or fewer, an inference should begin.

    Where an inference takes no longer than a step, every step is looked at. A slower one begins
    when the slowest of the newest would come a step before it is needed: what it replaces was
    chosen on a picture that is hardly older, and every exchange of chunks costs. Half of a chunk
    is executed in any case.

    Args:
        latencies_ns: The newest ones, at least one.
        chunk: Actions of a chunk that are used.
        period_ns: Of a step.
    """
    typical_ns = sorted(latencies_ns)[len(latencies_ns) // 2]
    if typical_ns <= period_ns:
        return chunk
    return min(-(-max(latencies_ns) // period_ns) + 1, chunk // 2 + 1)


def caught_up(actions: FloatArray, late: int, executed: FloatArray) -> FloatArray:
    """Return a late chunk's actions such that the arm comes to where the chunk wants it.

    Actions are relative moves, so those that were executed while the chunk was made have led
    elsewhere than the chunk's own, which are dropped. The difference is made up for by the next
    actions, each of them inside the Box of one step.

    Args:
        actions: Bridge actions (K, 7) of the chunk.
        late: How many of them are dropped.
        executed: Bridge actions (late, 7) that were executed in their stead.
    """
    made = actions.copy()
    rest = actions[:late, :GRIPPER].sum(axis=0) - executed[:, :GRIPPER].sum(axis=0)
    for index in range(late, len(made)):
        wanted = made[index, :GRIPPER] + rest
        made[index, :GRIPPER] = np.clip(wanted, -_STEP, _STEP)
        rest = wanted - made[index, :GRIPPER]
    return made


def fade(index: int, overlap: int) -> float:
    """Return the weight of the plan at the `index`-th of `overlap` steps that both have.

    With c = (overlap - index) / (overlap + 1) it is c (e^c - 1) / (e - 1): near 1 at first, near
    0 at last.

    Source: arXiv 2506.07339, equation 5, between the frozen prefix and the plan's end.
    """
    c = (overlap - index) / (overlap + 1)
    return float(c * np.expm1(c) / np.expm1(1.0))


def mix(predictions: Sequence[FloatArray], weights: Sequence[float]) -> FloatArray:
    """Return the weighted mean of actions (7,) of one step; the gripper is voted on.

    The side of the gripper, open or closed, that has more weight wins, and its own mean is taken:
    a hand that half of the predictions open is not half open. A number that is not finite makes
    the whole action so: it is the guard's to refuse.
    """
    actions, shares = np.stack(predictions), np.asarray(weights, np.float64)
    if not np.isfinite(actions).all():
        return np.full(actions.shape[1], np.nan)
    mean: FloatArray = shares @ actions / shares.sum()
    is_open = actions[:, GRIPPER] > _OPEN
    side = is_open if shares[is_open].sum() > shares[~is_open].sum() else ~is_open
    mean[GRIPPER] = shares[side] @ actions[side, GRIPPER] / shares[side].sum()
    return mean
