"""A small client for scripts, the command line, the demo and tests."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import rclpy
from rclpy.action import ActionClient
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from robot_agent_interfaces.action import Adapt

from robot_agent.core.clock import Stopwatch
from robot_agent.core.errors import ArmFaultError
from robot_agent.ros import environment, topics
from robot_agent.ros.calls import ACTIVE, Calls
from robot_agent.ros.episodes import EpisodeCalls, EpisodeOrder, EpisodeReport

NAMESPACE = "wx250s"


class AgentClient:
    """Talks to a running agent; use it in a `with` block.

    Example:
        with AgentClient() as agent:
            agent.wait_ready(30.0)
            print(agent.run_task("open the drawer", seed=1))
    """

    def __init__(self, namespace: str = NAMESPACE, domain_id: int | None = None) -> None:
        """Join the agent of `namespace`, on this machine only."""
        environment.prepare()
        self._context = Context()
        rclpy.init(
            context=self._context,
            domain_id=domain_id,
            signal_handler_options=SignalHandlerOptions.NO,
        )
        self.node = Node("agent_client", namespace=namespace, context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.calls = Calls(self.node)
        self.episodes = EpisodeCalls(self.calls)
        self._adapt = ActionClient(self.node, Adapt, topics.ADAPT)
        self._thread = threading.Thread(target=self._spin, name="agent_client", daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        try:
            self._executor.spin()
        except ExternalShutdownException:
            return

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the agent."""
        self.close()

    def close(self) -> None:
        """Leave the agent; it goes on."""
        self._executor.shutdown(timeout_sec=2.0)
        self._thread.join(2.0)
        self.node.destroy_node()
        self._context.try_shutdown()

    def wait_ready(self, timeout_s: float) -> None:
        """Return when guard and policy are active; ArmFaultError after `timeout_s`."""
        watch = Stopwatch()
        for node in ("arm_guard", "policy"):
            while self.calls.state_of(node, max(timeout_s - watch.seconds(), 0.1)) != ACTIVE:
                if watch.seconds() > timeout_s:
                    raise ArmFaultError(
                        f"{node}: not active within {timeout_s:.0f} s. See its log."
                    )
                threading.Event().wait(0.1)

    @property
    def guard_state(self) -> Any:
        """The newest guard/state, or None."""
        return self.calls.newest(topics.GUARD_STATE)

    @property
    def policy_status(self) -> Any:
        """The newest policy/status, or None."""
        return self.calls.newest(topics.POLICY_STATUS)

    @property
    def sim_state(self) -> Any:
        """The newest sim/state, or None."""
        return self.calls.newest(topics.SIM_STATE)

    def run_task(
        self,
        instruction: str,
        *,
        seed: int = 0,
        max_steps: int = 30,
        scene: str = "",
        is_simulated: bool = True,
        is_recorded: bool = True,
        is_cancelled: Callable[[], bool] = lambda: False,
        on_step: Callable[[Any], None] | None = None,
    ) -> EpisodeReport:
        """Run one episode; in simulation from the start state of `seed`."""
        order = EpisodeOrder(
            instruction=instruction,
            seed=seed,
            max_steps=max_steps,
            scene=scene,
            is_simulated=is_simulated,
            is_recorded=is_recorded,
        )
        return self.episodes.run(order, is_cancelled, on_step)

    def adapt(
        self,
        scene: str,
        instructions: list[str],
        *,
        budget_minutes: float,
        max_real_episodes: int,
        resume: bool = False,
        on_feedback: Callable[[Any], None] | None = None,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> Any:
        """Adapt to a scene; return the result of the action. Cancels within 10 s when told to."""
        goal = Adapt.Goal(scene=scene, instructions=instructions, resume=resume)
        goal.budget_minutes, goal.max_real_episodes = float(budget_minutes), max_real_episodes
        if not self._adapt.wait_for_server(10.0):
            raise ArmFaultError("adapt: no such action within 10 s. Is adaptation running?")
        feedback = None if on_feedback is None else lambda message: on_feedback(message.feedback)
        handle = self.calls.wait(
            self._adapt.send_goal_async(goal, feedback_callback=feedback), 10.0, "adapt"
        )
        if not handle.accepted:
            raise ArmFaultError("adapt: refused; an adaptation is running already.")
        result, is_told, done = handle.get_result_async(), False, threading.Event()
        result.add_done_callback(lambda _: done.set())
        while not done.wait(0.1):
            if not is_told and is_cancelled():
                self.calls.wait(handle.cancel_goal_async(), 10.0, "adapt cancel")
                is_told = True
        return result.result().result

    def stop(self) -> None:
        """Stop the arm; it stays stopped until a person resets it."""
        answer = self.calls.call(topics.GUARD_STOP)
        if not answer.success:
            raise ArmFaultError(f"{topics.GUARD_STOP}: {answer.message}")

    def reset_latch(self, operator: str, acknowledge: str) -> str:
        """Clear one latched cause in the name of a person; return what the guard says."""
        answer = self.calls.call(
            topics.GUARD_RESET, operator_name=operator, acknowledge=acknowledge
        )
        if not answer.success:
            raise ArmFaultError(f"{topics.GUARD_RESET}: {answer.message}")
        return str(answer.message)

    def reset_world(self, seed: int, scene: str = "", task: str = "open") -> None:
        """Put the simulated world to a start."""
        self.episodes.reset_world(seed, scene, task)

    def inject(self, component: str, kind: str, argument: float = 0.0, at_step: int = 0) -> None:
        """Plant a fault in the simulated robot."""
        answer = self.calls.call(
            topics.SIM_INJECT, component=component, kind=kind, argument=argument, at_step=at_step
        )
        if not answer.success:
            raise ArmFaultError(f"{topics.SIM_INJECT}: {answer.message}")

    def promote(self, version: str, waiver: tuple[str, bytes] | None = None) -> str:
        """Put `version` on its way, or let it act when it is GOOD; return what the node says.

        A `waiver`, key id and signature of `release.waiver`, spares it shadow and probation.
        """
        fields: dict[str, Any] = {"version": version}
        if waiver is not None:
            fields |= {"skip_probation": True, "key_id": waiver[0], "signature": list(waiver[1])}
        return self._ask(topics.WEIGHTS_PROMOTE, **fields)

    def approve(self, version: str, person: str) -> str:
        """Let weights stay that their probation found not to be worse; return words."""
        return self._ask(topics.WEIGHTS_APPROVE, version=version, approved_by=person)

    def _ask(self, service: str, **fields: Any) -> str:
        answer = self.calls.call(service, timeout_s=60.0, **fields)
        if not answer.success:
            raise ArmFaultError(f"{service}: {answer.message}")
        return str(answer.message)

    def roll_back(self, reason: str) -> str:
        """Return to the previous version; return its name."""
        answer = self.calls.call(topics.WEIGHTS_ROLL_BACK, timeout_s=60.0, reason=reason)
        if not answer.success:
            raise ArmFaultError(f"{topics.WEIGHTS_ROLL_BACK}: {answer.message}")
        return str(answer.version)

    def wait_until_acting(self, version: str, timeout_s: float) -> None:
        """Return once the policy node says that `version` acts; ArmFaultError after the time."""
        watch = Stopwatch()
        while (status := self.policy_status) is None or status.active_version != version:
            if watch.seconds() > timeout_s:
                acting = status.active_version if status else "nothing"
                raise ArmFaultError(
                    f"{version} does not act within {timeout_s:.0f} s, {acting} does. "
                    f"Look at the releases with: robot-agent weights list"
                )
            threading.Event().wait(0.05)
