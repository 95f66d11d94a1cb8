"""A running agent with a stub policy, one for each module that asks for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="ROS 2 is not installed; run `make setup`")

from robot_agent.ros.client import AgentClient
from robot_agent.ros.description import AgentOptions
from robot_agent.ros.up import Agent
from tests.ros.running import is_up, stub_releases, try_reset, until, with_stub


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is about real ROS."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.ros)


@contextmanager
def stub_agent(domain_id: int, folder: Path) -> Iterator[Agent]:
    """Run an agent with a stub policy."""
    options = AgentOptions(
        folder=folder,
        releases=stub_releases(folder / "releases"),
        camera_size_px=(160, 120),
        camera_hz=20.0,
    )
    nodes = with_stub(options, leave_out=("adaptation",))
    with Agent(options, nodes, domain_id=domain_id) as running:
        yield running


@pytest.fixture(scope="module")
def agent(ros_domain_id: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Agent]:
    with stub_agent(ros_domain_id, tmp_path_factory.mktemp("agent")) as running:
        yield running


@pytest.fixture
def client(agent: Agent) -> AgentClient:
    """The client of an agent whose world is at a start and whose guard is active and unlatched."""
    assert agent.client is not None
    client = agent.client
    calls = client.calls
    until(lambda: is_up(client), 20.0, "guard and policy active")
    state = client.guard_state
    for cause in list(state.causes) if state is not None and state.latched else []:
        until(lambda cause=cause: try_reset(client, cause), 5.0, f"reset of {cause}")
    client.reset_world(1)
    calls.wait_for("guard/state", lambda message: message.mode == "idle", 5.0)
    if client.policy_status.active_version != "v1":
        client.promote("v1")
    return client
