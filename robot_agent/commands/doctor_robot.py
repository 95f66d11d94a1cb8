"""What `doctor` looks at on a machine with a robot: ports, permissions, clocks, calibration."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from robot_agent.commands.finding import Finding, Status
from robot_agent.core.clock import days_since

PORT = "dev/ttyDXL"
_ADAPTER = ("0403", "6014")
"""USB ids of the arm's U2D2 adapter (FTDI FT232H)."""
_REALSENSE, _USB3_MBITPS = "8086", 5000.0
_MICE = ("256f", "046d")
"""Vendors of SpaceMouse: 3Dconnexion, and Logitech before it."""
_LATENCY_MS = 1
_NEEDED = (
    ("interbotix_xs_sdk", "the arm's driver"),
    ("interbotix_xsarm_control", "its launch file"),
    ("interbotix_xsarm_descriptions", "the URDF"),
)
_USEFUL = (("joy", "gamepads"), ("spacenav", "SpaceMouse"), ("realsense2_camera", "Intel's node"))
_WORKSPACE = "Install and source the Interbotix workspace: README, On a real arm."
_UDEV = (
    "Install Interbotix's udev rules and plug the arm in again: sudo cp "
    "99-interbotix-udev.rules /etc/udev/rules.d/ && sudo udevadm control --reload-rules"
)


@dataclass(frozen=True)
class Machine:
    """Where to look; a test plants a bad machine below another root."""

    root: Path = Path("/")
    has_robot: bool = False
    """What a robot needs is missing, not optional."""

    @property
    def wanting(self) -> Status:
        """Status of what only a robot needs."""
        return "missing" if self.has_robot else "optional"

    def read(self, path: Path) -> str:
        """Return a small file's text, stripped; empty when it cannot be read."""
        try:
            return path.read_text("utf-8", "replace").strip()
        except OSError:
            return ""


def examine_robot(machine: Machine, calibration: Path) -> Iterator[Finding]:
    """Yield one finding after the other; nothing is changed."""
    yield distribution(machine)
    yield from packages(machine)
    yield arm_port(machine)
    yield camera_port(machine)
    yield mouse_permission(machine)
    yield calibration_age(machine, calibration)
    yield clocks(machine)
    yield gpu()
    yield open_ports(machine)


def distribution(machine: Machine) -> Finding:
    """Which ROS is there: the system's Jazzy, or wheels, which drive no real arm."""
    name = os.environ.get("ROS_DISTRO", "")
    if name == "jazzy":
        return Finding("ROS", "ok", "jazzy, sourced")
    if name:
        fix = "Open a fresh shell and: source /opt/ros/jazzy/setup.bash"
        return Finding("ROS", "missing", f"{name} is sourced, must be jazzy", fix)
    fix = "On a robot: source /opt/ros/jazzy/setup.bash, then make setup ros"
    return Finding("ROS", machine.wanting, "no distribution sourced; wheels serve simulation", fix)


def packages(machine: Machine) -> Iterator[Finding]:
    """ROS packages of others that a robot needs, or may use."""
    prefixes = [Path(text) for text in os.environ.get("AMENT_PREFIX_PATH", "").split(":") if text]
    index = Path("share/ament_index/resource_index/packages")
    for name, use in (*_NEEDED, *_USEFUL):
        found = next((p for p in prefixes if (p / index / name).exists()), None)
        is_needed = (name, use) in _NEEDED
        if found is not None:
            yield Finding(f"package {name}", "ok", str(found))
            continue
        status: Status = machine.wanting if is_needed else "optional"
        fix = _WORKSPACE if is_needed else f"sudo apt install ros-jazzy-{name.replace('_', '-')}"
        yield Finding(f"package {name}", status, f"not found ({use})", fix)


def arm_port(machine: Machine) -> Finding:
    """The arm's serial port: there, ours to use, and quick."""
    port = machine.root / PORT
    if not port.exists():
        adapters = [d for d in _usb(machine) if _ids(machine, d) == _ADAPTER]
        if adapters:
            return Finding(
                "arm", "missing", "the adapter is plugged in, /dev/ttyDXL is not", _UDEV
            )
        fix = "Plug in the arm's USB cable and its 12 V supply. Needed on a robot only."
        return Finding("arm", machine.wanting, "no /dev/ttyDXL", fix)
    if not os.access(port, os.R_OK | os.W_OK):
        fix = "sudo usermod -aG dialout $USER, log out and in again"
        return Finding("arm", "missing", f"no permission to use {PORT}", fix)
    device = port.resolve().name
    timer = machine.root / "sys/bus/usb-serial/devices" / device / "latency_timer"
    latency = machine.read(timer)
    if latency.isdigit() and int(latency) > _LATENCY_MS:
        value = f"latency timer {latency} ms, must be {_LATENCY_MS}: 100 Hz cannot be reached"
        return Finding("arm", "missing", value, _UDEV)
    return Finding("arm", "ok", f"/dev/ttyDXL is {device}")


def camera_port(machine: Machine) -> Finding:
    """The RealSense's USB: speed and permission."""
    for device in _usb(machine):
        if _ids(machine, device)[0] != _REALSENSE:
            continue
        name = machine.read(device / "product")
        if "realsense" not in name.lower():
            continue
        speed = machine.read(device / "speed")
        if not speed or float(speed) < _USB3_MBITPS:
            fix = "Use a USB 3 port (blue) and the camera's own cable."
            return Finding("camera USB", "missing", f"{name}: {speed or '?'} Mbit/s, USB 2", fix)
        numbers = [machine.read(device / part).zfill(3) for part in ("busnum", "devnum")]
        node = machine.root / "dev/bus/usb" / numbers[0] / numbers[1]
        if not os.access(node, os.R_OK | os.W_OK):
            fix = "Install librealsense's udev rules (99-realsense-libusb.rules), plug in again."
            return Finding("camera USB", "missing", f"{name}: no permission for {node}", fix)
        return Finding("camera USB", "ok", f"{name}: {speed} Mbit/s")
    fix = "Needed on a robot only: plug the RealSense into a USB 3 port."
    return Finding("camera USB", "optional", "no RealSense on USB", fix)


def mouse_permission(machine: Machine) -> Finding:
    """A SpaceMouse that is plugged in can be read."""
    for node in sorted((machine.root / "sys/class/hidraw").glob("hidraw*")):
        text = machine.read(node / "device/uevent").lower()
        if not any(f":0000{vendor}:" in text for vendor in _MICE) or "space" not in text:
            continue
        device = machine.root / "dev" / node.name
        if os.access(device, os.R_OK):
            return Finding("SpaceMouse", "ok", f"/dev/{node.name}")
        fix = (
            'echo \'KERNEL=="hidraw*", ATTRS{idVendor}=="256f", MODE="0660", TAG+="uaccess"\' | '
            "sudo tee /etc/udev/rules.d/99-spacemouse.rules, plug in again"
        )
        return Finding("SpaceMouse", "missing", f"no permission for /dev/{node.name}", fix)
    return Finding("SpaceMouse", "optional", "none plugged in", "Only if you want one.")


def calibration_age(machine: Machine, folder: Path) -> Finding:
    """The calibrations in a folder: there, readable, and not too old."""
    fix = "robot-agent calibrate --help says how to measure each one."
    files = sorted(folder.glob("*.yaml"))
    if not files:
        return Finding("calibration", machine.wanting, f"none in {folder}", fix)
    said: list[str] = []
    is_fit = True
    for path in files:
        try:
            record = yaml.safe_load(path.read_text("utf-8"))
            age, limit = days_since(str(record["created"])), float(record["max_age_days"])
        except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
            return Finding("calibration", machine.wanting, f"{path.name}: {error}", fix)
        is_old = bool(limit) and not -1.0 <= age <= limit
        is_fit = is_fit and not is_old
        said.append(f"{path.stem} {age:.0f} days" + (f", limit {limit:.0f}" if is_old else ""))
    return Finding(
        "calibration", "ok" if is_fit else machine.wanting, "; ".join(said), "" if is_fit else fix
    )


def clocks(machine: Machine) -> Finding:
    """Control needs a steady clock of this machine, names of episodes a wall clock that is set."""
    source = machine.read(
        machine.root / "sys/devices/system/clocksource/clocksource0/current_clocksource"
    )
    if os.environ.get("ROBOT_AGENT_USE_SIM_TIME") or "faketime" in os.environ.get(
        "LD_PRELOAD", ""
    ):
        fix = "Unset LD_PRELOAD. A real arm needs the machine's own clock."
        return Finding("clocks", machine.wanting, "a simulated clock is preloaded", fix)
    if source in ("jiffies", "refined-jiffies"):
        fix = "Boot with another clocksource (tsc, hpet): ticks of 4 ms are too coarse for 50 Hz."
        return Finding("clocks", machine.wanting, f"steady clock: {source}", fix)
    is_set = (machine.root / "run/systemd/timesync/synchronized").exists() or any(
        (machine.root / path).exists() for path in ("run/chrony", "run/ntpd.pid")
    )
    steady = f"steady clock: {source or 'unknown'}"
    if is_set:
        return Finding("clocks", "ok", f"{steady}; wall clock synchronised")
    fix = "sudo timedatectl set-ntp true; ages of calibrations and names of episodes need it."
    return Finding("clocks", "optional", f"{steady}; wall clock not known to be synchronised", fix)


def gpu() -> Finding:
    """A GPU for the large tiers; the tiny one needs none."""
    fix = "Only the bridge and cosmos tiers need one; the tiny tier runs on two cores."
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return Finding("GPU", "optional", "no NVIDIA driver", fix)
    query = [tool, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        asked = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except (subprocess.SubprocessError, OSError) as error:
        return Finding("GPU", "optional", f"the driver does not answer: {error}", fix)
    return Finding("GPU", "ok", "; ".join(asked.stdout.split("\n")).strip("; "))


def open_ports(machine: Machine) -> Finding:
    """TCP ports that listen beyond this machine; nothing of ours does."""
    ports: set[int] = set()
    for name in ("tcp", "tcp6"):
        for line in machine.read(machine.root / "proc/net" / name).splitlines()[1:]:
            words = line.split()
            if len(words) > 3 and words[3] == "0A":
                address, _, port = words[1].partition(":")
                if not _is_loopback(address):
                    ports.add(int(port, 16))
    if not ports:
        return Finding("open ports", "ok", "none beyond this machine")
    listed = ", ".join(str(port) for port in sorted(ports))
    fix = "None is ours. See who listens with: ss -tlnp; close what the robot does not need."
    return Finding("open ports", "optional", f"TCP {listed} listen beyond this machine", fix)


def _is_loopback(address: str) -> bool:
    """Return whether an address of /proc/net/tcp (hexadecimal, little endian) is this machine."""
    if len(address) == 8:
        return address.endswith("7F")
    mapped = "0000000000000000FFFF0000"
    return address == "00000000000000000000000001000000" or (
        address.startswith(mapped) and address.endswith("7F")
    )


def _usb(machine: Machine) -> list[Path]:
    return sorted((machine.root / "sys/bus/usb/devices").glob("*"))


def _ids(machine: Machine, device: Path) -> tuple[str, str]:
    return machine.read(device / "idVendor"), machine.read(device / "idProduct")
