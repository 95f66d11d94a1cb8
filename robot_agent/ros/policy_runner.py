"""Runs episodes beside the executor: waits for observations, infers in a worker, paces steps."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from robot_agent.act.execution import ExecutionConfig
from robot_agent.act.executor import PERIOD_NS, Numbering, StepExecutor
from robot_agent.act.loop import run_episode
from robot_agent.act.observation import ObservationPairing
from robot_agent.act.planner import EpisodeTask, Planner
from robot_agent.act.policy_slot import PolicySlot
from robot_agent.core.errors import ArmFaultError, InputError, StaleObservationError
from robot_agent.core.types import Chunk, Observation, Proposal
from robot_agent.ros.clock import ScaledClock
from robot_agent.ros.inference_thread import InferenceThread, PatienceConfig


@dataclass(frozen=True, kw_only=True)
class RunnerConfig:
    """Waiting times of the episode thread, and how it executes chunks."""

    max_image_age_s: float = 0.5
    patience: PatienceConfig = field(default_factory=PatienceConfig)
    execution: ExecutionConfig = field(default_factory=ExecutionConfig)


@dataclass
class RunnerStatus:
    """What the episode thread has done; written by it, read by anyone."""

    instruction: str = ""
    chunk_id: int = 0
    chunks: int = 0
    starved_ticks: int = 0
    dropped_actions: int = 0
    inference_ms: float = 0.0
    message: str = ""
    late_steps: int = 0


class Witness(Protocol):
    """Hears of every episode and inference, and says how fast weights may act."""

    @property
    def speed(self) -> float:
        """Share of the ordinary speed limits for what is proposed now."""

    def begin_episode(self, task: EpisodeTask) -> None:
        """Take note before the first boundary; may change which weights act."""

    def instruct(self, instruction: str) -> None:
        """Take note before the first inference that follows another instruction."""

    def saw(self, observation: Observation, chunk: Chunk, seconds: float) -> None:
        """Take note of an inference; must not wait."""

    def end_episode(self) -> None:
        """Take note after the last proposal."""


class PolicyRunner:
    """One episode at a time, in the thread that calls `run`."""

    def __init__(
        self,
        slot: PolicySlot,
        pairing: ObservationPairing,
        clock: ScaledClock,
        config: RunnerConfig,
        *,
        send: Callable[[Proposal], None],
        heartbeat: Callable[[], None],
        why_not: Callable[[], str],
        witness: Witness,
    ) -> None:
        """Propose through `send`; `why_not` says why the arm cannot be moved, or nothing."""
        self._witness = witness
        self.slot, self.status = slot, RunnerStatus()
        self._pairing, self._clock, self._config = pairing, clock, config
        self._send, self._heartbeat, self._why_not = send, heartbeat, why_not
        self.is_operated: Callable[[], bool] = lambda: False
        """Whether an operator has the arm: the policy then waits, and looks again afterwards."""
        self._inference = InferenceThread(clock, config.patience, pairing.wake, self._heard)
        self._steps = StepExecutor(clock, self._dispatch, self._beat, self._wait)
        self._planner = self._make_planner()
        self._lock = threading.Lock()
        self._begin_ns, self._witnessed, self._away = 0, "", ""

    def _make_planner(self) -> Planner:
        return Planner(
            self,
            self.slot,
            self._inference,
            self._steps,
            clock=self._clock,
            numbering=Numbering(self._clock.now_ns()),
            config=self._config.execution,
            is_operated=self._has_operator,
        )

    @property
    def is_running(self) -> bool:
        """Whether an episode is under way."""
        return self._lock.locked()

    def swap_if_idle(self) -> bool:
        """Let a waiting candidate take over at once when no episode runs; return whether."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            self.slot.swap_at_boundary()
            return True
        finally:
            self._lock.release()

    def instruct(self, instruction: str) -> None:
        """Change the instruction of the episode under way, from its next chunk on.

        Raises:
            InputError: The instruction is empty, or no episode runs.
        """
        if not self.is_running:
            raise InputError(
                f"instruction '{instruction}': no episode runs. Start one: robot-agent run"
            )
        self._planner.instruct(instruction)

    def run(
        self,
        task: EpisodeTask,
        is_cancelled: Callable[[], bool],
        on_step: Callable[[int, Proposal], None],
    ) -> tuple[int, str]:
        """Run one episode; return its steps and why it ended early, or an empty text.

        Raises:
            ArmFaultError: An episode runs already.
            RobotAgentError: The policy refused the task.
        """
        if not self._lock.acquire(blocking=False):
            raise ArmFaultError("an episode is running; cancel it or wait for its end.")
        steps, reason = [0], [""]

        def interrupted() -> bool:
            if not reason[0] and is_cancelled():
                operated = self.is_operated()
                reason[0] = "ended while the operator had control" if operated else "cancelled"
            reason[0] = reason[0] or self._trouble()
            return bool(reason[0])

        def count(step: int, proposal: Proposal) -> None:
            steps[0] = step
            on_step(step, proposal)

        try:
            self._begin(task)
            run_episode(self._planner, self._steps, task, is_cancelled=interrupted, on_step=count)
        except (StaleObservationError, ArmFaultError) as error:
            reason[0] = str(error)
        finally:
            self.status.instruction = ""
            self._witness.end_episode()
            self.slot.swap_at_boundary()  # an offer that came during the last chunk
            self._lock.release()
        return steps[0], reason[0]

    def _begin(self, task: EpisodeTask) -> None:
        self.status.instruction, self._begin_ns = task.instruction, self._clock.now_ns()
        self._witnessed = task.instruction
        self._witness.begin_episode(task)
        self._pairing.clear()  # what was seen before the episode does not count in it

    def close(self) -> None:
        """End the worker after the inference under way."""
        self._inference.close()

    def newest(self, not_before_ns: int) -> Observation | None:
        """Return the newest observation that is not older, or None while there is none yet.

        Raises:
            StaleObservationError: There should have been one for as long as pictures may age.
        """
        now_ns = self._clock.now_ns()
        observation = self._pairing.newest(now_ns, not_before_ns)
        if observation is None and self._has_waited_since(not_before_ns, now_ns):
            raise StaleObservationError(
                "camera and joints", self._image_age_s(), self._config.max_image_age_s
            )
        return observation

    def _has_waited_since(self, not_before_ns: int, now_ns: int) -> bool:
        return now_ns - not_before_ns > self._config.max_image_age_s * 1e9

    def _image_age_s(self) -> float:
        return (self._clock.now_ns() - self._pairing.newest_stamp_ns()) * 1e-9

    def _trouble(self) -> str:
        """Return why the episode must end: the guard, or a camera that stopped or froze."""
        if self._pairing.is_frozen:
            return "camera: the same picture keeps coming while the arm moves. Check the camera."
        if self._pairing.is_skewed(self._clock.now_ns()):
            return (
                "camera and joints: their stamps are farther apart than an observation may be. "
                "Measure the camera's latency_s, or restart the one that lags."
            )
        age_s = self._image_age_s()
        if self._steps.end_ns >= self._begin_ns and age_s > self._config.max_image_age_s:
            return str(StaleObservationError("camera", age_s, self._config.max_image_age_s))
        return self._why_not()

    def _heard(self, observation: Observation, chunk: Chunk, seconds: float) -> None:
        """Take note of an inference."""
        if self._planner.asked != self._witnessed:
            self._witnessed = self._planner.asked
            self._witness.instruct(self._witnessed)
        self._witness.saw(observation, chunk, seconds)
        self.status.inference_ms = seconds * 1e3
        self.status.chunks += 1

    def _has_operator(self) -> bool:
        return self.is_operated()

    def _beat(self) -> None:
        """Show life, unless the arm waits for an inference that takes longer than it may."""
        status, planner = self.status, self._planner
        status.starved_ticks, status.dropped_actions = self._steps.starved_ticks, planner.dropped
        if self.is_running:
            status.instruction = planner.instruction
        status.message = self._words()
        if not (self._steps.is_holding and self._inference.is_overdue):
            self._heartbeat()

    def _words(self) -> str:
        """Return what a person should know; that the policy is away only while it is."""
        before, self._away = self._away, self._planner.away
        words = "" if self.status.message == before else self.status.message
        return self._away or self._planner.refusal or words

    def _wait(self, until_ns: int) -> None:
        """Return at `until_ns`, or when there is a chunk or something new to see."""
        is_first = True
        while (left_ns := until_ns - self._clock.now_ns()) > 0:
            if not is_first and not self._inference.is_thinking:
                return
            self._pairing.wait(self._clock.wall_seconds(left_ns))
            is_first = False

    def _dispatch(self, proposal: Proposal) -> None:
        """Send one proposal at the speed that its weights may have."""
        self.status.chunk_id = proposal.chunk_id
        self.status.late_steps += sum(late > PERIOD_NS // 10 for late in self._steps.late_ns)
        self._steps.late_ns.clear()
        self._send(replace(proposal, speed=self._witness.speed))
