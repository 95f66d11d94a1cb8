"""One inference at a time, beside whoever asked for it."""

from typing import Protocol, runtime_checkable

from robot_agent.act.plan import Ahead
from robot_agent.core.protocols import Policy
from robot_agent.core.types import Chunk, FloatArray, Observation


@runtime_checkable
class Guided(Protocol):
    """A policy that can make a chunk which goes on from what is planned."""

    def act_along(
        self, observation: Observation, actions: FloatArray, weights: FloatArray
    ) -> Chunk:
        """Return a chunk that is bound to `actions` (N, 7), by `weights` (N,) from 0 to 1."""


class Inference(Protocol):
    """At most one inference under way; all methods are called by the episode's thread."""

    @property
    def is_busy(self) -> bool:
        """Whether one is under way, wanted or not; then none may be started."""

    def start(self, policy: Policy, observation: Observation, ahead: Ahead | None) -> None:
        """Begin; `ahead` is given where the chunk shall go on from a plan."""

    def take(self) -> Chunk | None:
        """Return the chunk once, or None while there is none; raises what the policy raised."""

    def drop(self) -> None:
        """Never mind the one under way, whatever becomes of it."""


def infer(policy: Policy, observation: Observation, ahead: Ahead | None) -> Chunk:
    """Return the policy's chunk, guided by the plan where there is one and the policy can."""
    if ahead is not None and len(ahead.actions) and isinstance(policy, Guided):
        return policy.act_along(observation, ahead.actions, ahead.weights)
    return policy.act(observation)


class InferenceHere:
    """Infers in the calling thread: the chunk is there when `start` returns."""

    def __init__(self) -> None:
        """Begin with nothing under way."""
        self._chunk: Chunk | None = None

    @property
    def is_busy(self) -> bool:
        """Whether a chunk waits to be taken."""
        return self._chunk is not None

    def start(self, policy: Policy, observation: Observation, ahead: Ahead | None) -> None:
        """Infer."""
        self._chunk = infer(policy, observation, ahead)

    def take(self) -> Chunk | None:
        """Return the chunk, once."""
        chunk, self._chunk = self._chunk, None
        return chunk

    def drop(self) -> None:
        """Forget the chunk."""
        self._chunk = None
