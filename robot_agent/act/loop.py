"""The episode loop: observe, infer, execute a chunk, and again; weights change in between."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from robot_agent.act.executor import Numbering
from robot_agent.core.errors import InputError
from robot_agent.core.protocols import Policy, Sensor
from robot_agent.core.types import ACTION_DIM, Chunk, Observation, Proposal, require_array


class Driver(Protocol):
    """Takes one action at a time to the guard."""

    def execute(self, proposal: Proposal, is_cancelled: Callable[[], bool]) -> None:
        """Return when the action was executed for its full period, or at once when cancelled."""


class Slot(Protocol):
    """Holds the weights in use."""

    @property
    def is_recalled(self) -> bool:
        """Whether the weights in use must not act any more."""

    def swap_at_boundary(self) -> Policy:
        """Return the policy to use until the next boundary."""


@dataclass(frozen=True, kw_only=True)
class EpisodeTask:
    """What one episode is about."""

    instruction: str
    seed: int = 0
    max_steps: int = 60

    def __post_init__(self) -> None:
        """Refuse an empty instruction and a length that is not sensible."""
        if not self.instruction.strip():
            raise InputError("instruction is empty. Say what the robot shall do.")
        if not 1 <= self.max_steps <= 10_000:
            raise InputError(f"max_steps={self.max_steps} is outside [1, 10000]. Choose fewer.")


Infer = Callable[[Policy, Observation], Chunk]


def infer_here(policy: Policy, observation: Observation) -> Chunk:
    """Infer in the calling thread; simulation has no reason to do otherwise."""
    return policy.act(observation)


def run_episode(
    sensor: Sensor,
    slot: Slot,
    driver: Driver,
    task: EpisodeTask,
    *,
    numbering: Numbering,
    infer: Infer = infer_here,
    is_cancelled: Callable[[], bool] = lambda: False,
    on_step: Callable[[int, Proposal], None] = lambda *_: None,
) -> int:
    """Run one episode and return the number of actions that were executed.

    Synchronous, as in training: the observation of a chunk is taken when the last action of the
    chunk before it was executed for its full 200 ms, and the arm waits while the policy thinks.
    When the loop ends, for any reason, nothing more is proposed, and the guard holds. Weights that
    are recalled finish no chunk: the ones before them look again and act next.

    Raises:
        StaleObservationError: No fresh observation came.
        InputError: The policy does not know the instruction, or its chunk is malformed.
    """

    def is_over() -> bool:
        return slot.is_recalled or is_cancelled()

    steps, policy = 0, None
    while steps < task.max_steps and not is_cancelled():
        newest = slot.swap_at_boundary()
        if newest is not policy:
            policy = newest
            policy.reset(task.instruction, task.seed)
        chunk = infer(policy, sensor.observe())
        require_array("chunk.actions", chunk.actions, (None, ACTION_DIM), finite=False)
        for proposal in numbering.proposals(chunk)[: task.max_steps - steps]:
            if is_over():
                break
            driver.execute(proposal, is_over)
            steps += 1
            on_step(steps, proposal)
    return steps
