"""A judgement reaches a node that finds the device late, and counts for its own episode only."""

from collections.abc import Iterator

import pytest
from robot_agent_interfaces.msg import OperatorCommand

from robot_agent.ros import topics
from robot_agent.ros.client import AgentClient
from robot_agent.ros.judgements import Judgements
from tests.ros.running import until


@pytest.fixture
def device(ros_domain_id: int) -> Iterator[AgentClient]:
    with AgentClient(domain_id=ros_domain_id) as client:
        yield client


@pytest.fixture
def policy(ros_domain_id: int, device: AgentClient) -> Iterator[AgentClient]:
    with AgentClient(domain_id=ros_domain_id) as client:
        yield client


def test_a_button_that_was_pressed_before_the_policy_found_the_device_counts(
    device: AgentClient, policy: AgentClient
) -> None:
    pressed = device.node.create_publisher(
        OperatorCommand, topics.OPERATOR_EVENT, topics.LASTING_EVENTS
    )
    pressed.publish(OperatorCommand(source="gamepad", event="success", stamp_ns=100))
    heard = Judgements(policy.node, lambda: 50)
    until(lambda: heard.event, 10.0, "the judgement")
    assert (heard.event, heard.source) == ("success", "gamepad")


def test_what_was_said_before_the_episode_does_not_count_however_late_it_comes(
    device: AgentClient, policy: AgentClient
) -> None:
    pressed = device.node.create_publisher(
        OperatorCommand, topics.OPERATOR_EVENT, topics.LASTING_EVENTS
    )
    pressed.publish(OperatorCommand(source="gamepad", event="failure", stamp_ns=100))
    pressed.publish(OperatorCommand(source="gamepad", event="stop", stamp_ns=300))
    pressed.publish(OperatorCommand(source="pedal", event="discard", stamp_ns=301))
    heard = Judgements(policy.node, lambda: 200)
    until(lambda: heard.event, 10.0, "a judgement")
    assert (heard.event, heard.source) == ("discard", "pedal")
    heard.forget()
    assert heard.event == ""
