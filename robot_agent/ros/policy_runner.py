"""Runs episodes beside the executor: waits for observations, infers in a worker, paces steps."""

import threading
from collections.abc import Callable
from concurrent.futures import Future as WorkerFuture
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as WorkerTimeoutError
from dataclasses import dataclass, replace
from typing import Protocol

from robot_agent.act.executor import HEARTBEAT_NS, PERIOD_NS, Numbering, StepExecutor
from robot_agent.act.loop import EpisodeTask, run_episode
from robot_agent.act.observation import ObservationPairing
from robot_agent.act.policy_slot import PolicySlot
from robot_agent.core.clock import Stopwatch
from robot_agent.core.errors import ArmFaultError, StaleObservationError
from robot_agent.core.protocols import Policy
from robot_agent.core.types import Chunk, Observation, Proposal
from robot_agent.ros.clock import ScaledClock


@dataclass(frozen=True, kw_only=True)
class RunnerConfig:
    """Waiting times of the episode thread."""

    max_image_age_s: float = 0.5
    max_inference_s: float = 1.0
    """While an inference takes no longer the loop counts as alive."""
    max_hang_s: float = 10.0
    """An inference that takes longer is given up, with its worker."""


@dataclass
class RunnerStatus:
    """What the episode thread has done; written by it, read by anyone."""

    instruction: str = ""
    chunk_id: int = 0
    chunks: int = 0
    starved_ticks: int = 0
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
        self._must_end: Callable[[], bool] = lambda: False
        self._steps = StepExecutor(clock, self._dispatch, heartbeat)
        self._numbering = Numbering(clock.now_ns())
        self._worker = self._new_worker()
        self._lock = threading.Lock()
        self._begin_ns = 0

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
            reason[0] = reason[0] or ("cancelled" if is_cancelled() else self._trouble())
            return bool(reason[0])

        def count(step: int, proposal: Proposal) -> None:
            steps[0] = step
            on_step(step, proposal)

        try:
            self._begin(task, interrupted)
            run_episode(
                self,
                self.slot,
                self._steps,
                task,
                numbering=self._numbering,
                infer=self._infer,
                is_cancelled=interrupted,
                on_step=count,
            )
        except (StaleObservationError, ArmFaultError) as error:
            reason[0] = str(error)
        finally:
            self.status.instruction = ""
            self._witness.end_episode()
            self.slot.swap_at_boundary()  # an offer that came during the last chunk
            self._lock.release()
        return steps[0], reason[0]

    def _begin(self, task: EpisodeTask, must_end: Callable[[], bool]) -> None:
        self.status.instruction, self._begin_ns = task.instruction, self._clock.now_ns()
        self._must_end = must_end
        self._witness.begin_episode(task)
        self._pairing.clear()  # what was seen before the episode does not count in it

    def close(self) -> None:
        """End the worker after the inference under way."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def observe(self) -> Observation:
        """Return the first observation taken when the arm had finished the chunk before."""
        not_before_ns = max(self._steps.end_ns, self._begin_ns, self._wait_for_release())
        deadline_ns = self._clock.now_ns() + round(self._config.max_image_age_s * 1e9)
        while (now_ns := self._clock.now_ns()) < deadline_ns:
            observation = self._pairing.newest(now_ns, not_before_ns)
            if observation is not None:
                return observation
            self._heartbeat()
            self._pairing.wait(self._clock.wall_seconds(HEARTBEAT_NS))
        raise StaleObservationError(
            "camera and joints", self._image_age_s(), self._config.max_image_age_s
        )

    def _wait_for_release(self) -> int:
        """Return when the operator let go, or 0; an observation from before then is stale."""
        released_ns = 0
        while self.is_operated():
            if self._must_end():
                raise ArmFaultError("ended while the operator had control")
            self._heartbeat()
            self._pairing.wait(self._clock.wall_seconds(HEARTBEAT_NS))
            released_ns = self._clock.now_ns()
        return released_ns

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

    def _infer(self, policy: Policy, observation: Observation) -> Chunk:
        """Infer in the worker; show life while that takes no longer than it may."""
        watch = Stopwatch()
        begun_ns = self._clock.now_ns()
        future: WorkerFuture[Chunk] = self._worker.submit(policy.act, observation)
        while True:
            try:
                chunk = future.result(timeout=self._clock.wall_seconds(HEARTBEAT_NS))
                break
            except WorkerTimeoutError:
                taken_s = (self._clock.now_ns() - begun_ns) * 1e-9
            if taken_s < self._config.max_inference_s:
                self._heartbeat()
            elif taken_s > self._config.max_hang_s:
                self.close()
                self._worker = self._new_worker()
                raise ArmFaultError(
                    f"{policy.version}: inference took {taken_s:.1f} s, limit "
                    f"{self._config.max_hang_s:.1f} s. Roll back the weights."
                )
        seconds = watch.seconds()
        self._witness.saw(observation, chunk, seconds)
        self.status.inference_ms = seconds * 1e3
        self.status.chunks += 1
        return chunk

    def _dispatch(self, proposal: Proposal) -> None:
        """Send one proposal; count the periods since the last one that had nothing to send."""
        self.status.chunk_id = proposal.chunk_id
        if proposal.index == 0 and self._steps.late_ns:
            begin_ns = proposal.deadline_ns - PERIOD_NS
            gap_ns = begin_ns - max(self._last_end_ns, self._begin_ns)
            self.status.starved_ticks += max(gap_ns, 0) // PERIOD_NS
        self._last_end_ns = proposal.deadline_ns
        self.status.late_steps += sum(late > PERIOD_NS // 10 for late in self._steps.late_ns)
        self._steps.late_ns.clear()
        self._send(replace(proposal, speed=self._witness.speed))

    _last_end_ns = 0

    @staticmethod
    def _new_worker() -> ThreadPoolExecutor:
        return ThreadPoolExecutor(max_workers=1, thread_name_prefix="inference")
