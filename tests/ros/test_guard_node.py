"""The guard's node over real DDS: what stops it, what holds it, what a person must do."""

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from interbotix_xs_msgs.msg import JointGroupCommand
from rclpy.qos import QoSProfile
from robot_agent_interfaces.msg import ActionProposal
from std_msgs.msg import Empty

from robot_agent.core.clock import SystemClock
from robot_agent.core.errors import ArmFaultError
from robot_agent.ros.client import AgentClient
from robot_agent.ros.up import Agent
from tests.ros.monitor import Monitor
from tests.ros.running import until, wait_for_actions

TASK = "open the drawer"
TICK_NS = 20_000_000
SLACK_NS = 20_000_000
"""What a busy machine adds to a measurement from outside."""


class Proposer:
    """Publishes proposals of its own, as a policy that misbehaves would."""

    def __init__(self, client: AgentClient) -> None:
        self._clock = SystemClock()
        self._publisher = client.node.create_publisher(
            ActionProposal, "proposal", QoSProfile(depth=1)
        )
        self._node = client.node
        self._sequence = self._clock.now_ns() // 1_000_000
        # A guard that was killed counts as a listener until discovery forgets it.
        until(lambda: self._publisher.get_subscription_count() == 1, 20.0, "the guard listens")

    def send(self, action: list[float], deadline_s: float = 0.2, age_s: float = 0.0) -> None:
        now_ns = self._clock.now_ns()
        self._sequence += 1
        message = ActionProposal(action=action, weights_version="test", sequence=self._sequence)
        message.stamp_ns = now_ns - round(age_s * 1e9)
        message.deadline_ns = now_ns + round(deadline_s * 1e9)
        self._publisher.publish(message)

    def close(self) -> None:
        self._node.destroy_publisher(self._publisher)


@pytest.fixture
def proposer(client: AgentClient) -> Iterator[Proposer]:
    made = Proposer(client)
    yield made
    made.close()


def wait_for_cause(client: AgentClient, cause: str, timeout_s: float = 3.0) -> Any:
    return client.calls.wait_for("guard/state", lambda state: cause in state.causes, timeout_s)


def run_in_background(pool: ThreadPoolExecutor, client: AgentClient) -> Any:
    episode = pool.submit(client.run_task, TASK, max_steps=60, is_recorded=False)
    wait_for_actions(client, 2, episode)
    return episode


def test_a_good_proposal_moves_the_arm(client: AgentClient, proposer: Proposer) -> None:
    proposer.send([0.0, 0.0, 0.01, 0.0, 0.0, 0.0, 1.0])
    state = client.calls.wait_for("guard/state", lambda state: state.accepted == 1, 2.0)
    assert state.mode == "active"
    assert state.sent[2] == pytest.approx(0.01)
    assert state.weights_version == "test"


def test_a_killed_policy_leads_to_a_hold_within_250_ms_and_a_tick(
    agent: Agent, client: AgentClient
) -> None:
    with ThreadPoolExecutor(1) as pool, Monitor() as monitor:
        episode = run_in_background(pool, client)
        killed_ns = monitor.now_ns()
        os.kill(agent.pid("policy"), signal.SIGKILL)
        state = client.calls.wait_for("guard/state", lambda state: state.mode == "hold", 2.0)
        assert state.stamp_ns - killed_ns < 250e6 + TICK_NS + SLACK_NS, state.causes
        until(lambda: monitor.now_ns() - killed_ns > 6e8, 2.0, "more commands")
        assert monitor.last_motion_ns() - killed_ns < 250e6 + TICK_NS + SLACK_NS
        assert monitor.stamps_ns[-1] - killed_ns > 5e8, "the guard stopped commanding"
        assert episode.exception(timeout=30.0) is None or isinstance(
            episode.exception(), ArmFaultError
        )


def test_a_second_publisher_latches_until_it_is_gone_and_a_person_resets(
    client: AgentClient,
) -> None:
    clock = SystemClock()
    began_ns = clock.now_ns()
    rogue = client.node.create_publisher(
        JointGroupCommand, "commands/joint_group", QoSProfile(depth=1)
    )
    try:
        state = wait_for_cause(client, "second_publisher")
        assert state.latched
        assert state.stamp_ns - began_ns < 400e6
        with pytest.raises(ArmFaultError, match="second_publisher"):
            client.reset_latch("test", "second_publisher")
    finally:
        client.node.destroy_publisher(rogue)
    until(lambda: _can_reset(client, "second_publisher"), 3.0, "reset")
    client.calls.wait_for("guard/state", lambda state: state.mode == "idle", 2.0)


def _can_reset(client: AgentClient, cause: str) -> bool:
    return bool(client.calls.call("guard/reset", operator_name="test", acknowledge=cause).success)


def test_a_stop_by_service_latches_and_ends_the_episode(client: AgentClient) -> None:
    with ThreadPoolExecutor(1) as pool, Monitor() as monitor:
        episode = run_in_background(pool, client)
        asked_ns = monitor.now_ns()
        client.stop()
        state = wait_for_cause(client, "operator_stop")
        assert state.stamp_ns - asked_ns < 2 * TICK_NS + SLACK_NS
        report = episode.result(10.0)
        assert report.outcome == "abort"
        assert "operator_stop" in report.message
        assert monitor.last_motion_ns() - asked_ns < 2 * TICK_NS + SLACK_NS
    with pytest.raises(ArmFaultError, match="operator_stop"):
        client.reset_latch("test", "something else")
    with pytest.raises(ArmFaultError, match="operator_stop"):
        client.reset_latch("", "operator_stop")
    assert client.reset_latch("test", "operator_stop") == "still latched: nothing"


def test_a_stop_by_topic_latches_and_outlives_a_restart_of_the_guard(
    agent: Agent, client: AgentClient
) -> None:
    publisher = client.node.create_publisher(Empty, "guard/stop", QoSProfile(depth=1))
    until(lambda: publisher.get_subscription_count() == 1, 20.0, "the guard listens")
    publisher.publish(Empty())
    wait_for_cause(client, "operator_stop")
    client.node.destroy_publisher(publisher)
    client.calls.forget("guard/state")
    os.kill(agent.pid("arm_guard"), signal.SIGKILL)
    until(lambda: client.calls.state_of("arm_guard") == 2, 20.0, "the guard is back, inactive")
    # The killed guard counts as a publisher until discovery forgets it; activation waits for that.
    client.episodes.activate_guard(patience_s=20.0)
    state = wait_for_cause(client, "operator_stop")
    assert state.mode == "stopped"
    assert client.reset_latch("test", "operator_stop") == "still latched: nothing"


def test_a_stale_proposal_is_not_executed(client: AgentClient, proposer: Proposer) -> None:
    proposer.send([0.0, 0.0, 0.01, 0.0, 0.0, 0.0, 1.0], deadline_s=-0.15)
    state = wait_for_cause(client, "stale_proposal")
    assert state.accepted == 0
    assert state.mode == "hold"
    assert not state.latched


def test_a_number_that_is_not_finite_holds_and_twice_stops(
    client: AgentClient, proposer: Proposer
) -> None:
    proposer.send([float("nan"), 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
    state = wait_for_cause(client, "non_finite")
    assert (state.accepted, state.rejected) == (0, 1)
    proposer.send([0.0, float("inf"), 0.0, 0.0, 0.0, 0.0, 1.0])
    state = wait_for_cause(client, "non_finite_repeated")
    assert state.latched


def test_six_numbers_are_malformed(client: AgentClient, proposer: Proposer) -> None:
    proposer.send([0.0] * 6)
    assert wait_for_cause(client, "malformed").accepted == 0


@pytest.mark.parametrize(
    ("kind", "cause"), [("off", "driver_silent"), ("garbage", "bad_joint_states")]
)
def test_a_driver_that_fails_stops_the_arm(client: AgentClient, kind: str, cause: str) -> None:
    client.inject("joint_states", kind)
    assert wait_for_cause(client, cause).latched
    client.inject("joint_states", "ok")


def test_commands_keep_coming_at_50_hz(client: AgentClient) -> None:
    with Monitor() as monitor:
        until(lambda: len(monitor.commands) >= 100, 5.0, "100 commands")
        gaps_ms = monitor.gaps_ms()
    assert 19.0 < np.median(gaps_ms) < 21.0


def test_a_callback_of_every_input_only_stores(client: AgentClient) -> None:
    """A flood of proposals does not disturb the guard's own thread."""
    proposer = Proposer(client)
    before = client.guard_state.ticks
    flood_ends = threading.Event()
    threading.Timer(1.0, flood_ends.set).start()
    while not flood_ends.is_set():
        proposer.send([0.0, 0.0, 0.001, 0.0, 0.0, 0.0, 1.0])
        flood_ends.wait(0.002)
    proposer.close()
    state = client.calls.wait_for("guard/state", lambda state: state.ticks > before + 45, 2.0)
    assert state.accepted <= 8, "the guard took more than one action per 0.16 s"
