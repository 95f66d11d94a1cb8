"""Node `policy`: observations in, proposals out; the action run_task and the weights' services."""

from collections.abc import Callable, Sequence
from typing import Any

from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from robot_agent_interfaces.action import RunTask
from robot_agent_interfaces.msg import ActionProposal, GuardState, PolicyStatus
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from robot_agent.act.observation import ObservationPairing
from robot_agent.act.planner import EpisodeTask
from robot_agent.act.policy_slot import PolicySlot
from robot_agent.core.errors import InputError, RobotAgentError
from robot_agent.core.policy_needs import require_fit
from robot_agent.core.protocols import Policy
from robot_agent.core.types import Proposal
from robot_agent.release.promotion import Promotion
from robot_agent.release.remote_weights import RemoteWeights
from robot_agent.release.road import Weights
from robot_agent.ros import convert, params, process, topics
from robot_agent.ros.clock import ScaledClock
from robot_agent.ros.diagnostics import ERROR, OK, WARN, Diagnostics, Report
from robot_agent.ros.inference_thread import PatienceConfig
from robot_agent.ros.judgements import Judgements
from robot_agent.ros.picture_source import PictureSource
from robot_agent.ros.policy_config import PolicyConfig
from robot_agent.ros.policy_message import policy_message
from robot_agent.ros.policy_runner import PolicyRunner, RunnerConfig
from robot_agent.ros.policy_weights import WeightServices
from robot_agent.ros.process import in_thread
from robot_agent.ros.shadow_thread import ShadowThread

_SUCCESS, _FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
_MAX_GUARD_SILENCE_NS = 500_000_000

MakeWeights = Callable[[PolicyConfig], Weights]
"""Makes the source of weights: a folder of releases, or a policy that runs elsewhere."""


class PolicyNode(LifecycleNode):
    """Callbacks store; episodes run in their own thread; weights load in another."""

    _source: Weights | None = None

    def __init__(self, make_weights: MakeWeights) -> None:
        """Declare parameters; weights come from `make_weights` when the node is configured."""
        super().__init__("policy")
        self._config = params.declare(self, PolicyConfig)
        self._time = ScaledClock(self._config.time_factor)
        self._make_weights = make_weights
        self._pairing = ObservationPairing()
        self._runner: PolicyRunner | None = None
        self._weights: WeightServices | None = None
        self._shadow: ShadowThread | None = None
        self._is_active, self._trouble = False, ""
        self._guard: Any = None
        self._proposals = self.create_publisher(ActionProposal, topics.PROPOSAL, topics.COMMAND)
        self._status = self.create_publisher(PolicyStatus, topics.POLICY_STATUS, topics.STATUS)
        self._listen()
        self._run_task = ActionServer(
            self,
            RunTask,
            topics.RUN_TASK,
            self._execute,
            goal_callback=self._on_goal,
            cancel_callback=lambda _: CancelResponse.ACCEPT,
            callback_group=ReentrantCallbackGroup(),
        )
        self.create_timer(0.1, self._publish_when_idle)
        self._diagnostics = Diagnostics(self, "policy", self._report)

    def _listen(self) -> None:
        self._operated = self._operated_seen = 0  # states of the guard in which an operator acts
        self._judgements = Judgements(self, self._time.now_ns)
        self._pictures = PictureSource(
            self, self._pairing, self._time, is_simulated=self._config.is_simulated
        )
        self.create_subscription(JointState, topics.JOINT_STATES, self._on_joints, topics.JOINTS)
        self.create_subscription(GuardState, topics.GUARD_STATE, self._on_guard, topics.STATUS)
        self.create_subscription(String, topics.INSTRUCTION, self._on_instruction, topics.COMMAND)

    # --- lifecycle -------------------------------------------------------------------------------

    def on_configure(self, state: Any) -> Any:
        """Load the current release."""
        del state
        try:
            weights = self._source = self._make_weights(self._config)
            slot = PolicySlot(weights.boot())
            promotion = Promotion(weights, slot, self._config.promotion())
        except RobotAgentError as error:
            self._trouble = f"no policy: {error}"
            self.get_logger().error(str(error))
            return _FAILURE
        self._trouble = ""
        max_inference_ns = round(self._config.max_inference_s * 1e9)
        self._shadow = ShadowThread(promotion, self._time.wall_seconds(max_inference_ns))
        self._runner = PolicyRunner(
            slot,
            self._pairing,
            self._time,
            RunnerConfig(
                max_image_age_s=self._config.max_image_age_s,
                patience=PatienceConfig(max_inference_s=self._config.max_inference_s),
                execution=self._config.executing(),
            ),
            send=self._propose,
            heartbeat=self._publish_status,
            why_not=self._why_not,
            witness=self._shadow,
        )
        self._runner.is_operated = self._is_operated
        if self._weights is None:
            self._weights = WeightServices(self)
        self._weights.serve(weights, self._runner, promotion)
        return _SUCCESS

    def on_activate(self, state: Any) -> Any:
        """Accept tasks from now on; refused when the robot lacks what the weights need."""
        if self._runner is not None and not self._fits(self._runner.slot.active):
            return _FAILURE
        self._is_active = True
        return super().on_activate(state)

    def _fits(self, policy: Policy) -> bool:
        try:
            require_fit(policy.needs, self._pictures.offer(), policy.version)
        except InputError as error:
            self.get_logger().error(str(error))
            return False
        return True

    def on_deactivate(self, state: Any) -> Any:
        """Accept no tasks; a running one ends at once and the arm holds."""
        self._is_active = False
        return super().on_deactivate(state)

    def on_cleanup(self, state: Any) -> Any:
        """Let go of the weights."""
        del state
        self.close()
        self._runner = None
        return _SUCCESS

    def on_shutdown(self, state: Any) -> Any:
        """End a running task."""
        del state
        self.close()
        return _SUCCESS

    def close(self) -> None:
        """End a running task and the worker."""
        self._is_active = False
        if self._runner is not None:
            self._runner.close()
        if self._shadow is not None:
            self._shadow.close()
        if isinstance(self._source, RemoteWeights):
            self._source.close()

    # --- callbacks: store the newest, nothing else -----------------------------------------------

    def _on_joints(self, message: Any) -> None:
        try:
            joints, _, gripper = convert.joints_from(message)
            stamp_ns = convert.from_stamp(message.header.stamp)
            self._pairing.add_joints(joints, gripper, stamp_ns)
        except InputError as error:
            self.get_logger().error(str(error), throttle_duration_sec=1.0)

    def _on_guard(self, message: Any) -> None:
        if self._weights is not None:
            self._weights.hear_guard(message)  # before the episode sees it and ends
        self._guard = message
        self._operated += message.controller == "operator"

    def _on_instruction(self, message: Any) -> None:
        try:
            if self._runner is not None:
                self._runner.instruct(message.data)
        except InputError as error:
            self.get_logger().error(str(error))

    # --- run_task --------------------------------------------------------------------------------

    def _on_goal(self, goal: Any) -> Any:
        del goal
        is_free = self._is_active and self._runner is not None and not self._runner.is_running
        return GoalResponse.ACCEPT if is_free else GoalResponse.REJECT

    async def _execute(self, goal: Any) -> Any:
        """Run the episode in a thread; the executor goes on meanwhile."""
        result = await in_thread(self, lambda: self._run(goal), "episode")
        if goal.is_cancel_requested:
            goal.canceled()
        elif result.success:
            goal.succeed()
        else:
            goal.abort()
        return result

    def _run(self, goal: Any) -> Any:
        """Run one episode; in its own thread. A refusal is a result, not an exception."""
        assert self._runner is not None
        self._judgements.forget()
        request, result = goal.request, RunTask.Result(outcome="abort")
        result.weights_version = self._runner.slot.active.version  # until another has acted

        def on_step(step: int, proposal: Proposal) -> None:
            feedback = RunTask.Feedback(step=step, state="running")
            feedback.weights_version = result.weights_version = proposal.weights_version
            goal.publish_feedback(feedback)

        try:
            self._pictures.require_checked()
            active = self._runner.slot.active
            require_fit(active.needs, self._pictures.offer(), active.version)
            task = EpisodeTask(
                instruction=request.instruction,
                seed=int(request.seed),
                max_steps=int(request.max_steps),
            )
            steps, reason = self._runner.run(task, lambda: self._must_end(goal), on_step)
            result.steps, result.message = steps, reason
            result.outcome = "abort" if reason else "unknown"
            if self._judgements.event:
                result.outcome = self._judgements.event
                result.message = (
                    f"{result.outcome}, said the operator at {self._judgements.source}"
                )
        except RobotAgentError as error:
            result.message = str(error)
        result.success = result.outcome in ("success", "failure", "unknown")
        self._runner.status.message = result.message
        return result

    def _must_end(self, goal: Any) -> bool:
        return bool(goal.is_cancel_requested or not self._is_active or self._judgements.event)

    def _is_operated(self) -> bool:
        """Return whether an operator acts, or has acted since this was last asked."""
        guard, operated = self._guard, self._operated
        has_acted, self._operated_seen = operated != self._operated_seen, operated
        return has_acted or (guard is not None and guard.controller == "operator")

    def _why_not(self) -> str:
        """Return why the arm cannot be moved, or an empty text."""
        guard = self._guard
        if not self._is_active:
            return "the policy node is not active"
        if guard is None or self._time.now_ns() - guard.stamp_ns > _MAX_GUARD_SILENCE_NS:
            return "the guard is silent; is arm_guard active?"
        if guard.latched:
            return f"the guard is stopped: {', '.join(guard.causes)}. Reset it first."
        return ""

    # --- publishing ------------------------------------------------------------------------------

    def _propose(self, proposal: Proposal) -> None:
        self._proposals.publish(convert.to_proposal(proposal))

    def _publish_when_idle(self) -> None:
        """Show that the node lives while no episode runs; in an episode its own thread does."""
        if self._runner is not None and not self._runner.is_running:
            self._publish_status()
        elif self._runner is None and self._trouble:
            words = {"state": "no policy", "message": self._trouble}
            self._status.publish(PolicyStatus(stamp_ns=self._time.now_ns(), **words))

    def _publish_status(self) -> None:
        if self._runner is not None and self._weights is not None:
            progress = self._weights.progress
            self._status.publish(policy_message(self._time.now_ns(), self._runner, progress))

    def _report(self) -> Report:
        runner = self._runner
        if runner is None:
            return (ERROR, self._trouble, {}) if self._trouble else (OK, "unconfigured", {})
        values = {
            "active": runner.slot.status().active,
            "chunks": runner.status.chunks,
            "starved_ticks": runner.status.starved_ticks,
            "dropped_actions": runner.status.dropped_actions,
            "execution": self._config.execution,
            "late_steps": runner.status.late_steps,
            "inference_ms": runner.status.inference_ms,
            "dropped_pairs": self._pairing.dropped,
        }
        if self._pairing.is_frozen:
            return WARN, "camera frozen", values
        return OK, "running" if runner.is_running else "idle", values


def main(make_weights: MakeWeights, arguments: Sequence[str] | None = None) -> int:
    """Run the node until it is told to end."""
    return process.run(lambda: PolicyNode(make_weights), arguments)
