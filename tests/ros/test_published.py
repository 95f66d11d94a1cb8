"""Large policies at tiny size in the real policy node: a whole episode, and a swap of adapters."""

import itertools
from pathlib import Path

from robot_agent_interfaces.msg import ActionProposal

from robot_agent import cli
from robot_agent.compose import OPERATOR_KEY
from robot_agent.core import wx250s
from robot_agent.release.registry import Registry
from robot_agent.release.signing import load_key, load_keyring
from robot_agent.release.waiver import sign_waiver
from robot_agent.ros import topics
from robot_agent.ros.description import AgentOptions, processes
from robot_agent.ros.up import Agent
from robot_agent.store.episode_store import EpisodeStore
from tests.models.published_folders import write_adapter, write_oft, write_pi0_folder

TASK, STEPS = "open the drawer", 10


def take_in(source: Path, family: str, releases: Path) -> str:
    """Import through the command that a person uses; return the new release."""
    before = set(known(releases)) if (releases / "keyring.json").exists() else set()
    words = ["weights", "import", str(source), "--from", family, "--releases", str(releases)]
    assert cli.main(words) == 0
    (label,) = set(known(releases)) - before
    return label


def known(releases: Path) -> list[str]:
    registry = Registry(releases, load_keyring(releases / "keyring.json"))
    return [item.label for item in registry.list()]


def agent_on(releases: Path, folder: Path, domain_id: int) -> Agent:
    """An agent whose policy node is the real one; nothing adapts."""
    options = AgentOptions(
        folder=folder, releases=releases, camera_size_px=(160, 120), camera_hz=20.0
    )
    nodes = [node for node in processes(options) if node.name != "adaptation"]
    return Agent(options, nodes, domain_id=domain_id)


def require_rose(agent: Agent, episode_id: str, label: str) -> None:
    """The record names the weights, holds their actions, and the arm went up as they say."""
    episode = EpisodeStore(agent.options.store_folder).load(episode_id)
    assert set(episode.weights_versions) == {label}
    assert set(episode.controllers) == {"policy"}
    assert (episode.proposed[:, 2] >= 0.005 - 1e-9).all(), episode.proposed[:, 2]
    heights = [wx250s.forward(joints)[2, 3] for joints in episode.joints_rad]
    assert heights[-1] - heights[0] > 0.5 * episode.proposed[:, 2].sum(), heights


def test_openvla_oft_runs_an_episode_and_its_adapter_swaps_without_the_base(
    ros_domain_id: int, tmp_path: Path
) -> None:
    oft, releases = write_oft(tmp_path / "oft"), tmp_path / "releases"
    first = take_in(oft, "openvla-oft", releases)
    with agent_on(releases, tmp_path / "agent", ros_domain_id) as agent:
        client = agent.client
        report = client.run_task(TASK, seed=2, max_steps=STEPS)
        assert (report.steps, report.message) == (STEPS, ""), report
        require_rose(agent, report.episode_id, first)
        adapter = write_adapter(tmp_path / "a.safetensors", oft, 1)
        second = take_in(adapter, "adapter", releases)
        assert cli.main(["weights", "gate", second, "--releases", str(releases)]) == 0
        key = load_key(releases / "keys" / OPERATOR_KEY)
        client.promote(second, (key.key_id, sign_waiver(second, key)))
        client.wait_until_acting(second, 10.0)
        seen: list[ActionProposal] = []
        node = client.node
        listening = node.create_subscription(
            ActionProposal, topics.PROPOSAL, seen.append, topics.EVENTS
        )
        report = client.run_task(TASK, seed=3, max_steps=STEPS)
        node.destroy_subscription(listening)
        require_rose(agent, report.episode_id, second)
        assert [k for k, _ in itertools.groupby(p.weights_version for p in seen)] == [second]
        assert client.roll_back("test") == first
        log = agent.log_path("policy").read_text()
    assert log.count("read in") == 1, log
    assert f"{second}: on its resident base in" in log


def test_pi0_runs_an_episode(ros_domain_id: int, tmp_path: Path) -> None:
    releases = tmp_path / "releases"
    label = take_in(write_pi0_folder(tmp_path / "pi0"), "pi0", releases)
    with agent_on(releases, tmp_path / "agent", ros_domain_id) as agent:
        report = agent.client.run_task(TASK, seed=2, max_steps=STEPS)
        assert (report.steps, report.message) == (STEPS, ""), report
        require_rose(agent, report.episode_id, label)
