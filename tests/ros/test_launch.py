"""Launch files: run where `launch` is installed; elsewhere they are compiled, and that is said."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from robot_agent.core.config import load_config
from robot_agent.guard.limits import GuardConfig
from robot_agent.ros.description import AgentOptions, processes
from robot_agent.sim.cells import cell_named

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "launch").glob("*.launch.py"))


def has_launch() -> bool:
    # The folder launch/ of this repository is found as an empty package; the real one has a file.
    found = importlib.util.find_spec("launch")
    return found is not None and found.origin is not None


def test_there_is_a_launch_file_for_the_robot_and_for_simulation() -> None:
    assert [path.name for path in FILES] == ["agent.launch.py", "sim.launch.py"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_launch_file_describes_every_process(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compile(path.read_text(), str(path), "exec")
    if not has_launch():
        with capsys.disabled():
            sys.stdout.write(
                f"\nWARNING: {path.name} was only compiled: `launch` is not installed here. "
                f"Run these tests on a machine with ROS 2 Jazzy before a release.\n"
            )
        return
    shown = subprocess.run(
        ["ros2", "launch", str(path), "--show-args"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    assert "releases" in shown.stdout


def test_the_guard_comes_before_the_policy_and_after_the_body() -> None:
    for is_simulated, body in ((True, "sim_world"), (False, "camera")):
        names = [node.name for node in processes(AgentOptions(is_simulated=is_simulated))]
        assert names == [body, "arm_guard", "policy", "recorder", "adaptation"]


def test_parameters_survive_the_command_line() -> None:
    options = AgentOptions(folder=Path("a folder's name"), limits_file="off", time_factor=2.5)
    words = processes(options)[0].arguments("wx250s")
    assert "time_factor:=2.5" in words
    guard = processes(options)[1].arguments("wx250s")
    assert "limits_file:='off'" in guard
    assert "latch_file:='a folder''s name/latch.json'" in guard


@pytest.mark.parametrize(("scene", "cell"), [("home", "table"), ("drawer@real", "drawer")])
def test_the_guard_has_the_limits_of_the_simulated_cell(scene: str, cell: str) -> None:
    guard = {node.name: node for node in processes(AgentOptions(scene=scene))}["arm_guard"]
    limits = [text for text in str(guard.parameters["limits"]).split(";") if text]
    assert load_config(GuardConfig, (), limits) == cell_named(cell).guard
    assert bool(limits) == (cell != "table")
