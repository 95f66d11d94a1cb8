"""From the camera to the arm: pictures that are withheld, or a camera that dies, hold it."""

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray

from robot_agent import cli
from robot_agent.commands import doctor_camera
from robot_agent.core.errors import ArmFaultError
from robot_agent.ros import topics
from robot_agent.ros.calls import ACTIVATE, ACTIVE, INACTIVE
from robot_agent.ros.client import AgentClient
from robot_agent.ros.description import AgentOptions, NodeProcess
from robot_agent.ros.up import Agent
from tests.ros.monitor import Monitor
from tests.ros.running import is_up, stub_releases, until, wait_for_actions, with_stub

pytestmark = pytest.mark.slow
TASK = "open the drawer"
REMAPPED = ("camera/color/image_raw:=raw/image_raw", "camera/color/camera_info:=raw/camera_info")


@dataclass(frozen=True, kw_only=True)
class DriverOnly(NodeProcess):
    """The simulated world as a foreign driver: its pictures are on a topic of its own."""

    def arguments(self, namespace: str, params_file: str = "") -> list[str]:
        words = super().arguments(namespace, params_file)
        for remapping in REMAPPED:
            words += ["-r", remapping]
        return words


def nodes(options: AgentOptions) -> Iterator[NodeProcess]:
    for node in with_stub(options, leave_out=("adaptation", "recorder")):
        if node.name != "sim_world":
            yield node
            continue
        yield DriverOnly(name=node.name, parameters=node.parameters)
        yield NodeProcess(
            name="camera",
            parameters={
                "source": "topic",
                "topic": "raw/image_raw",
                "width": 160,
                "height": 120,
                "hz": 20,
                "settle_pictures": 5,
                "max_late_s": 0.5,  # of a loaded machine
                "slow_below": 0.4,
            },
            is_lifecycle=True,
        )


@pytest.fixture(scope="module")
def agent(ros_domain_id: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    folder = tmp_path_factory.mktemp("chain")
    options = AgentOptions(
        folder=folder,
        releases=stub_releases(folder / "releases"),
        camera_size_px=(160, 120),
        camera_hz=20.0,
    )
    with Agent(options, tuple(nodes(options)), domain_id=ros_domain_id) as running:
        yield running


@pytest.fixture
def client(agent: Agent) -> AgentClient:
    client = agent.client
    assert client is not None
    until(lambda: is_up(client), 20.0, "guard and policy active")
    client.inject("camera", "ok")
    client.reset_world(1)
    client.calls.wait_for("guard/state", lambda message: message.mode == "idle", 5.0)
    until(lambda: is_activated(client), 20.0, "the camera is active")
    said = CameraReport(client)
    until(lambda: said.message == "streaming", 15.0, "pictures")
    return client


def is_activated(client: AgentClient) -> bool:
    """Activate the camera; a request that goes to the process that died is never answered."""
    if client.calls.state_of("camera", 20.0) == ACTIVE:
        return True
    try:
        return client.calls.change_state("camera", ACTIVATE, 5.0)
    except ArmFaultError:
        return False


class CameraReport:
    """The newest of what the camera's node says about itself."""

    def __init__(self, client: AgentClient) -> None:
        self.message, self.values = "", {}  # type: ignore[var-annotated]
        client.node.create_subscription(DiagnosticArray, topics.DIAGNOSTICS, self._keep, 10)

    def _keep(self, array: Any) -> None:
        for status in array.status:
            if status.hardware_id == "camera":
                self.values = {value.key: value.value for value in status.values}
                self.message = status.message


def test_an_episode_runs_on_the_pictures_of_a_topic(client: AgentClient) -> None:
    report = client.run_task(TASK, seed=2, max_steps=6, is_recorded=False)
    assert (report.steps, report.message) == (6, "")
    status, value, _ = doctor_camera.health()
    assert status == "ok"
    assert "streaming; camera topic raw/image_raw; rate_hz" in value


def test_a_reference_is_taken_and_a_camera_that_moved_is_refused(
    agent: Agent, client: AgentClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "view.png")
    assert cli.main(["camera", "reference", "--out", out]) == 0
    capsys.readouterr()
    assert cli.main(["camera", "compare", "--reference", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["results"]["moved_px"] < 1.0
    taken = cv2.imread(out)
    cv2.imwrite(out, np.roll(taken, 4, axis=1))
    assert cli.main(["camera", "compare", "--reference", out, "--max-moved-px", "3"]) == 1
    assert "the view has moved by" in capsys.readouterr().out


def test_a_camera_that_stalls_withholds_its_pictures_and_the_arm_holds(
    client: AgentClient,
) -> None:
    said = CameraReport(client)
    with ThreadPoolExecutor(1) as pool, Monitor() as monitor:
        episode = pool.submit(client.run_task, TASK, max_steps=100, is_recorded=False)
        wait_for_actions(client, 2, episode)
        client.inject("camera", "slow", 0.2)
        report = episode.result(15.0)
        assert report.outcome == "abort"
        assert "camera" in report.message
        ended_ns = monitor.now_ns()
        until(lambda: int(said.values.get("withheld", 0)) > 0, 3.0, "withheld pictures")
        assert "stalling" in said.message
        status, value, _ = doctor_camera.health()
        assert status == "missing"
        assert "stalling: Use a USB 3 port" in value
        until(lambda: monitor.now_ns() - ended_ns > 5e8, 2.0, "half a second")
        assert monitor.last_motion_ns() - ended_ns < 3e8
    client.inject("camera", "ok")
    until(lambda: said.message == "streaming", 10.0, "the camera is well again")


def test_a_camera_that_is_killed_holds_the_arm_and_comes_back_inactive(
    agent: Agent, client: AgentClient
) -> None:
    with ThreadPoolExecutor(1) as pool, Monitor() as monitor:
        episode = pool.submit(client.run_task, TASK, max_steps=100, is_recorded=False)
        wait_for_actions(client, 2, episode)
        killed_ns = monitor.now_ns()
        os.kill(agent.pid("camera"), signal.SIGKILL)
        report = episode.result(10.0)
        assert report.outcome == "abort"
        assert "camera" in report.message
        assert monitor.last_motion_ns() - killed_ns < 1.0e9
    until(lambda: client.calls.state_of("camera", 20.0) == INACTIVE, 20.0, "the camera inactive")
    until(lambda: is_activated(client), 30.0, "the camera active")
    report = client.run_task(TASK, max_steps=5, is_recorded=False)
    assert report.message == ""
