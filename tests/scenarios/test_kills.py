"""Every process is killed in turn, by the signal that nobody can catch: the arm holds.

The twin, at the level of processes, of the test of sim.launch.py: it needs no `launch`.
"""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed; run `make setup`")

from robot_agent.core.errors import ArmFaultError
from robot_agent.ros.calls import INACTIVE
from robot_agent.ros.client import AgentClient
from robot_agent.ros.description import AgentOptions
from robot_agent.ros.up import Agent
from tests.ros.monitor import Monitor
from tests.ros.running import is_up, stub_releases, try_reset, until, wait_for_actions, with_stub

pytestmark = [pytest.mark.ros, pytest.mark.slow]
HELD_NS = 400_000_000
"""Silence that is noticed (250 ms), a tick, and what a busy machine adds."""


@pytest.fixture(scope="module")
def agent(ros_domain_id: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    folder = tmp_path_factory.mktemp("kills")
    options = AgentOptions(
        folder=folder,
        releases=stub_releases(folder / "releases"),
        camera_size_px=(160, 120),
        camera_hz=20.0,
    )
    with Agent(options, with_stub(options), domain_id=ros_domain_id) as running:
        yield running


def ready(agent: Agent) -> AgentClient:
    """Return the client of an agent that a person has brought back: activated and unlatched."""
    client = agent.client
    assert client is not None
    until(lambda: is_up(client), 40.0, "guard and policy active")
    state = client.guard_state
    for cause in list(state.causes) if state.latched else []:
        until(lambda cause=cause: try_reset(client, cause), 10.0, f"reset of {cause}")
    until(lambda: _is_reset(client), 40.0, "the world at its start")
    return client


def _is_reset(client: AgentClient) -> bool:
    """Ask again where a request reached only a process that was killed just now."""
    try:
        client.reset_world(1)
    except ArmFaultError:
        return False
    return True


@pytest.mark.parametrize("name", ["policy", "sim_world", "arm_guard", "recorder", "adaptation"])
def test_the_death_of_a_process_holds_the_arm_or_does_not_concern_it(
    agent: Agent, name: str
) -> None:
    client = ready(agent)
    with ThreadPoolExecutor(1) as pool, Monitor() as monitor:
        episode = pool.submit(client.run_task, "open the drawer", max_steps=40, is_recorded=False)
        wait_for_actions(client, 2, episode)
        os.kill(agent.pid(name), signal.SIGKILL)
        killed_ns = monitor.now_ns()
        until(lambda: monitor.now_ns() - killed_ns > 1.2e9, 3.0, "more than a second")
        if name in ("recorder", "adaptation"):
            assert monitor.last_motion_ns() - killed_ns > HELD_NS, "the arm goes on"
            assert episode.result(30.0).message == ""
            return
        assert monitor.last_motion_ns() - killed_ns < HELD_NS
        _ended(episode)
    if name in ("policy", "arm_guard"):
        until(lambda: _state(client, name) == INACTIVE, 40.0, f"{name} inactive again")
    if name == "sim_world":
        assert "driver_silent" in client.guard_state.causes
    assert np.isfinite(list(client.guard_state.joint_target_rad)).all()


def _ended(episode: object) -> None:
    """The episode ends by itself, in words: as an abort, or as a node that does not answer."""
    try:
        assert episode.result(30.0).outcome == "abort"
    except ArmFaultError as error:
        assert "log" in str(error) or "Check" in str(error)


def _state(client: AgentClient, name: str) -> int | None:
    try:
        return client.calls.state_of(name, 2.0)
    except ArmFaultError:
        return None


def test_logs_of_every_process_are_where_the_readme_says(agent: Agent) -> None:
    assert {path.stem for path in Path(agent.options.folder / "logs").iterdir()} >= {
        "sim_world", "arm_guard", "policy", "recorder", "adaptation",
    }  # fmt: skip
