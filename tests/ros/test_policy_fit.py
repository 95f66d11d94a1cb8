"""Weights that need what the robot lacks are never activated, and the user reads why."""

from pathlib import Path

import pytest

from robot_agent.core.errors import ArmFaultError
from robot_agent.ros import up
from robot_agent.ros.description import AgentOptions
from robot_agent.ros.up import Agent
from tests.ros.running import with_stub


def test_the_node_refuses_to_activate_and_names_each_difference(
    ros_domain_id: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(up, "_PATIENCE_S", 1.0)
    releases = tmp_path / "releases"
    releases.mkdir()
    needs = '{"needs": {"cameras": ["color", "wrist"], "control_hz": 3.0, "history": 2}}'
    (releases / "v9.json").write_text(needs)
    (releases / "current").write_text("v9")
    options = AgentOptions(folder=tmp_path / "agent", releases=releases)
    nodes = [node for node in with_stub(options) if node.name == "policy"]
    with pytest.raises(ArmFaultError) as refused, Agent(options, nodes, domain_id=ros_domain_id):
        pytest.fail("the agent came up with weights that do not fit")
    for part in (
        "v9: does not fit this robot",
        "the policy needs 'wrist', the robot has color",
        "control rate [Hz]: the policy needs 3.0, the robot has 5.0",
        "observations of history: the policy needs 2, the robot has 1",
    ):
        assert part in str(refused.value)
