"""Node `adaptation`: the action adapt around a learner in a process of its own."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from robot_agent_interfaces.action import Adapt

from robot_agent.ros import params, process, topics
from robot_agent.ros.adapt_session import AdaptOrder, AdaptOutcome, AdaptSession
from robot_agent.ros.calls import Calls
from robot_agent.ros.diagnostics import OK, WARN, Diagnostics, Report
from robot_agent.ros.params import setting
from robot_agent.ros.process import in_thread


@dataclass(frozen=True, kw_only=True)
class AdaptationConfig:
    """Parameters of the adaptation node."""

    run: str = setting("runs/adapt", "Folder of the learner's run.")
    store: str = setting("episodes", "Folder of the episode store.")
    releases: str = setting("releases", "Folder of the release registry.")
    captures: str = setting("", "Folder of captured start frames; empty for none.")
    is_simulated: bool = setting(True, "Put the simulated world to a start before each episode.")
    episode_steps: int = setting(30, "Steps of a collected episode.", 5, 1000)
    max_budget_minutes: float = setting(120.0, "Goals that ask for more are refused.", 0.1, 1e5)
    learner: tuple[str, ...] = setting(
        ("",), "Command of another learner for tests; an empty first word keeps our own."
    )

    def __post_init__(self) -> None:
        """Check the ranges."""
        params.check_ranges(self)


class AdaptationNode(Node):
    """One adaptation at a time, in its own thread; the executor only passes messages."""

    def __init__(self) -> None:
        """Offer the action."""
        super().__init__("adaptation")
        self._config = params.declare(self, AdaptationConfig)
        self._calls = Calls(self)
        self._busy = threading.Lock()
        self._is_closing = threading.Event()
        self._stage, self._outcome = "idle", AdaptOutcome(True, "")
        self._adapt = ActionServer(
            self,
            Adapt,
            topics.ADAPT,
            self._execute,
            goal_callback=self._on_goal,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
            callback_group=ReentrantCallbackGroup(),
        )
        self._diagnostics = Diagnostics(self, "learner", self._report)

    def close(self) -> None:
        """End a running adaptation and its learner."""
        self._is_closing.set()
        if self._busy.acquire(timeout=10.0):
            self._busy.release()

    def _on_goal(self, goal: Any) -> Any:
        asked, limit = float(goal.budget_minutes), self._config.max_budget_minutes
        is_sound = 0.0 < asked <= limit and len(goal.instructions) > 0 and bool(goal.scene)
        if not is_sound or self._busy.locked():
            self.get_logger().error(
                f"adapt refused: budget {asked} min (limit {limit}), scene '{goal.scene}', "
                f"{len(goal.instructions)} instructions, busy {self._busy.locked()}"
            )
            return GoalResponse.REJECT
        return GoalResponse.ACCEPT

    async def _execute(self, goal: Any) -> Any:
        outcome: AdaptOutcome = await in_thread(self, lambda: self._run(goal), "adapt")
        if goal.is_cancel_requested:
            goal.canceled()
        elif outcome.success:
            goal.succeed()
        else:
            goal.abort()
        return Adapt.Result(
            success=outcome.success,
            message=outcome.message,
            version=outcome.version,
            report_path=outcome.report_path,
        )

    def _run(self, goal: Any) -> AdaptOutcome:
        if not self._busy.acquire(blocking=False):
            return AdaptOutcome(False, "an adaptation is running already")
        try:
            order = self._order(goal.request)
            own = [word for word in self._config.learner if word]
            session = AdaptSession(
                calls=self._calls,
                order=order,
                on_progress=lambda event: self._show(goal, event),
                is_cancelled=lambda: bool(goal.is_cancel_requested) or self._is_closing.is_set(),
                log=lambda line: self.get_logger().info(f"learner: {line}"),
                command=own or order.command(),
            )
            self._outcome = session.run()
            return self._outcome
        finally:
            self._stage = "idle"
            self._busy.release()

    def _show(self, goal: Any, event: dict[str, Any]) -> None:
        self._stage = str(event.get("stage", "")) or self._stage
        goal.publish_feedback(_feedback(event))

    def _report(self) -> Report:
        values = {"stage": self._stage, "version": self._outcome.version}
        if self._outcome.success or self._busy.locked():
            return OK, self._stage, values
        return WARN, f"the last adaptation: {self._outcome.message}", values

    def _order(self, request: Any) -> AdaptOrder:
        return AdaptOrder(
            scene=request.scene,
            instructions=tuple(request.instructions),
            budget_minutes=float(request.budget_minutes),
            max_real_episodes=int(request.max_real_episodes),
            resume=bool(request.resume),
            run_folder=self._config.run,
            store=self._config.store,
            releases=self._config.releases,
            captures=self._config.captures,
            is_simulated=self._config.is_simulated,
            episode_steps=self._config.episode_steps,
        )


def _feedback(event: dict[str, Any]) -> Any:
    feedback = Adapt.Feedback(stage=str(event.get("stage", "")))
    feedback.round = max(int(event.get("round", 0)), 0)
    feedback.progress = float(event.get("progress", 0.0))
    feedback.seconds_left = float(event.get("seconds_left", -1.0))
    feedback.message = str(event.get("message", ""))
    return feedback


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the node until it is told to end."""
    return process.run(AdaptationNode, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
