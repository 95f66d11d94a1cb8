"""An operator's ear and hand at a running agent: what it does, stop, and judgements."""

from collections import deque
from typing import Any

from robot_agent_interfaces.msg import OperatorCommand
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Empty

from robot_agent.act.agent_view import AgentView
from robot_agent.core.clock import Stopwatch
from robot_agent.ros import topics
from robot_agent.ros.client import AgentClient

_RATE_S = 2.0


class OperatorLink:
    """Uses the node of a client. `look` and `press_stop` never wait; one thread calls them."""

    def __init__(self, client: AgentClient, source: str = "run") -> None:
        """Listen to the camera; `source` is the operator's name in messages."""
        self._client, self._source = client, source
        self._watch = Stopwatch()
        self._pictures: deque[float] = deque(maxlen=512)
        self._seen: dict[str, tuple[int, float]] = {}
        node = client.node
        self._stop = node.create_publisher(Empty, topics.GUARD_STOP, topics.JOINTS)
        self._say = node.create_publisher(
            OperatorCommand, topics.OPERATOR_EVENT, topics.LASTING_EVENTS
        )
        node.create_subscription(CameraInfo, topics.CAMERA_INFO, self._on_picture, topics.SENSOR)

    def _on_picture(self, _message: Any) -> None:
        self._pictures.append(self._watch.seconds())

    def look(self) -> AgentView:
        """Return what the agent said last, and how long ago."""
        now_s, calls = self._watch.seconds(), self._client.calls
        guard, policy = self._client.guard_state, self._client.policy_status
        truth = calls.newest(topics.SIM_STATE)
        recent = [at for at in list(self._pictures) if now_s - at < _RATE_S]
        view: dict[str, Any] = {
            "guard_age_s": self._age_s("guard", guard, now_s),
            "policy_age_s": self._age_s("policy", policy, now_s),
            "camera_age_s": now_s - self._pictures[-1] if self._pictures else float("inf"),
            "camera_hz": len(recent) / min(_RATE_S, max(now_s, 0.1)),
            "is_solved": None if truth is None else bool(truth.success),
        }
        if guard is not None:
            view |= {"mode": str(guard.mode), "controller": str(guard.controller)}
            view |= {"is_latched": bool(guard.latched), "causes": tuple(guard.causes)}
            view |= {"changes": tuple(guard.changes)}
        if policy is not None:
            view |= {"policy_state": str(policy.state), "speed": float(policy.speed)}
            view |= {"weights_version": str(policy.active_version)}
            words = (str(policy.stage), str(policy.stage_message))
            view |= {"stage": ": ".join(word for word in words if word)}
            view |= {"inference_ms": float(policy.inference_ms)}
        return AgentView(**view)

    def _age_s(self, name: str, message: Any, now_s: float) -> float:
        """Return the seconds since the report changed; stamps may count simulated time."""
        if message is None:
            return float("inf")
        stamp_ns, at_s = self._seen.get(name, (-1, now_s))
        if message.stamp_ns != stamp_ns:
            at_s = now_s
            self._seen[name] = (int(message.stamp_ns), now_s)
        return now_s - at_s

    def press_stop(self) -> None:
        """Ask the guard to stop; to be repeated until it says that it did."""
        self._stop.publish(Empty())

    def judge(self, event: str) -> None:
        """Say success, failure, discard or re_record of the running episode, to the policy.

        Without a stamp, as this side does not know the factor of simulated time: it counts for
        the episode that runs when it is heard.
        """
        said = OperatorCommand(source=self._source, gripper=float("nan"), event=event)
        self._say.publish(said)
