"""Over real DDS: a policy that answers late, in each mode; another instruction in mid-episode."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from robot_agent_interfaces.msg import ActionProposal
from std_msgs.msg import String

from robot_agent.act.execution import MODES
from robot_agent.ros.client import AgentClient
from robot_agent.ros.description import AgentOptions
from robot_agent.ros.up import Agent
from robot_agent.store.episode_store import EpisodeStore
from tests.ros.running import stub_releases, until, wait_for_actions, with_stub

TASK, OTHER = "open the drawer", "close the drawer"
LATE_S = 0.25


@pytest.fixture(scope="module", params=MODES)
def late_agent(
    request: pytest.FixtureRequest, ros_domain_id: int, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Agent]:
    folder = tmp_path_factory.mktemp(request.param)
    releases = stub_releases(folder / "releases")
    (releases / "v1.json").write_text(f'{{"step_m": 0.002, "act_s": {LATE_S}}}')
    (releases / "v2.json").write_text(f'{{"step_m": 0.001, "act_s": {LATE_S}}}')
    parameters = folder / "parameters.yaml"
    parameters.write_text(f"/**/policy: {{ros__parameters: {{execution: {request.param}}}}}\n")
    options = AgentOptions(
        folder=folder / "agent",
        releases=releases,
        camera_size_px=(160, 120),
        params_file=str(parameters),
    )
    nodes = with_stub(options, leave_out=("adaptation",))
    with Agent(options, nodes, domain_id=ros_domain_id) as running:
        yield running


def test_a_late_policy_is_never_late(late_agent: Agent, request: pytest.FixtureRequest) -> None:
    """What was executed is what was proposed, in order and once."""
    client = late_agent.client
    assert client is not None
    is_synchronous = "synchronous" in request.node.callspec.id.split("-")
    proposals: list[Any] = []
    subscription = client.node.create_subscription(
        ActionProposal, "proposal", proposals.append, 50
    )
    client.reset_world(1)
    before = client.policy_status.starved_ticks
    with ThreadPoolExecutor(1) as pool:
        episode = pool.submit(client.run_task, TASK, seed=2, max_steps=24)
        wait_for_actions(client, 4, episode)
        client.promote("v2")
        report = episode.result(40.0)
    client.node.destroy_subscription(subscription)
    assert (report.steps, report.message) == (24, ""), report
    status = client.policy_status
    starved = status.starved_ticks - before
    assert (starved >= 3) if is_synchronous else (starved <= 8), starved
    assert (status.dropped_actions == 0) == is_synchronous
    sequences = [proposal.sequence for proposal in proposals]
    assert len(sequences) == 24
    assert sequences == sorted(set(sequences)), "none twice, none out of turn"
    versions = [proposal.weights_version for proposal in proposals]
    assert versions == sorted(versions)
    assert set(versions) == {"v1", "v2"}
    recorded = EpisodeStore(late_agent.options.store_folder).load(report.episode_id)
    assert list(recorded.weights_versions) == versions
    assert np.allclose(recorded.proposed, [list(proposal.action) for proposal in proposals])
    _follows_another_instruction(client, late_agent)


def _follows_another_instruction(client: AgentClient, agent: Agent) -> None:
    speaker = client.node.create_publisher(String, "instruction", 1)
    until(lambda: speaker.get_subscription_count() > 0, 5.0, "somebody listens")
    client.reset_world(1)
    with ThreadPoolExecutor(1) as pool:
        episode = pool.submit(client.run_task, TASK, max_steps=24)
        wait_for_actions(client, 3, episode)
        speaker.publish(String(data="dance"))
        until(lambda: "dance" in client.policy_status.message, 5.0, "a refusal in words")
        assert client.policy_status.instruction == TASK
        speaker.publish(String(data=OTHER))
        until(lambda: client.policy_status.instruction == OTHER, 5.0, "the other instruction")
        report = episode.result(40.0)
    client.node.destroy_publisher(speaker)
    assert report.steps == 24, "the episode went on"
    recorded = EpisodeStore(agent.options.store_folder).load(report.episode_id)
    assert recorded.instruction == TASK
    assert 0 < recorded.num_steps < 24, "what followed another instruction is not in it"
