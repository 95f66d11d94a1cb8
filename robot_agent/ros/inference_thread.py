"""One worker that infers beside the episode's thread, timed, and given up when it hangs."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from robot_agent.act.inference import infer
from robot_agent.act.plan import Ahead
from robot_agent.core.clock import Stopwatch
from robot_agent.core.errors import ArmFaultError
from robot_agent.core.protocols import Policy
from robot_agent.core.types import Chunk, Observation
from robot_agent.ros.clock import ScaledClock


@dataclass(frozen=True, kw_only=True)
class PatienceConfig:
    """How long an inference may take."""

    max_inference_s: float = 1.0
    """While an inference takes no longer an arm that waits for it counts as cared for."""
    max_hang_s: float = 10.0
    """An inference that takes longer is given up, with its worker."""


Heard = Callable[[Observation, Chunk, float], None]
"""Takes an observation, its chunk, and the seconds that the inference took."""


class InferenceThread:
    """An `Inference` in a thread of its own; the methods are the episode thread's."""

    def __init__(
        self, clock: ScaledClock, config: PatienceConfig, wake: Callable[[], None], heard: Heard
    ) -> None:
        """Call `wake`, from the worker, when a chunk is there; `heard` when it is taken."""
        self._clock, self._config, self._wake, self._heard = clock, config, wake, heard
        self._worker = self._new_worker()
        self._future: Future[tuple[Chunk, float]] | None = None
        self._observation: Observation | None = None
        self._version = ""
        self._begun_ns = 0

    @property
    def is_busy(self) -> bool:
        """Whether an inference is under way or its chunk waits to be taken."""
        return self._future is not None

    @property
    def is_thinking(self) -> bool:
        """Whether an inference is under way."""
        return self._future is not None and not self._future.done()

    @property
    def is_overdue(self) -> bool:
        """Whether the one under way takes longer than it may."""
        return self.is_thinking and self._taken_s() > self._config.max_inference_s

    def start(self, policy: Policy, observation: Observation, ahead: Ahead | None) -> None:
        """Begin in the worker."""
        self._observation, self._version = observation, policy.version
        self._begun_ns = self._clock.now_ns()
        self._future = self._worker.submit(_timed, policy, observation, ahead)
        self._future.add_done_callback(lambda _: self._wake())

    def take(self) -> Chunk | None:
        """Return the chunk once, or None while there is none or it is not wanted.

        Raises:
            ArmFaultError: The inference hangs; another worker is there for the next one.
        """
        future, observation = self._future, self._observation
        if future is None:
            return None
        if not future.done():
            self._give_up_when_it_hangs()
            return None
        self._future = self._observation = None
        if observation is None:
            return None
        chunk, seconds = future.result()
        self._heard(observation, chunk, seconds)
        return chunk

    def drop(self) -> None:
        """Never mind the one under way, whatever becomes of it."""
        self._observation = None

    def close(self) -> None:
        """End the worker after the inference under way."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    def _give_up_when_it_hangs(self) -> None:
        taken_s = self._taken_s()
        if taken_s <= self._config.max_hang_s:
            return
        self.close()
        self._worker, self._future = self._new_worker(), None
        raise ArmFaultError(
            f"{self._version}: inference took {taken_s:.1f} s, limit "
            f"{self._config.max_hang_s:.1f} s. Roll back the weights."
        )

    def _taken_s(self) -> float:
        return (self._clock.now_ns() - self._begun_ns) * 1e-9

    @staticmethod
    def _new_worker() -> ThreadPoolExecutor:
        return ThreadPoolExecutor(max_workers=1, thread_name_prefix="inference")


def _timed(policy: Policy, observation: Observation, ahead: Ahead | None) -> tuple[Chunk, float]:
    watch = Stopwatch()
    return infer(policy, observation, ahead), watch.seconds()
