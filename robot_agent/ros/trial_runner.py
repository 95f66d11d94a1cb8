"""Trials over ROS through the running agent: simulated, or on the robot."""

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, Protocol

from robot_agent.core.errors import ArmFaultError
from robot_agent.evaluate.success import SuccessSource
from robot_agent.evaluate.trial_runner import Job, Outcome, Place, TrialResult

_MAX_FAULTS = 3
"""Trials in a row without an answer of the agent, after which nobody is there."""


class Agent(Protocol):
    """What is asked of the running agent: an `AgentClient`."""

    @property
    def policy_status(self) -> Any:
        """The newest policy/status, or None."""

    @property
    def guard_state(self) -> Any:
        """The newest guard/state, or None."""

    @property
    def sim_state(self) -> Any:
        """The newest sim/state, or None on a robot."""

    def promote(self, version: str) -> str:
        """Let a release act from the next boundary on."""

    def run_task(
        self,
        instruction: str,
        *,
        seed: int,
        max_steps: int,
        scene: str,
        is_simulated: bool,
        is_recorded: bool,
        is_cancelled: Callable[[], bool],
        on_step: Callable[[Any], None],
    ) -> Any:
        """Run one episode and return its report."""


class RosRunner:
    """Runs trials one after the other through an agent; see `TrialRunner`.

    The release of each trial's policy is promoted before it, by the same hot swap that adaptation
    uses; the release that acted at the start acts again at the end.
    """

    def __init__(
        self,
        agent: Agent,
        versions: Mapping[str, str],
        success: SuccessSource,
        *,
        place: Place = "ros",
        judge: str = "",
        is_recorded: bool = False,
        prepare: Callable[[Job], None] = lambda _: None,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        """Run policies, given as name to release version.

        Args:
            agent: The running agent.
            versions: Name of each policy to the release in the agent's registry.
            success: Decides on trials that ran to their end.
            place: `ros` for the simulated arm, which is put to the start of each seed, or `robot`.
            judge: Fingerprint of the judge that `success` asks, if any.
            is_recorded: Record episodes, for a judge or for clips.
            prepare: Called before each attempt; returns when the scene is at its start.
            is_cancelled: Asked all along; when true, the arm is stopped and the run ends.
        """
        self._agent, self._versions, self._success = agent, dict(versions), success
        self.place, self.judge = place, judge
        self._is_recorded, self._prepare = is_recorded, prepare
        self._is_cancelled = is_cancelled
        self._num_faults = 0

    def run(self, jobs: Sequence[Job]) -> Generator[tuple[Job, TrialResult], None, None]:
        """Yield every attempt as it ends.

        Raises:
            ArmFaultError: A release cannot be promoted, or the agent does not answer any more.
            KeyboardInterrupt: It was cancelled; the trial in flight is lost and comes again.
        """
        status = self._agent.policy_status
        before = str(status.active_version) if status else ""
        try:
            for job in jobs:
                for _ in range(job.attempts):
                    result = self._attempt(job)
                    if self._is_cancelled():
                        raise KeyboardInterrupt
                    yield job, result
                    if result.outcome != "abort":
                        break
        finally:
            if before:
                self._agent.promote(before)

    def _attempt(self, job: Job) -> TrialResult:
        self._prepare(job)
        version = self._versions[job.policy]
        self._agent.promote(version)
        seen = _Seen()

        try:
            report = self._agent.run_task(
                job.instruction,
                seed=job.seed,
                max_steps=job.max_steps,
                scene=job.scene.name,
                is_simulated=self.place == "ros",
                is_recorded=self._is_recorded,
                is_cancelled=self._is_cancelled,
                on_step=lambda feedback: seen.step(self._agent, int(feedback.step)),
            )
        except ArmFaultError as error:
            return self._fault(error)
        self._num_faults = 0
        if self._is_cancelled():
            return TrialResult("abort", report.steps, seen.events, "cancelled")
        if report.outcome == "abort" or report.weights_version != version:
            wrong = f"{report.weights_version} acted, {version} was promoted"
            reason = report.message if report.outcome == "abort" else wrong
            return TrialResult(
                "abort", report.steps, seen.events, reason or "aborted by the agent"
            )
        outcome, score = self._success.decide(job, report.episode_id, _known(report.outcome))
        reason = "aborted by who decides on success" if outcome == "abort" else ""
        steps = seen.solved_at if outcome == "success" and seen.solved_at else report.steps
        return TrialResult(outcome, steps, seen.events, reason, score, report.episode_id)

    def _fault(self, error: ArmFaultError) -> TrialResult:
        """Return an abort; raise when the agent did not answer several times in a row."""
        self._num_faults += 1
        if self._num_faults >= _MAX_FAULTS:
            raise error
        return TrialResult("abort", 0, reason=str(error))


class _Seen:
    """What a trial shows while it runs."""

    def __init__(self) -> None:
        self.events = 0
        """Steps that the guard changed, refused or held."""
        self.solved_at = 0
        """Step since which the simulation has called it solved; 0 where it does not."""

    def step(self, agent: Agent, step: int) -> None:
        """Take what is known when a step has been executed."""
        guard, truth = agent.guard_state, agent.sim_state
        self.events += bool(guard and (guard.changes or guard.causes))
        is_solved = bool(truth and truth.success)
        self.solved_at = (self.solved_at or step) if is_solved else 0


def _known(outcome: str) -> Outcome:
    return "success" if outcome == "success" else "failure"
