"""The services weights/list, promote, outcome, approve and roll_back of the policy node."""

import threading
from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from robot_agent_interfaces.srv import (
    ListWeights,
    PromoteWeights,
    ReportOutcome,
    RollBackWeights,
)

from robot_agent.core.errors import RobotAgentError
from robot_agent.release.promotion import Promotion
from robot_agent.release.road import Progress, Weights
from robot_agent.release.states import State
from robot_agent.ros import topics
from robot_agent.ros.policy_runner import PolicyRunner
from robot_agent.ros.process import in_thread

_FOLLOW_S = 1.0
"""How often the registry is looked at while weights are being proven."""
_NOT_CONFIGURED = "the policy node is not configured"


class WeightServices:
    """Loads in a thread, exchanges pointers at a boundary; the loop never waits for a file."""

    def __init__(self, node: Any) -> None:
        """Offer the services on `node`; `serve` says with what."""
        self._node = node
        self._weights: Weights | None = None
        self._runner: PolicyRunner | None = None
        self._promotion: Promotion | None = None
        self._busy = threading.Lock()
        group = ReentrantCallbackGroup()
        for kind, name, callback in (
            (ListWeights, topics.WEIGHTS_LIST, self._on_list),
            (PromoteWeights, topics.WEIGHTS_PROMOTE, self._on_promote),
            (PromoteWeights, topics.WEIGHTS_APPROVE, self._on_approve),
            (ReportOutcome, topics.WEIGHTS_OUTCOME, self._on_outcome),
            (RollBackWeights, topics.WEIGHTS_ROLL_BACK, self._on_roll_back),
        ):
            node.create_service(kind, name, callback, callback_group=group)

        node.create_timer(_FOLLOW_S, self._follow, callback_group=group)

    def serve(self, weights: Weights, runner: PolicyRunner, promotion: Promotion) -> None:
        """Use these weights, this runner and its promotion from now on."""
        self._weights, self._runner, self._promotion = weights, runner, promotion

    @property
    def progress(self) -> Progress:
        """What is being proven."""
        return Progress() if self._promotion is None else self._promotion.progress

    def hear_guard(self, message: Any) -> None:
        """Take a guard/state; weights on probation that caused it are out when this returns."""
        promotion = self._promotion
        if promotion is None:
            return
        is_operator = message.controller == "operator"
        if promotion.hear_guard(list(message.causes), is_operator=is_operator):
            in_thread(self._node, lambda: self._say(promotion.settle()), "weights")

    def _follow(self) -> None:
        promotion = self._promotion
        if promotion is not None and promotion.progress.version:
            in_thread(self._node, promotion.follow, "weights")

    def _say(self, words: str) -> None:
        self._node.get_logger().warning(words)

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
        return await self._answer(response, lambda: self._promote(request.version, request))

    async def _on_approve(self, request: Any, response: Any) -> Any:
        return await self._answer(
            response, lambda: self._approve(request.version, request.approved_by)
        )

    async def _on_outcome(self, request: Any, response: Any) -> Any:
        return await self._answer(
            response,
            lambda: self._outcome(request.version, request.outcome, request.judged_by),
        )

    async def _answer(self, response: Any, work: Callable[[], tuple[bool, str]]) -> Any:
        response.success, response.message = await in_thread(self._node, work, "weights")
        return response

    async def _on_roll_back(self, request: Any, response: Any) -> Any:
        answer = await in_thread(self._node, lambda: self._roll_back(request.reason), "weights")
        response.success, response.message, response.version = answer
        return response

    def _promote(self, version: str, waiver: Any = None) -> tuple[bool, str]:
        """Verify, load, and put into the shadow; in a thread. A GOOD release acts at once.

        What was active stays when anything fails.
        """
        weights, runner, promotion = self._weights, self._runner, self._promotion
        if weights is None or runner is None or promotion is None:
            return False, _NOT_CONFIGURED
        try:
            with self._busy:
                slot = runner.slot.status()
                if promotion.progress.version == version and not _is_waived(waiver):
                    return True, promotion.progress.words
                if slot.active == version and not slot.candidate:
                    return True, f"{version} acts already"
                promotion.require_free(version)
                words = ""
                if weights.state(version) is not State.GOOD:
                    if not _is_waived(waiver):
                        return True, promotion.begin(weights.load(version))
                    signature = bytes(waiver.signature)
                    words = weights.require_waiver(version, waiver.key_id, signature)
                self._let_act(weights, runner, promotion, version, words)
        except (RobotAgentError, MemoryError, OSError) as error:
            return False, str(error) or repr(error)
        is_idle = runner.swap_if_idle()
        return True, f"{version} acts {'now' if is_idle else 'from the next chunk on'}"

    @staticmethod
    def _let_act(
        weights: Weights, runner: PolicyRunner, promotion: Promotion, version: str, waiver: str
    ) -> None:
        """Offer a GOOD release, or one that an operator has released by hand."""
        active = runner.slot.active
        policy = active if active.version == version else weights.load(version)
        promotion.drop(f"replaced by {version}", but=version)
        weights.activate(version, waiver)
        if waiver:
            weights.prove(version, waiver)
        runner.slot.offer(policy)

    def _outcome(self, version: str, outcome: str, judged_by: str) -> tuple[bool, str]:
        """Take how an episode ended from whoever ran it: only he knows its outcome."""
        if self._promotion is None:
            return False, _NOT_CONFIGURED
        try:
            return True, self._promotion.report(version, outcome, judged_by)
        except RobotAgentError as error:
            return False, str(error)

    def _approve(self, version: str, person: str) -> tuple[bool, str]:
        if self._promotion is None:
            return False, _NOT_CONFIGURED
        try:
            return True, self._promotion.approve(version, person)
        except RobotAgentError as error:
            return False, str(error)

    def _roll_back(self, reason: str) -> tuple[bool, str, str]:
        """Return to the previous version: from memory when it is there, else from disk."""
        weights, runner, promotion = self._weights, self._runner, self._promotion
        if weights is None or runner is None or promotion is None:
            return False, _NOT_CONFIGURED, ""
        try:
            with self._busy:
                if promotion.leave(reason):
                    slot = runner.slot.status()
                    version = slot.candidate or slot.active
                else:
                    promotion.drop(f"the release it was made from was rolled back: {reason}")
                    version = weights.roll_back(reason)
                    if runner.slot.status().previous == version:
                        runner.slot.roll_back()
                    else:
                        runner.slot.offer(weights.load(version))
        except (RobotAgentError, MemoryError, OSError) as error:
            return False, str(error) or repr(error), runner.slot.active.version
        is_idle = runner.swap_if_idle()
        return True, f"{version} acts {'now' if is_idle else 'with the next action'}", version


def _is_waived(waiver: Any) -> bool:
    return waiver is not None and bool(waiver.skip_probation)
