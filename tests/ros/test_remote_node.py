"""Over real DDS: the policy node on a policy that another process serves."""

import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from robot_agent.ros.adapt_session import AdaptOrder, AdaptSession
from robot_agent.ros.calls import ACTIVATE, CLEAN_UP, CONFIGURE, DEACTIVATE
from robot_agent.ros.client import AgentClient
from robot_agent.ros.description import AgentOptions, processes
from robot_agent.ros.episodes import EpisodeReport
from robot_agent.ros.up import Agent
from robot_agent.store.episode_store import EpisodeStore
from tests.ros.running import HERE, until, wait_for_actions

TASK = "open the drawer"


class Server:
    """The process that serves; on the same port whenever it is started again."""

    def __init__(self, folder: Path) -> None:
        self.token, self.port = folder / "token", 0
        self.token.write_text("a secret of the test")
        self.token.chmod(0o600)
        self.child: subprocess.Popen[str] | None = None

    def start(self, version: str) -> None:
        words = [str(HERE / "serve_stub.py"), str(self.port), str(self.token), version]
        self.child = subprocess.Popen(
            [sys.executable, *words], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        )
        assert self.child.stdout is not None
        self.port = int(self.child.stdout.readline())

    def send(self, number: signal.Signals) -> None:
        assert self.child is not None
        self.child.send_signal(number)

    def kill(self) -> None:
        if self.child is not None:
            self.child.kill()
            self.child.wait(10.0)
            assert self.child.stdout is not None
            self.child.stdout.close()
            self.child = None


def test_a_served_policy_moves_the_arm_and_a_lost_one_holds_it(
    ros_domain_id: int, tmp_path: Path
) -> None:
    server = Server(tmp_path)
    server.start("v1")
    options = AgentOptions(
        folder=tmp_path / "agent",
        camera_size_px=(160, 120),
        policy_server=f"127.0.0.1:{server.port}",
        policy_token_file=str(server.token),
    )
    nodes = [node for node in processes(options) if node.name != "adaptation"]
    try:
        with Agent(options, nodes, domain_id=ros_domain_id) as agent:
            assert agent.client is not None
            _an_episode_names_the_remote_weights(agent.client, options)
            _what_is_no_release_is_refused(agent.client)
            _lost_and_hanging_servers_hold_the_arm(agent.client, server)
            _another_version_acts_only_when_configured_anew(agent.client, server)
    finally:
        server.kill()
    assert not options.releases_folder.exists(), "a remote policy needs no registry"


def _run(client: AgentClient, steps: int) -> EpisodeReport:
    """Run one episode; again when a busy machine had starved the simulated driver."""
    report = client.run_task(TASK, seed=2, max_steps=steps)
    if report.outcome == "abort" and not report.steps and client.episodes.revive_simulation():
        report = client.run_task(TASK, seed=2, max_steps=steps)
    return report


def _an_episode_names_the_remote_weights(client: AgentClient, options: AgentOptions) -> None:
    report = _run(client, 10)
    assert (report.steps, report.message, report.weights_version) == (10, "", "remote:v1"), report
    episode = EpisodeStore(options.store_folder).load(report.episode_id)
    assert set(episode.weights_versions) == {"remote:v1"}
    assert set(episode.controllers) == {"policy"}
    assert client.policy_status.backend == "remote"


def _what_is_no_release_is_refused(client: AgentClient) -> None:
    answer = client.calls.call("weights/promote", version="v0001-abcdef01")
    assert not answer.success
    assert "remote:v1 acts, which runs on another machine and is no release" in answer.message
    answer = client.calls.call("weights/roll_back", reason="test")
    assert not answer.success
    order = AdaptOrder(
        scene="home",
        instructions=(TASK,),
        budget_minutes=1.0,
        max_real_episodes=2,
        run_folder="run",
        store="store",
        releases="releases",
        is_simulated=True,
        episode_steps=5,
    )
    session = AdaptSession(
        calls=client.calls,
        order=order,
        on_progress=lambda _: None,
        is_cancelled=lambda: False,
        log=lambda _: None,
        command=["/no/learner/is/started"],
    )
    outcome = session.run()
    assert not outcome.success
    assert "runs on another machine and is no release of this robot" in outcome.message


def _lost_and_hanging_servers_hold_the_arm(client: AgentClient, server: Server) -> None:
    client.reset_world(1)
    before = client.policy_status.starved_ticks
    with ThreadPoolExecutor(1) as pool:
        episode = pool.submit(client.run_task, TASK, seed=2, max_steps=30, is_recorded=False)
        wait_for_actions(client, 4, episode)
        server.send(signal.SIGSTOP)
        until(lambda: "The arm holds" in client.policy_status.message, 10.0, "it is said")
        held = client.guard_state.accepted
        threading.Event().wait(0.5)
        assert client.guard_state.accepted == held, "the arm moved without a policy"
        server.send(signal.SIGCONT)
        wait_for_actions(client, held + 6, episode)
        server.kill()
        until(lambda: "cannot be reached" in client.policy_status.message, 10.0, "it is said")
        server.start("v1")
        report = episode.result(60.0)
    assert (report.steps, report.message) == (30, ""), report
    assert client.policy_status.starved_ticks - before >= 4
    assert client.policy_status.message == ""


def _another_version_acts_only_when_configured_anew(client: AgentClient, server: Server) -> None:
    server.kill()
    server.start("v2")
    report = client.run_task(TASK, seed=2, max_steps=5, is_recorded=False)
    assert report.steps == 0
    assert "serves v2, must serve v1 as when this node was configured" in report.message
    for transition in (DEACTIVATE, CLEAN_UP, CONFIGURE, ACTIVATE):
        assert client.calls.change_state("policy", transition)
    report = _run(client, 5)
    assert (report.steps, report.weights_version) == (5, "remote:v2"), report
