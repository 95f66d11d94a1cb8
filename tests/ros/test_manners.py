"""What a ROS programmer expects of every node: health, described parameters, words about QoS."""

import os
import subprocess
import sys
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import DescribeParameters, ListParameters, SetParameters
from rclpy.qos import QoSProfile, ReliabilityPolicy
from robot_agent_interfaces.msg import OperatorCommand

from robot_agent.core.clock import Stopwatch
from robot_agent.core.errors import ArmFaultError
from robot_agent.ros.calls import ACTIVE, CONFIGURE
from robot_agent.ros.client import AgentClient
from robot_agent.ros.up import Agent
from tests.ros.operating import Pad, teleop
from tests.ros.running import until

NODES = ("sim_world", "arm_guard", "policy", "recorder", "teleop")
OF_ROS = ("use_sim_time", "start_type_description_service", "qos_overrides")


def ask(client: AgentClient, kind: Any, name: str, **fields: Any) -> Any:
    called = client.node.create_client(kind, name)
    assert called.wait_for_service(10.0), name
    answer = client.calls.wait(called.call_async(kind.Request(**fields)), 10.0, name)
    client.node.destroy_client(called)
    return answer


@pytest.mark.slow
def test_every_node_tells_its_health_once_a_second_and_explains_its_parameters(
    agent: Agent, client: AgentClient
) -> None:
    pad, watch = Pad(client), Stopwatch()
    seen: dict[str, list[float]] = {}  # by name of a part: a node may tell of several

    def keep(message: Any) -> None:
        for status in message.status:
            seen.setdefault(status.name, []).append(watch.seconds())

    def told(node: str) -> list[list[float]]:
        return [times for name, times in seen.items() if name.startswith(f"{node}:")]

    listener = client.node.create_subscription(DiagnosticArray, "/diagnostics", keep, 50)
    with teleop(client, "gamepad"):
        until(
            lambda: all(any(len(times) >= 4 for times in told(name)) for name in NODES),
            20.0,
            f"health of {NODES}",
        )
        for name in NODES:
            times = max(told(name), key=len)
            assert 0.7 < (times[-1] - times[0]) / (len(times) - 1) < 1.6, name
            _look_at_parameters(client, name)
    client.node.destroy_subscription(listener)
    pad.close()


def _look_at_parameters(client: AgentClient, node: str) -> None:
    listed = ask(client, ListParameters, f"{node}/list_parameters").result.names
    names = [name for name in listed if not name.startswith(OF_ROS)]
    assert names, node
    described = ask(client, DescribeParameters, f"{node}/describe_parameters", names=names)
    for one in described.descriptors:
        assert one.description, f"{node}.{one.name} is not described"
        assert one.read_only, f"{node}.{one.name} can be changed under a running node"
        if one.type == ParameterType.PARAMETER_DOUBLE:
            assert one.floating_point_range, f"{node}.{one.name} has no range"
    value = ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=1e9)
    wrong = [Parameter(name="time_factor", value=value)]
    answer = ask(client, SetParameters, f"{node}/set_parameters", parameters=wrong)
    assert not answer.results[0].successful
    assert answer.results[0].reason


def test_a_publisher_of_another_quality_is_named_in_the_log(
    agent: Agent, client: AgentClient
) -> None:
    qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    publisher = client.node.create_publisher(OperatorCommand, "operator", qos)
    log = agent.log_path("arm_guard")

    def is_said() -> bool:
        lines = log.read_text().splitlines()
        return any("incompatible QoS" in line and "operator" in line for line in lines)

    until(is_said, 10.0, "a line about the publisher that is not heard")
    client.node.destroy_publisher(publisher)


@pytest.mark.parametrize("name", ["arm_guard", "policy"])
def test_a_transition_that_makes_no_sense_does_not_end_a_node(
    agent: Agent, client: AgentClient, name: str
) -> None:
    pid, log = agent.pid(name), agent.log_path(name)
    caller = client.node.create_client(ChangeState, f"{name}/change_state")
    assert caller.wait_for_service(10.0)
    caller.call_async(ChangeState.Request(transition=Transition(id=CONFIGURE)))
    until(lambda: "refused: a transition" in log.read_text(), 5.0, "a refusal in the log")
    client.node.destroy_client(caller)
    assert client.calls.state_of(name) == ACTIVE
    assert agent.pid(name) == pid
    before = client.guard_state.ticks
    client.calls.wait_for("guard/state", lambda state: state.ticks > before, 5.0)


def test_who_asks_us_for_a_transition_that_makes_no_sense_is_told_at_once(
    client: AgentClient,
) -> None:
    watch = Stopwatch()
    with pytest.raises(ArmFaultError, match="is active, must be unconfigured to configure"):
        client.calls.change_state("arm_guard", CONFIGURE)
    assert watch.seconds() < 5.0


def test_opencv_has_no_workers_in_a_node_that_would_spin_between_two_pictures() -> None:
    words = (
        "import cv2; from robot_agent.ros import environment; "
        "environment.prepare(); print(cv2.getNumThreads())"
    )
    variables = {k: v for k, v in os.environ.items() if k != "OPENCV_FOR_THREADS_NUM"}
    command = [sys.executable, "-c", words]
    done = subprocess.run(command, capture_output=True, text=True, env=variables, check=True)
    assert done.stdout.strip() == "1"
