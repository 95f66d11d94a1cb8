"""Weights whose turn it is as one policy, with a candidate in their shadow; without threads."""

from robot_agent.act.policy_slot import PolicySlot
from robot_agent.core.clock import timed
from robot_agent.core.policy_needs import PolicyNeeds
from robot_agent.core.protocols import Policy
from robot_agent.core.types import Chunk, Observation
from robot_agent.release.promotion import Promotion


class InTurn:
    """A `Policy` for one episode: every chunk comes from the slot, and the candidate sees it too.

    For robots that wait for the policy, as simulated ones in this process do; where time goes on
    the candidate runs in a thread of its own.
    """

    def __init__(self, slot: PolicySlot, promotion: Promotion) -> None:
        """Act as the slot says, report to `promotion`."""
        self._slot, self._promotion = slot, promotion
        self._begun: set[str] = set()
        self._instruction, self._seed = "", 0

    @property
    def version(self) -> str:
        """Version of the weights that act now."""
        return self._slot.active.version

    @property
    def needs(self) -> PolicyNeeds:
        """What the weights that act now were trained with."""
        return self._slot.active.needs

    def reset(self, instruction: str, seed: int) -> None:
        """Begin an episode."""
        self._instruction, self._seed = instruction, seed
        self._begun = set()
        self._begin(self._slot.swap_at_boundary())

    def act(self, observation: Observation) -> Chunk:
        """Return the chunk of the weights whose turn it is; a candidate is compared with it."""
        policy, times = self._slot.swap_at_boundary(), list[float]()
        self._begin(policy)
        with timed(times):
            chunk = policy.act(observation)
        self._promotion.add_latency(chunk.weights_version, times[0])
        candidate = self._promotion.candidate
        if candidate is not None:
            self._show(candidate, observation, chunk, times)
        return chunk

    def _show(
        self, candidate: Policy, observation: Observation, chunk: Chunk, times: list[float]
    ) -> None:
        try:
            self._begin(candidate)
            with timed(times):
                answer = candidate.act(observation)
        except Exception as error:  # noqa: BLE001 - whatever a candidate raises refuses it
            reason = f"shadow: raised {type(error).__name__}: {error}"
            self._promotion.drop(reason, candidate.version)
            return
        versions = (chunk.weights_version, candidate.version)
        self._promotion.compare(versions, chunk.actions, answer.actions, (times[0], times[1]))

    def _begin(self, policy: Policy) -> None:
        """Begin the episode for weights that come in now."""
        if policy.version not in self._begun:
            self._begun.add(policy.version)
            policy.reset(self._instruction, self._seed)
