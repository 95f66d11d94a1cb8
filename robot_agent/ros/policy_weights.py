"""The services weights/list, promote, prove and roll_back of the policy node."""

import threading
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from robot_agent_interfaces.srv import ListWeights, PromoteWeights, RollBackWeights

from robot_agent.core.errors import RobotAgentError
from robot_agent.ros import topics
from robot_agent.ros.policy_runner import PolicyRunner
from robot_agent.ros.process import in_thread
from robot_agent.ros.weights import Weights


class WeightServices:
    """Loads in a thread, exchanges pointers at a boundary; the loop never waits for a file."""

    def __init__(self, node: Any) -> None:
        """Offer the services on `node`; `serve` says with what."""
        self._node = node
        self._weights: Weights | None = None
        self._runner: PolicyRunner | None = None
        self._busy = threading.Lock()
        group = ReentrantCallbackGroup()
        for kind, name, callback in (
            (ListWeights, topics.WEIGHTS_LIST, self._on_list),
            (PromoteWeights, topics.WEIGHTS_PROMOTE, self._on_promote),
            (PromoteWeights, topics.WEIGHTS_PROVE, self._on_prove),
            (RollBackWeights, topics.WEIGHTS_ROLL_BACK, self._on_roll_back),
        ):
            node.create_service(kind, name, callback, callback_group=group)

    def serve(self, weights: Weights, runner: PolicyRunner) -> None:
        """Use these weights and this runner from now on."""
        self._weights, self._runner = weights, runner

    async def _on_list(self, request: Any, response: Any) -> Any:
        del request
        weights, runner = self._weights, self._runner
        if weights is None or runner is None:
            return response
        rows = await in_thread(self._node, weights.list, "weights")
        response.versions = [version for version, _ in rows]
        response.states = [state for _, state in rows]
        slot = runner.slot.status()
        response.active, response.candidate = slot.active, slot.candidate
        response.previous = slot.previous
        return response

    async def _on_promote(self, request: Any, response: Any) -> Any:
        message = await in_thread(self._node, lambda: self._promote(request.version), "weights")
        response.success, response.message = message[0], message[1]
        return response

    async def _on_prove(self, request: Any, response: Any) -> Any:
        message = await in_thread(self._node, lambda: self._prove(request.version), "weights")
        response.success, response.message = message[0], message[1]
        return response

    async def _on_roll_back(self, request: Any, response: Any) -> Any:
        answer = await in_thread(self._node, lambda: self._roll_back(request.reason), "weights")
        response.success, response.message, response.version = answer
        return response

    def _promote(self, version: str) -> tuple[bool, str]:
        """Verify, load, record, offer; in a thread. What was active stays when anything fails."""
        weights, runner = self._weights, self._runner
        if weights is None or runner is None:
            return False, "the policy node is not configured"
        try:
            with self._busy:
                slot = runner.slot.status()
                if slot.active == version and not slot.candidate:
                    return True, f"{version} acts already"
                active = runner.slot.active
                policy = active if active.version == version else weights.load(version)
                weights.activate(version)
                runner.slot.offer(policy)
        except (RobotAgentError, MemoryError, OSError) as error:
            return False, str(error) or repr(error)
        is_idle = runner.swap_if_idle()
        return True, f"{version} acts {'now' if is_idle else 'from the next chunk on'}"

    def _prove(self, version: str) -> tuple[bool, str]:
        """Record that an episode with `version` ended in success or failure, and not by a fault.

        Whoever ran the episode says so, because only he knows whether its end was a success or
        a cancellation.
        """
        if self._weights is None:
            return False, "the policy node is not configured"
        try:
            with self._busy:
                self._weights.prove(version)
        except RobotAgentError as error:
            return False, str(error)
        return True, f"{version} has run an episode to its end"

    def _roll_back(self, reason: str) -> tuple[bool, str, str]:
        """Return to the previous version: from memory when it is there, else from disk."""
        weights, runner = self._weights, self._runner
        if weights is None or runner is None:
            return False, "the policy node is not configured", ""
        try:
            with self._busy:
                version = weights.roll_back(reason)
                if runner.slot.status().previous == version:
                    runner.slot.roll_back()
                else:
                    runner.slot.offer(weights.load(version))
        except (RobotAgentError, MemoryError, OSError) as error:
            return False, str(error) or repr(error), runner.slot.active.version
        is_idle = runner.swap_if_idle()
        return True, f"{version} acts {'now' if is_idle else 'from the next chunk on'}", version
