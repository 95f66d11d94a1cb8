"""Blocking calls to the nodes, each with a deadline; never from the thread that spins the node."""

import threading
from collections.abc import Callable
from typing import Any

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.action import ActionClient
from rclpy.callback_groups import ReentrantCallbackGroup
from robot_agent_interfaces.action import RunTask
from robot_agent_interfaces.msg import GuardState, PolicyStatus, SimState
from robot_agent_interfaces.srv import (
    CaptureScene,
    EndEpisode,
    ListWeights,
    PromoteWeights,
    ReportOutcome,
    ResetLatch,
    RollBackWeights,
    SimInject,
    SimReset,
    StartEpisode,
)
from std_srvs.srv import Trigger

from robot_agent.core.clock import Stopwatch
from robot_agent.core.errors import ArmFaultError
from robot_agent.ros import topics

CONFIGURE, ACTIVATE = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE
DEACTIVATE, CLEAN_UP = Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP
UNCONFIGURED, INACTIVE = State.PRIMARY_STATE_UNCONFIGURED, State.PRIMARY_STATE_INACTIVE
ACTIVE = State.PRIMARY_STATE_ACTIVE
_STARTS = {
    CONFIGURE: ("configure", UNCONFIGURED, "unconfigured"),
    ACTIVATE: ("activate", INACTIVE, "inactive"),
    DEACTIVATE: ("deactivate", ACTIVE, "active"),
    CLEAN_UP: ("clean up", INACTIVE, "inactive"),
}
"""Transition to its name and to the only state from which it is allowed."""
_SERVICES = {
    topics.GUARD_STOP: Trigger,
    topics.GUARD_RESET: ResetLatch,
    topics.EPISODE_START: StartEpisode,
    topics.EPISODE_END: EndEpisode,
    topics.CAPTURE_SCENE: CaptureScene,
    topics.WEIGHTS_LIST: ListWeights,
    topics.WEIGHTS_PROMOTE: PromoteWeights,
    topics.WEIGHTS_APPROVE: PromoteWeights,
    topics.WEIGHTS_OUTCOME: ReportOutcome,
    topics.WEIGHTS_ROLL_BACK: RollBackWeights,
    topics.SIM_RESET: SimReset,
    topics.SIM_INJECT: SimInject,
}


class Calls:
    """Clients of every service and action of the agent, and the newest of its states."""

    def __init__(self, node: Any) -> None:
        """Make the clients on `node`, which something else spins."""
        self._node = node
        self._group = ReentrantCallbackGroup()
        self._clients: dict[tuple[str, Any], Any] = {}
        for name, kind in _SERVICES.items():
            self._client(kind, name)  # now, so that a stop need not wait for discovery
        self._newest: dict[str, Any] = {}
        self._changed = threading.Condition()
        self.run_task = ActionClient(node, RunTask, topics.RUN_TASK, callback_group=self._group)
        for name, kind, qos in (
            (topics.GUARD_STATE, GuardState, topics.EVERY_STATE),
            (topics.POLICY_STATUS, PolicyStatus, topics.STATUS),
            (topics.SIM_STATE, SimState, topics.JOINTS),
        ):
            node.create_subscription(
                kind, name, self._keeper(name), qos, callback_group=self._group
            )

    def _keeper(self, name: str) -> Callable[[Any], None]:
        def keep(message: Any) -> None:
            with self._changed:
                self._newest[name] = message
                self._changed.notify_all()

        return keep

    def newest(self, topic: str) -> Any:
        """Return the newest guard/state, policy/status or sim/state; None before the first."""
        with self._changed:
            return self._newest.get(topic)

    def wait_for(self, topic: str, wanted: Callable[[Any], bool], timeout_s: float) -> Any:
        """Return the first message that is wanted; ArmFaultError after `timeout_s`."""
        with self._changed:
            found = self._changed.wait_for(
                lambda: topic in self._newest and wanted(self._newest[topic]), timeout_s
            )
            if not found:
                raise ArmFaultError(
                    f"{topic}: nothing wanted within {timeout_s:.1f} s; newest is "
                    f"{self._newest.get(topic)}. Is its node running? Check its log."
                )
            return self._newest[topic]

    def forget(self, topic: str) -> None:
        """Drop the newest message of a topic, so that only a later one is seen."""
        with self._changed:
            self._newest.pop(topic, None)

    def call(self, name: str, timeout_s: float = 10.0, **fields: Any) -> Any:
        """Call a service of the agent by its topic name and return its answer."""
        kind = _SERVICES[name]
        return self._call(kind, name, kind.Request(**fields), timeout_s)

    def change_state(self, node: str, transition: int, timeout_s: float = 60.0) -> bool:
        """Ask a lifecycle node for a transition; return whether it succeeded.

        The state is asked for first: rclpy leaves a transition that it does not allow unanswered.

        Raises:
            ArmFaultError: The node's state does not allow it, or there was no answer in time.
        """
        state = self._state(node, min(timeout_s, 10.0))
        name, start_id, start = _STARTS[transition]
        if state.id != start_id:
            raise ArmFaultError(
                f"{node}: is {state.label}, must be {start} to {name}. "
                f"Look with: ros2 lifecycle get {self._node.get_namespace()}/{node}"
            )
        request = ChangeState.Request(transition=Transition(id=transition))
        return bool(self._call(ChangeState, f"{node}/change_state", request, timeout_s).success)

    def state_of(self, node: str, timeout_s: float = 10.0) -> int:
        """Return the primary state of a lifecycle node.

        Asked again every second: a question to a process that was killed is never answered, and
        the one that took its place needs a moment to be found.
        """
        return int(self._state(node, timeout_s).id)

    def _state(self, node: str, timeout_s: float) -> Any:
        watch = Stopwatch()
        while True:
            try:
                answer = self._call(GetState, f"{node}/get_state", GetState.Request(), 1.0)
                return answer.current_state
            except ArmFaultError:
                if watch.seconds() > timeout_s:
                    raise

    def _call(self, kind: Any, name: str, request: Any, timeout_s: float) -> Any:
        client = self._client(kind, name)
        if not client.wait_for_service(timeout_s):
            raise ArmFaultError(
                f"{name}: no such service within {timeout_s:.1f} s. Is its node running? "
                f"Check with: robot-agent doctor"
            )
        return self.wait(client.call_async(request), timeout_s, name)

    def _client(self, kind: Any, name: str) -> Any:
        client = self._clients.get((name, kind))
        if client is None:
            client = self._node.create_client(kind, name, callback_group=self._group)
            self._clients[(name, kind)] = client
        return client

    def wait(self, future: Any, timeout_s: float, what: str) -> Any:
        """Return the result of a future; ArmFaultError after `timeout_s`."""
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        if not done.wait(timeout_s):
            future.cancel()
            raise ArmFaultError(f"{what}: no answer within {timeout_s:.1f} s. Check its node.")
        return future.result()
