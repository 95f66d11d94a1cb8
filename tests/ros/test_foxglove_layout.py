"""The Foxglove layout that we ship names only topics and fields that there are."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from robot_agent_interfaces.msg import GuardState, OperatorCommand, PolicyStatus
from sensor_msgs.msg import Image, JointState

from robot_agent.core.wx250s import JOINT_NAMES
from robot_agent.ros import topics
from robot_agent.ros.message_types import message_type
from robot_agent.store import recording

LAYOUT = json.loads(
    (Path(__file__).parents[2] / "launch" / "foxglove_layout.json").read_text(encoding="utf-8")
)
LIVE = {
    f"/wx250s/{name}": kind
    for name, kind in {
        topics.CAMERA_IMAGE: Image,
        topics.JOINT_STATES: JointState,
        topics.GUARD_STATE: GuardState,
        topics.POLICY_STATUS: PolicyStatus,
        topics.OPERATOR: OperatorCommand,
    }.items()
} | {topics.DIAGNOSTICS: DiagnosticArray}


EPISODE = {
    topic: message_type(kind)
    for topic, kind in {**recording.TYPES, **recording.STREAM_TYPES}.items()
}
LENGTHS = {"proposed": 7, "sent": 7, "joint_target_rad": 6, "data": 7, "position": 7}


def paths() -> list[str]:
    found: list[str] = []
    for config in LAYOUT["configById"].values():
        found += [path["value"] for path in config.get("paths", [])]
        found += [config[key] for key in ("topicPath", "topicToRender") if key in config]
        found += [config["imageMode"]["imageTopic"]] if "imageMode" in config else []
    return found


def require(path: str) -> None:
    """Fail unless a message path such as /guard/state.sent[0] names a field that there is."""
    topic, _, field = path.partition(".")
    kind: Any = {**EPISODE, **LIVE}.get(topic)
    assert kind is not None, f"{path}: nobody publishes {topic}"
    if not field:
        return
    name, index = re.fullmatch(r"(\w+)(?:\[(\d+)\])?", field).groups()
    fields = kind.get_fields_and_field_types()
    assert name in fields, f"{path}: {kind.__name__} has {sorted(fields)}"
    if index is not None:
        assert "sequence" in fields[name], f"{path}: {name} is no list"
        assert int(index) < LENGTHS[name], path


@pytest.mark.parametrize("path", paths())
def test_a_path_of_the_layout_names_a_field_of_our_messages(path):
    require(path)


@pytest.mark.parametrize(
    "path", ["/wx250s/guard/mode.mode", "/wx250s/guard/state.moods", "/action/sent.data[7]"]
)
def test_a_path_that_names_nothing_is_found(path):
    with pytest.raises(AssertionError):
        require(path)


def test_every_panel_is_placed_once_and_every_place_has_a_panel():
    def placed(node: Any) -> list[str]:
        return [node] if isinstance(node, str) else placed(node["first"]) + placed(node["second"])

    tabs = LAYOUT["configById"][LAYOUT["layout"]]["tabs"]
    assert [tab["title"] for tab in tabs] == ["Live", "Episode"]
    names = [name for tab in tabs for name in placed(tab["layout"])]
    assert sorted([*names, LAYOUT["layout"]]) == sorted(LAYOUT["configById"])


def test_joints_stand_in_the_order_of_the_arm():
    config = LAYOUT["configById"]["Plot!episode_joints"]
    labels = [path["label"] for path in config["paths"]]
    assert labels[:6] == list(JOINT_NAMES)
