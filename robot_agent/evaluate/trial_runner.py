"""What a trial is asked of and what comes back, wherever it is run."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from robot_agent.sim.scenes import Scene

Outcome = Literal["success", "failure", "abort"]
"""An abort says nothing about the policy's skill: it is counted and in no rate."""
Place = Literal["sim", "ros", "robot"]


@dataclass(frozen=True)
class Job:
    """One trial to run."""

    index: int
    """Tells jobs apart."""
    policy: str
    scene: Scene
    instruction: str
    seed: int
    max_steps: int
    attempts: int = 1
    """How often it may be tried until it is no abort."""
    letter: str = "A"
    """What a person may know of the policy: its place among the shuffled ones of this start."""


@dataclass(frozen=True)
class TrialResult:
    """What came of one attempt."""

    outcome: Outcome
    steps: int
    safety_events: int | None = None
    """Steps that the guard changed, refused or held; None when nobody counted."""
    reason: str = ""
    """Why it was aborted."""
    judge_score: float | None = None
    """Success probability by the learned judge, when one was asked."""
    episode_id: str = ""
    """The recorded episode, when there is one."""


class TrialRunner(Protocol):
    """Runs trials in simulation, over ROS or on the robot."""

    @property
    def place(self) -> Place:
        """Where."""

    @property
    def judge(self) -> str:
        """Fingerprint of the judge that scores the trials; empty without one."""

    def run(self, jobs: Sequence[Job]) -> Generator[tuple[Job, TrialResult], None, None]:
        """Yield every attempt when it has ended; tries again after an abort while it may.

        Closing the generator ends the run; a trial in flight is lost and comes again.
        """
