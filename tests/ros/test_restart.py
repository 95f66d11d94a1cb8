"""A policy node that is killed in any stage of a promotion comes back right."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace

import pytest

from robot_agent.core.errors import ArmFaultError
from robot_agent.release.registry import Registry
from robot_agent.release.registry_config import RegistryConfig
from robot_agent.release.signing import save_keyring
from robot_agent.release.states import State
from robot_agent.ros.calls import ACTIVE, CLEAN_UP, CONFIGURE, DEACTIVATE, INACTIVE
from robot_agent.ros.client import AgentClient
from robot_agent.ros.description import AgentOptions, processes
from robot_agent.ros.episodes import EpisodeOrder
from robot_agent.ros.up import Agent
from tests.release.bundles import KEYRING, OPERATOR, make_bundle
from tests.ros.running import HERE, is_up, until
from tests.ros.test_promotion import TASK, arm, run


@pytest.fixture
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """A factory release and a child that passed the gate."""
    folder = tmp_path_factory.mktemp("releases")
    save_keyring(folder / "keyring.json", KEYRING)
    made = Registry(folder, KEYRING, RegistryConfig(min_free_gb=0.0))
    first = make_bundle(folder / "b1", 1, key=OPERATOR)
    made.install_factory(folder / "b1")
    make_bundle(folder / "b2", 2, first.hash)
    label = made.publish(folder / "b2")
    made.advance(label, State.LOADED)
    made.advance(label, State.SANE)
    return made


@pytest.fixture
def agent(
    ros_domain_id: int, registry: Registry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Agent]:
    options = AgentOptions(
        folder=tmp_path_factory.mktemp("agent"),
        releases=registry.folder,
        camera_size_px=(160, 120),
    )
    nodes = [
        replace(node, module=(str(HERE / "registry_policy_node.py"),))
        if node.name == "policy"
        else node
        for node in processes(options)
        if node.name not in ("adaptation", "recorder")
    ]
    with Agent(options, nodes, domain_id=ros_domain_id) as running:
        yield running


def kill(agent: Agent, client: AgentClient) -> str:
    """Kill the policy node; return what acts in the first episode of the one in its place."""
    pid = agent.pid("policy")
    os.kill(pid, signal.SIGKILL)
    until(lambda: agent.pid("policy") != pid, 10.0, "another process")
    client.calls.forget("policy/status")
    until(lambda: client.calls.state_of("policy", 20.0) == INACTIVE, 20.0, "it is configured")
    until(lambda: is_up(client), 20.0, "it is active")
    order = EpisodeOrder(instruction=TASK, max_steps=5, is_simulated=False, is_recorded=False)

    def acted() -> str:
        report = client.episodes.run(order)
        return "" if report.outcome == "abort" else report.weights_version

    return str(until(acted, 20.0, "it has heard the guard and acts"))


def test_kill_in_every_stage_comes_back_on_the_last_good(agent: Agent, registry: Registry) -> None:
    client = agent.client
    assert client is not None
    until(lambda: is_up(client), 20.0, "up")
    client.reset_world(1)
    first, candidate = list(registry.releases().states)

    client.promote(candidate)
    assert client.policy_status.active_version == first
    assert kill(agent, client) == first
    assert registry.releases().states[candidate] is State.SHADOW
    assert client.policy_status.stage == "", "what may have killed it is not loaded by itself"

    arm(client, candidate, first)
    assert kill(agent, client) == first, "an armed candidate acted after a crash"
    assert registry.releases().states[candidate] is State.SHADOW

    arm(client, candidate, first)
    assert run(client).weights_version == candidate
    assert registry.current() == candidate
    assert kill(agent, client) == first
    releases = registry.releases()
    assert (releases.current, releases.states[candidate]) == (first, State.REJECTED)
    assert releases.reasons[candidate] == "the process ended during probation"

    _nothing_sound_is_left(client, registry)


def _nothing_sound_is_left(client: AgentClient, registry: Registry) -> None:
    """All bundles are damaged: no policy, in words, and the guard goes on holding."""
    for label in registry.releases().states:
        weights = registry.path(label) / "policy.safetensors"
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
    assert client.calls.change_state("policy", DEACTIVATE)
    assert client.calls.change_state("policy", CLEAN_UP)
    assert not client.calls.change_state("policy", CONFIGURE)
    until(lambda: client.policy_status.state == "no policy", 3.0, "it says so")
    assert "no sound release is left" in client.policy_status.message
    assert "weights import" in client.policy_status.message
    with pytest.raises(ArmFaultError, match="not active or is busy"):
        run(client)
    assert client.calls.state_of("arm_guard") == ACTIVE
    until(lambda: client.guard_state.mode in ("idle", "hold"), 2.0, "nobody moves the arm")
