"""Launch files: run where `launch` is installed; elsewhere they are compiled, and that is said."""

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from robot_agent.core.config import load_config
from robot_agent.core.errors import ArmFaultError, ConfigError, RobotAgentError
from robot_agent.guard.limits import GuardConfig
from robot_agent.ros import environment
from robot_agent.ros.calls import INACTIVE
from robot_agent.ros.client import AgentClient
from robot_agent.ros.description import (
    AgentOptions,
    calibration_processes,
    farewell,
    processes,
)
from robot_agent.ros.launch_arguments import arguments_of, options_from
from robot_agent.sim.cells import cell_named
from robot_agent.teleop import REMOTE_DEVICES
from tests.ros.running import until

ROOT = Path(__file__).parents[2]
KINDS = ("agent", "calibrate", "sim", "teleop")
FILES = sorted((ROOT / "launch").glob("*.launch.py"))


def has_launch() -> bool:
    # The folder launch/ of this repository is found as an empty package; the real one has a file.
    found = importlib.util.find_spec("launch")
    return found is not None and found.origin is not None


def warn(capsys: pytest.CaptureFixture[str], what: str) -> None:
    with capsys.disabled():
        sys.stdout.write(
            f"\nWARNING: {what}: `launch` is not installed here. "
            f"Run these tests on a machine with ROS 2 Jazzy before a release.\n"
        )


def test_there_is_a_launch_file_for_each_use() -> None:
    assert [path.name for path in FILES] == [f"{kind}.launch.py" for kind in KINDS]


SHOW = """
import importlib.util, sys
from launch import LaunchContext
spec = importlib.util.spec_from_file_location("described", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
for argument in module.generate_launch_description().get_launch_arguments():
    print(argument.name, "|", argument.description, "|", argument.choices)
"""


@pytest.mark.parametrize("kind", KINDS)
def test_a_launch_file_declares_what_is_described(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = ROOT / "launch" / f"{kind}.launch.py"
    compile(path.read_text(), str(path), "exec")
    if not has_launch():
        warn(capsys, f"{path.name} was only compiled")
        return
    shown = subprocess.run(
        [sys.executable, "-c", SHOW, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd="/",
    )
    lines = dict(line.split(" | ", 1) for line in shown.stdout.splitlines())
    for name, argument in arguments_of(kind).items():
        assert lines[name].startswith(argument.says)
        assert all(f"'{choice}'" in lines[name] for choice in argument.choices)
    assert len(lines) == len(arguments_of(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_every_argument_is_described_and_its_default_is_a_choice(kind: str) -> None:
    for name, argument in arguments_of(kind).items():
        assert argument.says.endswith("."), name
        assert not argument.choices or argument.default in argument.choices, name


@pytest.mark.parametrize(("kind", "is_simulated"), [("sim", True), ("agent", False)])
def test_the_defaults_of_the_arguments_are_options(kind: str, is_simulated: bool) -> None:
    values = {name: argument.default for name, argument in arguments_of(kind).items()}
    options = options_from(values, is_simulated=is_simulated)
    assert options.is_simulated == is_simulated
    assert options.releases_folder == Path("runs/up/releases")


def _values(**changes: str) -> dict[str, str]:
    plain = {name: argument.default for name, argument in arguments_of("agent").items()}
    return {**plain, **changes}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"seed": "one"}, "launch arguments"),
        ({"params_file": "nowhere.yaml"}, "no such file"),
        ({"time_factor": "2"}, "simulated clock, must be 1 on a real arm"),
        ({"camera": "webcam"}, "must be one of ours"),
        ({"scene": "moon"}, "moon"),
        ({"teleop": "keyboard"}, "in a terminal: robot-agent teleop"),
    ],
)
def test_wrong_arguments_are_refused_with_what_is_allowed(
    changes: dict[str, str], says: str
) -> None:
    with pytest.raises(RobotAgentError, match=says):
        options_from(_values(**changes), is_simulated=False)


def test_another_middleware_or_an_open_network_is_refused_on_a_robot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RMW_IMPLEMENTATION", raising=False)
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    environment.require_robot()
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    with pytest.raises(ConfigError, match="anyone on the network can talk"):
        environment.require_robot()
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_cyclonedds_cpp")
    with pytest.raises(ConfigError, match="must be rmw_fastrtps_cpp on a real arm"):
        environment.require_robot()


def test_a_camera_with_frames_of_its_own_keeps_them() -> None:
    for camera, has_own in (("ours", False), ("topic", False), ("realsense2_camera", True)):
        options = AgentOptions(is_simulated=False, camera=camera, namespace="left")
        frames = next(p for p in processes(options) if p.name == "camera_frames").parameters
        assert frames["has_driver_frames"] == has_own
        assert frames["robot"] == "left"


def test_the_guard_comes_before_the_policy_and_after_the_body() -> None:
    for is_simulated, body in ((True, "sim_world"), (False, "camera")):
        options = AgentOptions(is_simulated=is_simulated)
        names = [node.name for node in processes(options)]
        frames = [] if is_simulated else ["camera_frames"]
        assert names == [body, "arm_guard", *frames, "policy", "recorder", "adaptation"]
        assert [node.name for node in calibration_processes(options)] == [body, "arm_guard"]


@pytest.mark.parametrize("device", REMOTE_DEVICES)
def test_a_device_is_started_beside_the_agent(device: str) -> None:
    last = processes(AgentOptions(teleop=device))[-1]
    assert (last.name, last.parameters["device"]) == ("teleop", device)


def test_our_camera_node_stands_behind_every_camera() -> None:
    options = AgentOptions(is_simulated=False, camera="realsense2_camera", namespace="left")
    camera = processes(options)[0].parameters
    assert camera["topic"] == "/left/realsense/camera/color/image_raw"
    options = AgentOptions(is_simulated=False, camera="topic", camera_topic="/eye/image")
    assert processes(options)[0].parameters["topic"] == "/eye/image"
    assert "topic" not in processes(AgentOptions(is_simulated=False))[0].parameters


def test_who_ends_the_agent_is_told_what_the_arm_does() -> None:
    assert "without power it falls" in farewell(AgentOptions(is_simulated=False))
    assert "simulated" in farewell(AgentOptions())


def test_parameters_survive_the_command_line() -> None:
    options = AgentOptions(folder=Path("a folder's name"), limits_file="off", time_factor=2.5)
    words = processes(options)[0].arguments("wx250s")
    assert "time_factor:=2.5" in words
    guard = processes(options)[1].arguments("wx250s", "mine.yaml")
    assert "latch_file:='a folder''s name/latch.json'" in guard
    assert "limits_file:='off'" in guard
    assert guard[-2:] == ["--params-file", "mine.yaml"], "the last one wins"


# ------------------------------------------------------------------------------- the real launch

RUN = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
words = [word.split(":=") for word in sys.argv[2:]]
service = LaunchService()
source = PythonLaunchDescriptionSource(sys.argv[1])
service.include_launch_description(
    LaunchDescription([IncludeLaunchDescription(source, launch_arguments=words)])
)
sys.exit(service.run())
"""


def launched(kind: str, *words: str) -> list[str]:
    return [sys.executable, "-c", RUN, str(ROOT / "launch" / f"{kind}.launch.py"), *words]


def _child(parent: int, name: str) -> psutil.Process | None:
    """Return the running process of a node that a launch started."""
    for process in psutil.Process(parent).children(recursive=True):
        try:
            if name in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                return process
        except psutil.NoSuchProcess:
            continue
    return None


@pytest.mark.slow
def test_a_launched_agent_acts_survives_the_death_of_each_node_and_says_that_the_arm_is_held(
    ros_domain_id: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not has_launch():
        warn(capsys, "sim.launch.py was not run")
        return
    log = tmp_path / "launch.log"
    with log.open("w") as out:
        child = subprocess.Popen(
            launched("sim", f"folder:={tmp_path}/up", "scene:=home"),
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd="/",
            start_new_session=True,
        )
    try:
        with AgentClient(domain_id=ros_domain_id) as client:
            client.wait_ready(90.0)
            report = client.run_task("open the drawer", seed=1, max_steps=10)
            assert (report.steps, report.message) == (10, ""), log.read_text()
            for name in ("teleop", "recorder", "policy", "sim_world", "arm_guard"):
                _kill_and_see(client, child.pid, name)
        child.send_signal(signal.SIGINT)
        assert child.wait(20.0) == 0
        assert "the simulated arm held its last target" in log.read_text()
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)


def _kill_and_see(client: AgentClient, launch: int, name: str) -> None:
    """Kill a node; the arm holds, and the node comes back, a lifecycle node inactive."""
    victim = _child(launch, name)
    if victim is None:
        assert name == "teleop"  # not asked for
        return
    before = _target(client)
    victim.kill()
    if name == "sim_world":
        client.calls.wait_for("guard/state", lambda s: "driver_silent" in s.causes, 3.0)
    until(lambda: _child(launch, name) is not None, 15.0, f"{name} again")
    if name in ("policy", "arm_guard"):
        until(lambda: _state(client, name) == INACTIVE, 40.0, f"{name} inactive")
    if name != "arm_guard":  # which is inactive: it commands nothing, and the servos hold
        assert max(abs(a - b) for a, b in zip(before, _target(client), strict=True)) < 0.05


def _target(client: AgentClient) -> list[float]:
    return list(client.guard_state.joint_target_rad)


def _state(client: AgentClient, name: str) -> Any:
    try:
        return client.calls.state_of(name, 2.0)
    except ArmFaultError:
        return None


def test_the_robots_launch_without_its_driver_is_refused_with_the_remedy(
    ros_domain_id: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not has_launch():
        warn(capsys, "agent.launch.py was not run")
        return
    found = subprocess.run(
        launched("agent", f"folder:={tmp_path}/up"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd="/",
    )
    assert found.returncode == 1
    assert "package 'interbotix_xsarm_control' is not installed" in found.stdout + found.stderr
    assert "driver:=none" in found.stdout + found.stderr


FOREIGN = """
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, LogInfo
from launch.substitutions import LaunchConfiguration

NAMES = {names}

def generate_launch_description():
    declared = [DeclareLaunchArgument(name) for name in NAMES]
    words = [part for name in NAMES for part in (f" {{name}}=", LaunchConfiguration(name))]
    return LaunchDescription([*declared, LogInfo(msg=words)])
"""
PART = """
import sys
from launch import LaunchDescription, LaunchService
from robot_agent.ros import launch_parts
service = LaunchService()
service.include_launch_description(LaunchDescription({made}))
sys.exit(service.run())
"""


@pytest.mark.parametrize(
    ("package", "file", "names", "made", "says"),
    [
        (
            "interbotix_xsarm_control",
            "xsarm_control",
            ("robot_model", "robot_name", "use_rviz", "use_sim", "load_configs"),
            "[launch_parts.arm_driver('left', 'true')]",
            "robot_model=wx250s robot_name=left use_rviz=false use_sim=false load_configs=true",
        ),
        (
            "interbotix_xsarm_descriptions",
            "xsarm_description",
            ("robot_model", "robot_name", "use_rviz", "use_joint_pub"),
            "launch_parts.arm_description('left')",
            "robot_model=wx250s robot_name=left use_rviz=false use_joint_pub=false",
        ),
    ],
)
def test_interbotixs_launch_files_are_included_with_their_own_arguments(
    package: str,
    file: str,
    names: tuple[str, ...],
    made: str,
    says: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if not has_launch():
        warn(capsys, f"{file}.launch.py was not included")
        return
    index = tmp_path / "share/ament_index/resource_index/packages"
    index.mkdir(parents=True)
    (index / package).touch()
    launch = tmp_path / "share" / package / "launch"
    launch.mkdir(parents=True)
    (launch / f"{file}.launch.py").write_text(FOREIGN.format(names=names))
    found = subprocess.run(
        [sys.executable, "-c", PART.format(made=made)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd="/",
        env=dict(os.environ) | {"AMENT_PREFIX_PATH": str(tmp_path)},
    )
    assert says in found.stdout + found.stderr


@pytest.mark.parametrize(("scene", "cell"), [("home", "table"), ("drawer@real", "drawer")])
def test_the_guard_has_the_limits_of_the_simulated_cell(scene: str, cell: str) -> None:
    guard = {node.name: node for node in processes(AgentOptions(scene=scene))}["arm_guard"]
    limits = [text for text in str(guard.parameters["limits"]).split(";") if text]
    assert load_config(GuardConfig, (), limits) == cell_named(cell).guard
    assert bool(limits) == (cell != "table")


def test_a_reference_among_the_calibrations_is_always_compared_with(tmp_path: Path) -> None:
    options = AgentOptions(is_simulated=False, calibration=tmp_path)
    assert "reference" not in processes(options)[0].parameters
    (tmp_path / "view.png").write_bytes(b"")
    for camera in ("ours", "realsense2_camera", "topic"):
        options = AgentOptions(is_simulated=False, calibration=tmp_path, camera=camera)
        found = processes(options)[0].parameters["reference"]
        assert found == str(tmp_path / "view.png")


def test_a_served_policy_is_named_by_launch_arguments_and_its_token_by_a_file() -> None:
    values = _values(policy_server="10.0.0.7:8766", policy_token_file="/etc/token")
    options = options_from(values, is_simulated=False)
    policy = {node.name: node for node in processes(options)}["policy"].parameters
    assert (policy["server"], policy["token_file"]) == ("10.0.0.7:8766", "/etc/token")
