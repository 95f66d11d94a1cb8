"""`doctor`: what this machine has, what is missing, and how to fix it."""

import argparse
import importlib
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from robot_agent.commands.doctor_robot import Machine, examine_robot
from robot_agent.commands.finding import Finding
from robot_agent.commands.options import add_command, add_json, existing_folder
from robot_agent.commands.output import show, table
from robot_agent.core.errors import RobotAgentError

if TYPE_CHECKING:
    from robot_agent.commands.options import Commands

_MIN_FREE_GB = 2.0
_SETUP = "Run: make setup"


def register(commands: "Commands") -> None:
    """Add the command."""
    parser = add_command(commands, "doctor", "say what is missing, and how to fix it", _doctor)
    parser.add_argument(
        "--folder", type=Path, default=Path(), help="where runs will be written (default here)"
    )
    parser.add_argument(
        "--robot", action="store_true", help="a real arm is here: what it needs must be there"
    )
    parser.add_argument(
        "--calibration", type=Path, default=Path("calibration"), help="folder of calibrations"
    )
    add_json(parser)


def _doctor(arguments: argparse.Namespace) -> int:
    folder = existing_folder(arguments.folder, "the folder for runs", "Make it first.")
    machine = Machine(has_robot=arguments.robot)
    findings = list(examine(folder, machine))
    findings += examine_robot(machine, arguments.calibration)
    num_missing = sum(finding.status == "missing" for finding in findings)
    verdict = "All that is needed is there." if not num_missing else f"{num_missing} to mend."
    rows = [(f.name, f.status, f.value, f.fix) for f in findings]
    results = {"findings": [asdict(finding) for finding in findings], "missing": num_missing}
    columns = ("what", "status", "value", "fix")
    show("doctor", results, as_json=arguments.json, tables=[table("", columns, rows), verdict])
    return 1 if num_missing else 0


def examine(folder: Path, machine: Machine) -> Iterator[Finding]:
    """Yield what every machine needs, one finding after the other; nothing is changed."""
    yield _python()
    yield _importable("rclpy", "rclpy", _SETUP)
    yield _middleware(machine)
    for package in ("robot_agent_interfaces.msg", "interbotix_xs_msgs.msg", "tf2_msgs.msg"):
        yield _importable(f"interfaces {package.partition('.')[0]}", package, _SETUP)
    yield _importable("torch", "torch", _SETUP)
    yield _importable("onnxruntime", "onnxruntime", _SETUP)
    yield _rendering()
    yield _disk(folder)
    yield from _surroundings()
    yield _assets()
    yield from _cameras()


def _python() -> Finding:
    is_fit = (3, 11) <= sys.version_info[:2] <= (3, 12)
    fix = "" if is_fit else "Use Python 3.11 or 3.12: PYTHON=python3.11 make setup"
    return Finding("python", "ok" if is_fit else "missing", platform.python_version(), fix)


def _importable(name: str, module: str, fix: str) -> Finding:
    """Import a module as the nodes would; a broken library is as bad as a missing one."""
    try:
        importlib.import_module(module)
    except (ImportError, OSError) as error:
        return Finding(name, "missing", f"cannot be imported: {error}", fix)
    return Finding(name, "ok", _version(module.partition(".")[0]))


def _version(module: str) -> str:
    for package in (module, module.replace("_", "-"), f"ros-jazzy-{module.replace('_', '-')}"):
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return "there"


def _middleware(machine: Machine) -> Finding:
    asked = os.environ.get("RMW_IMPLEMENTATION", "")
    try:
        rclpy = importlib.import_module("rclpy")
        found = str(rclpy.get_rmw_implementation_identifier())
    except (ImportError, OSError, RuntimeError) as error:
        fix = "Unset RMW_IMPLEMENTATION, or install that middleware."
        return Finding("middleware", "missing", f"{asked or 'default'}: {error}", fix)
    if found != "rmw_fastrtps_cpp":
        fix = "Only rmw_fastrtps_cpp is tested. Unset RMW_IMPLEMENTATION."
        return Finding("middleware", machine.wanting, found, fix)
    return Finding("middleware", "ok", found)


def _rendering() -> Finding:
    from robot_agent.sim.scenes import HOME

    backend = os.environ.get("MUJOCO_GL", "egl (default)")
    try:
        world = importlib.import_module("robot_agent.sim.world").SimWorld(HOME)
        try:
            picture = world.render(64, 48)
        finally:
            world.close()
    except (ImportError, OSError, RuntimeError, RobotAgentError) as error:
        fix = "Unset MUJOCO_GL, and: sudo apt install libegl1 libgl1-mesa-dri"
        return Finding("simulator pictures", "missing", f"{backend}: {error}", fix)
    return Finding("simulator pictures", "ok", f"{backend}, mean brightness {picture.mean():.0f}")


def _disk(folder: Path) -> Finding:
    free_gb = shutil.disk_usage(folder).free / 1e9
    value = f"{free_gb:.1f} GB free in {folder.resolve()}, at least {_MIN_FREE_GB:g} GB wanted"
    if free_gb < _MIN_FREE_GB:
        return Finding("disk", "missing", value, "Free space or name another --folder.")
    return Finding("disk", "ok", value)


def _surroundings() -> Iterator[Finding]:
    """Yield what the nodes find around them: discovery, transport profile, shared memory."""
    from robot_agent.ros import environment as nodes

    found = os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST (ours)")
    profile = Path(os.environ.get("FASTRTPS_DEFAULT_PROFILES_FILE", str(nodes.PROFILE)))
    free_mb = _shared_memory_mb()
    problems = nodes.problems()
    checks: tuple[tuple[str, str, Callable[[str], bool]], ...] = (
        ("discovery range", found, lambda text: "DISCOVERY_RANGE" in text),
        ("shared memory", f"{free_mb:.0f} MB free in /dev/shm", lambda text: "/dev/shm" in text),
    )
    for name, value, is_about in checks:
        fixes = [problem for problem in problems if is_about(problem)]
        yield Finding(name, "missing" if fixes else "ok", value, " ".join(fixes))
    if not profile.is_file():
        fix = "Unset FASTRTPS_DEFAULT_PROFILES_FILE to use the profile of this package."
        yield Finding("transport profile", "missing", f"{profile}: no such file", fix)
    elif profile != nodes.PROFILE:
        fix = "Unset FASTRTPS_DEFAULT_PROFILES_FILE unless images arrive without loss."
        yield Finding("transport profile", "optional", f"{profile}: not ours", fix)
    else:
        yield Finding("transport profile", "ok", "ours, images through shared memory")


def _shared_memory_mb() -> float:
    folder = Path("/dev/shm")
    return shutil.disk_usage(folder).free / 1e6 if folder.is_dir() else 0.0


def _assets() -> Finding:
    try:
        team = importlib.import_module("robot_agent.compose").load_team()
    except (ImportError, OSError, RobotAgentError) as error:
        fix = "The package is not whole: install it again."
        return Finding("shipped weights", "missing", str(error), fix)
    return Finding("shipped weights", "ok", f"{len(team.hashes)} files, whole")


def _cameras() -> Iterator[Finding]:
    from robot_agent.commands import doctor_camera

    for name, (status, value, fix) in doctor_camera.rows():
        yield Finding(name, status, value, fix)
