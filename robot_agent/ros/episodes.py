"""One recorded episode from start to end, through the nodes; for the client and for `adapt`."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from action_msgs.msg import GoalStatus
from robot_agent_interfaces.action import RunTask

from robot_agent.core.clock import Stopwatch
from robot_agent.core.errors import ArmFaultError
from robot_agent.ros import topics
from robot_agent.ros.calls import ACTIVATE, ACTIVE, DEACTIVATE, Calls
from robot_agent.ros.judgements import JUDGEMENTS
from robot_agent.sim.household import scene_named
from robot_agent.sim.tasks import Task, find_task

_PAUSE = threading.Event()
_MAX_SILENCE_S = 3.0
_HELD_REPORTS = 4
"""Reports of sim/state in a row, 0.1 s apart, that make a success count and end the episode."""


@dataclass(frozen=True, kw_only=True)
class EpisodeOrder:
    """What to run."""

    instruction: str
    seed: int = 0
    max_steps: int = 30
    scene: str = ""
    is_simulated: bool = True
    """Put the simulated world to the start of `seed`, and let its truth judge."""
    is_recorded: bool = True
    judge: Callable[[], str] | None = None
    """Asks a person how the episode of a real arm ended: success, failure or unknown."""

    @property
    def judged_by(self) -> str:
        """Who says how it ended."""
        return "sim" if self.is_simulated else "operator"


@dataclass(frozen=True)
class EpisodeReport:
    """What came of it."""

    episode_id: str
    outcome: str
    steps: int
    weights_version: str
    message: str
    proving: str = ""
    """What the outcome means for weights that are being proven, in words."""
    is_to_repeat: bool = False
    """The operator threw it away to record it anew."""
    judged_by: str = ""
    """Who said so, of a success or failure: operator or sim."""


class EpisodeCalls:
    """Runs ordered episodes, one at a time; see `Calls` about threads."""

    def __init__(self, calls: Calls) -> None:
        """Use these clients."""
        self._calls = calls
        self._life = _Life()

    def run(
        self,
        order: EpisodeOrder,
        is_cancelled: Callable[[], bool] = lambda: False,
        on_step: Callable[[Any], None] | None = None,
    ) -> EpisodeReport:
        """Run one episode; the arm holds afterwards.

        Raises:
            ArmFaultError: A node does not answer, or refused.
        """
        task = self._task(order) if order.is_simulated else None
        if task is not None:
            self.reset_world(order.seed, order.scene, task.name)
        if order.is_recorded:
            self._start(order)
        result, is_success = None, False
        try:
            result, is_success = self._run_task(order, task, is_cancelled, on_step)
        finally:
            outcome = self._outcome(order, result, is_success)
            episode_id, note = self._end(order, outcome, result) if order.is_recorded else ("", "")
        assert result is not None
        is_to_repeat = result.outcome == "re_record"
        proving = ""
        if outcome in ("success", "failure"):
            proving = self.report(str(result.weights_version), outcome, _judge_of(order, result))
        message = "; ".join(text for text in (result.message, note) if text)
        if is_success:
            message = note
        return EpisodeReport(
            "" if outcome == "discard" else episode_id,
            "abort" if outcome == "discard" else outcome,
            int(result.steps),
            str(result.weights_version),
            message,
            proving,
            is_to_repeat,
            _judge_of(order, result) if outcome in ("success", "failure") else "",
        )

    def repeats_start(self) -> bool:
        """Return whether the next episode is the second of a pair of a probation.

        Waits for two reports of the policy node: the first may have been under way already.
        """
        newest = self._calls.newest(topics.POLICY_STATUS)
        for _ in range(2):
            newest = self._after(newest)
        return bool(newest.repeat_start)

    def _after(self, seen: Any) -> Any:
        """Return the report of the policy node that follows one that was seen."""
        return self._calls.wait_for(
            topics.POLICY_STATUS, lambda now: seen is None or now.stamp_ns > seen.stamp_ns, 5.0
        )

    def revive_simulation(self) -> bool:
        """Reset a latch that only the simulated driver's silence set; return whether it did.

        A loaded machine can starve the simulated driver for longer than the guard waits. A real
        arm's latch is reset by a person who sees the arm, so never call this for one.
        """
        state = self._calls.newest(topics.GUARD_STATE)
        if state is None or not state.latched or set(state.causes) != {"driver_silent"}:
            return False
        answer = self._calls.call(
            topics.GUARD_RESET, operator_name="simulation", acknowledge="driver_silent"
        )
        return bool(answer.success)

    def reset_world(self, seed: int, scene: str, task: str) -> None:
        """Put the simulated world to a start, with the guard inactive, and arm the guard again.

        Joints that jump are a fault to an active guard. Its latch outlives this, on purpose.
        """
        calls = self._calls
        if calls.state_of("arm_guard") == ACTIVE and not calls.change_state(
            "arm_guard", DEACTIVATE
        ):
            raise ArmFaultError("arm_guard: cannot be deactivated. Check its log.")
        answer = calls.call(topics.SIM_RESET, seed=seed, scene=scene, task=task)
        if not answer.success:
            raise ArmFaultError(f"{topics.SIM_RESET}: {answer.message}")
        calls.forget(topics.SIM_STATE)
        calls.wait_for(topics.SIM_STATE, lambda truth: truth.task == task and truth.step > 0, 10.0)
        calls.forget(topics.GUARD_STATE)
        self.activate_guard()

    def activate_guard(self, patience_s: float = 10.0) -> None:
        """Activate the guard; a first attempt may come before the first joint states."""
        calls, watch = self._calls, Stopwatch()
        while watch.seconds() < patience_s:
            if calls.change_state("arm_guard", ACTIVATE):
                calls.wait_for(topics.GUARD_STATE, lambda state: state.ticks > 0, 5.0)
                return
            _PAUSE.wait(0.1)
        raise ArmFaultError("arm_guard: cannot be activated. Is the driver running? See its log.")

    def _start(self, order: EpisodeOrder) -> None:
        answer = self._calls.call(
            topics.EPISODE_START,
            instruction=order.instruction,
            scene=order.scene,
            allow_unknown_task=True,
        )
        if not answer.success:
            raise ArmFaultError(f"{topics.EPISODE_START}: {answer.message}")

    def _end(self, order: EpisodeOrder, outcome: str, result: Any) -> tuple[str, str]:
        judge = _judge_of(order, result) if outcome in ("success", "failure") else ""
        answer = self._calls.call(
            topics.EPISODE_END, timeout_s=30.0, outcome=outcome, judged_by=judge
        )
        if answer.success:
            return str(answer.episode_id), str(answer.message)
        return "", f"not recorded: {answer.message}"

    def report(self, version: str, outcome: str, judged_by: str) -> str:
        """Tell how the weights that acted did; a cancelled or faulty episode says nothing."""
        answer = self._calls.call(
            topics.WEIGHTS_OUTCOME,
            timeout_s=60.0,
            version=version,
            outcome=outcome,
            judged_by=judged_by,
        )
        if not answer.success:
            raise ArmFaultError(f"{topics.WEIGHTS_OUTCOME}: {answer.message}")
        return str(answer.message)

    def _task(self, order: EpisodeOrder) -> Task:
        """Return the task of an instruction in the simulated scene, present or ordered."""
        scene = order.scene or str(self._calls.wait_for(topics.SIM_STATE, bool, 10.0).scene)
        return find_task(scene_named(scene).cell, order.instruction)

    def _run_task(
        self,
        order: EpisodeOrder,
        task: Task | None,
        is_cancelled: Callable[[], bool],
        on_step: Callable[[Any], None] | None,
    ) -> tuple[Any, bool]:
        calls = self._calls
        goal = RunTask.Goal(
            instruction=order.instruction, max_steps=order.max_steps, seed=order.seed
        )
        if not calls.run_task.wait_for_server(10.0):
            raise ArmFaultError(
                "run_task: no such action within 10 s. Is the policy node running?"
            )
        feedback = None if on_step is None else lambda message: on_step(message.feedback)
        handle = calls.wait(
            calls.run_task.send_goal_async(goal, feedback_callback=feedback), 10.0, "run_task"
        )
        if not handle.accepted:
            raise ArmFaultError("run_task: refused; the policy node is not active or is busy.")
        return self._follow(task, handle, is_cancelled)

    def _follow(
        self, task: Task | None, handle: Any, is_cancelled: Callable[[], bool]
    ) -> tuple[Any, bool]:
        """Wait for the end of a goal; cancel it when told to, or when the task ends at success."""
        result, held, seen_step, is_told = handle.get_result_async(), 0, -1, False
        self._life.seen()
        while not result.done():
            self._life.require(self._calls.newest(topics.POLICY_STATUS))
            ends = task is not None and task.ends_at_success
            truth = self._calls.newest(topics.SIM_STATE) if ends else None
            if truth is not None and truth.step != seen_step:
                seen_step, held = truth.step, held + 1 if truth.success else 0
            if not is_told and (is_cancelled() or held >= _HELD_REPORTS):
                self._calls.wait(handle.cancel_goal_async(), 10.0, "run_task cancel")
                is_told = True
            _pause(result)
        answer = result.result()
        was_cancelled = answer.status == GoalStatus.STATUS_CANCELED and held < _HELD_REPORTS
        return answer.result, held >= _HELD_REPORTS and not was_cancelled

    def _outcome(self, order: EpisodeOrder, result: Any, is_success: bool) -> str:
        """Return the outcome; the truth of the simulation at the end counts where there is one."""
        if result is not None and result.outcome in JUDGEMENTS:
            return "discard" if result.outcome == "re_record" else str(result.outcome)
        if is_success:
            return "success"
        if result is None or result.outcome == "abort":
            return "abort"
        if not order.is_simulated:
            return str(result.outcome) if order.judge is None else order.judge()
        truth = self._calls.newest(topics.SIM_STATE)
        return "success" if truth is not None and truth.success else "failure"


def _judge_of(order: EpisodeOrder, result: Any) -> str:
    """Return who says how an episode ended; an operator's word goes over the simulation's."""
    is_said = result is not None and result.outcome in JUDGEMENTS
    return "operator" if is_said else order.judged_by


class _Life:
    """Notices that the policy node no longer works on a task.

    An action whose server died never ends by itself, also when the node was started again.
    """

    def __init__(self) -> None:
        self._stamp_ns, self._watch = -1, Stopwatch()

    def seen(self) -> None:
        """Begin to count anew."""
        self._watch = Stopwatch()

    def require(self, status: Any) -> None:
        """Raise ArmFaultError when policy/status has not said `running` for too long."""
        if status is not None and status.stamp_ns != self._stamp_ns:
            self._stamp_ns = status.stamp_ns
            if status.state == "running":
                self._watch = Stopwatch()
        if self._watch.seconds() > _MAX_SILENCE_S:
            raise ArmFaultError(
                f"policy: not running the task for {self._watch.seconds():.1f} s, limit "
                f"{_MAX_SILENCE_S:.1f} s. Its node died or hangs; the guard holds the arm. "
                f"See its log."
            )


def _pause(future: Any, seconds: float = 0.05) -> None:
    """Wait for a future, a moment at most."""
    done = threading.Event()
    future.add_done_callback(lambda _: done.set())
    done.wait(seconds)
