"""The doctor finds what is broken, says how to mend it, and leaves with a status."""

import json
import shutil
from collections import namedtuple

import pytest

from robot_agent import cli
from robot_agent.commands import doctor

NAMES = {
    "python",
    "rclpy",
    "middleware",
    "interfaces robot_agent_interfaces",
    "interfaces interbotix_xs_msgs",
    "interfaces tf2_msgs",
    "torch",
    "onnxruntime",
    "simulator pictures",
    "disk",
    "discovery range",
    "shared memory",
    "transport profile",
    "shipped weights",
    "camera",
    "camera health",
    "ROS",
    "package interbotix_xs_sdk",
    "package interbotix_xsarm_control",
    "package interbotix_xsarm_descriptions",
    "package joy",
    "package spacenav",
    "package realsense2_camera",
    "arm",
    "camera USB",
    "SpaceMouse",
    "calibration",
    "clocks",
    "GPU",
    "open ports",
}


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    monkeypatch.delenv("FASTRTPS_DEFAULT_PROFILES_FILE", raising=False)
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")


def surroundings() -> dict[str, doctor.Finding]:
    return {finding.name: finding for finding in doctor._surroundings()}


def test_every_finding_has_a_value_and_what_is_missing_has_a_remedy(tmp_path, capsys):
    status = cli.main(["doctor", "--folder", str(tmp_path), "--json"])
    results = json.loads(capsys.readouterr().out)["results"]
    assert {f["name"] for f in results["findings"]} == NAMES
    assert all(f["value"] for f in results["findings"])
    assert all(f["fix"] for f in results["findings"] if f["status"] != "ok")
    missing = [f["name"] for f in results["findings"] if f["status"] == "missing"]
    assert results["missing"] == len(missing)
    assert status == (1 if missing else 0)


def test_a_broken_variable_makes_the_doctor_fail(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", str(tmp_path / "gone.xml"))
    monkeypatch.setattr(doctor, "examine", lambda *_: doctor._surroundings())
    monkeypatch.setattr(doctor, "examine_robot", lambda *_: [])
    assert cli.main(["doctor", "--json", "--folder", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "no such file" in said
    assert "Unset" in said


def test_a_robot_that_everybody_can_talk_to_is_a_finding(monkeypatch):
    assert surroundings()["discovery range"].status == "ok"
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    found = surroundings()["discovery range"]
    assert (found.status, found.value) == ("missing", "SUBNET")
    assert "Unset it" in found.fix


def test_a_profile_of_somebody_else_is_worth_knowing(tmp_path, monkeypatch):
    (tmp_path / "mine.xml").write_text("<dds/>")
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", str(tmp_path / "mine.xml"))
    assert surroundings()["transport profile"].status == "optional"


def test_a_full_disk_is_a_finding_with_its_numbers(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**12, 10**12, 10**9))
    found = doctor._disk(tmp_path)
    assert found.status == "missing"
    assert "1.0 GB free" in found.value
    assert "at least 2 GB" in found.value


def test_a_module_that_cannot_be_imported_is_missing():
    found = doctor._importable("driver", "robot_agent.no_such_module", "Run: make setup")
    assert (found.status, found.fix) == ("missing", "Run: make setup")
    assert "no_such_module" in found.value
