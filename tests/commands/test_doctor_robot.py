"""Bad machines are planted as folders; each is found, with what is wrong and how to mend it."""

import json
import os
from pathlib import Path

import pytest

from robot_agent import cli
from robot_agent.commands import doctor, doctor_robot
from robot_agent.commands.doctor_robot import Machine
from robot_agent.core.clock import wall_stamp


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path, has_robot=True)


def plant(machine: Machine, **files: str) -> None:
    for name, text in files.items():
        path = machine.root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def plant_usb(machine: Machine, name: str, **facts: str) -> None:
    for fact, text in facts.items():
        plant(machine, **{f"sys__bus__usb__devices__{name}__{fact}": text + "\n"})


def realsense(machine: Machine, speed: str) -> None:
    plant_usb(
        machine, "2-1", idVendor="8086", idProduct="0b07", speed=speed, busnum="2", devnum="7",
        product="Intel(R) RealSense(TM) Depth Camera 435",
    )  # fmt: skip


def test_no_arm_is_missing_on_a_robot_and_optional_elsewhere(machine):
    found = doctor_robot.arm_port(machine)
    assert (found.status, found.value) == ("missing", "no /dev/ttyDXL")
    assert doctor_robot.arm_port(Machine(machine.root)).status == "optional"


def test_an_adapter_without_its_rule_is_told_from_no_adapter(machine):
    plant_usb(machine, "1-1", idVendor="0403", idProduct="6014")
    found = doctor_robot.arm_port(machine)
    assert "adapter is plugged in" in found.value
    assert "99-interbotix-udev.rules" in found.fix


def test_a_slow_or_forbidden_serial_port_is_found(machine, monkeypatch):
    plant(
        machine, dev__ttyUSB0="", **{"sys__bus__usb-serial__devices__ttyUSB0__latency_timer": "16"}
    )
    (machine.root / "dev/ttyDXL").symlink_to(machine.root / "dev/ttyUSB0")
    assert "latency timer 16 ms, must be 1" in doctor_robot.arm_port(machine).value
    plant(machine, **{"sys__bus__usb-serial__devices__ttyUSB0__latency_timer": "1"})
    assert doctor_robot.arm_port(machine).status == "ok"
    monkeypatch.setattr(os, "access", lambda *_: False)
    found = doctor_robot.arm_port(machine)
    assert (found.status, "dialout" in found.fix) == ("missing", True)


def test_a_camera_on_usb_2_or_without_permission_is_found(machine, monkeypatch):
    assert doctor_robot.camera_port(machine).status == "optional"
    realsense(machine, "480")
    found = doctor_robot.camera_port(machine)
    assert (found.status, "480 Mbit/s, USB 2" in found.value) == ("missing", True)
    realsense(machine, "5000")
    assert "no permission" in doctor_robot.camera_port(machine).value
    plant(machine, dev__bus__usb__002__007="")
    assert doctor_robot.camera_port(machine).status == "ok"


def test_a_spacemouse_that_may_not_be_read_is_found(machine, monkeypatch):
    assert doctor_robot.mouse_permission(machine).status == "optional"
    uevent = "HID_ID=0003:0000256F:0000C635\nHID_NAME=3Dconnexion SpaceMouse Compact\n"
    plant(machine, sys__class__hidraw__hidraw3__device__uevent=uevent)
    found = doctor_robot.mouse_permission(machine)
    assert (found.status, "udev" in found.fix) == ("missing", True)
    plant(machine, dev__hidraw3="")
    assert doctor_robot.mouse_permission(machine).status == "ok"


def record(created: str, limit: float = 30.0) -> str:
    return f"kind: hand-eye\ncreated: '{created}'\nmax_age_days: {limit}\n"


def test_no_old_or_broken_calibration_is_found(machine, tmp_path):
    folder = tmp_path / "calibration"
    assert doctor_robot.calibration_age(machine, folder).value.startswith("none in")
    folder.mkdir()
    (folder / "hand_eye.yaml").write_text(record(wall_stamp()))
    assert doctor_robot.calibration_age(machine, folder).status == "ok"
    (folder / "camera.yaml").write_text(record("20240101T000000"))
    found = doctor_robot.calibration_age(machine, folder)
    assert (found.status, "limit 30" in found.value) == ("missing", True)
    (folder / "camera.yaml").write_text("just words")
    assert doctor_robot.calibration_age(machine, folder).status == "missing"
    (folder / "camera.yaml").write_text(record("20990101T000000"))
    assert doctor_robot.calibration_age(machine, folder).status == "missing", "from the future"


def test_clocks_that_jump_or_are_simulated_are_found(machine, monkeypatch):
    source = "sys__devices__system__clocksource__clocksource0__current_clocksource"
    plant(machine, **{source: "tsc\n"})
    assert doctor_robot.clocks(machine).status == "optional"
    plant(machine, run__systemd__timesync__synchronized="")
    assert doctor_robot.clocks(machine).status == "ok"
    monkeypatch.setenv("LD_PRELOAD", "/usr/lib/faketime/libfaketime.so.1")
    assert "simulated clock" in doctor_robot.clocks(machine).value
    monkeypatch.delenv("LD_PRELOAD")
    plant(machine, **{source: "jiffies\n"})
    assert doctor_robot.clocks(machine).status == "missing"


def test_ports_that_listen_on_the_network_are_named(machine):
    head = "  sl  local_address rem_address   st\n"
    plant(machine, proc__net__tcp=head + "   0: 0100007F:1F90 00000000:0000 0A\n")
    assert doctor_robot.open_ports(machine).status == "ok"
    lines = "   0: 00000000:223D 00000000:0000 0A\n   1: 0100A8C0:0016 0200A8C0:C001 01\n"
    plant(machine, proc__net__tcp=head + lines)
    assert "TCP 8765 listen" in doctor_robot.open_ports(machine).value


def test_another_ros_is_missing_everywhere(machine, monkeypatch):
    monkeypatch.setenv("ROS_DISTRO", "humble")
    found = doctor_robot.distribution(Machine(machine.root))
    assert (found.status, found.value) == ("missing", "humble is sourced, must be jazzy")


def test_packages_are_found_where_the_index_names_them(machine, monkeypatch):
    plant(machine, ws__share__ament_index__resource_index__packages__interbotix_xs_sdk="")
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{machine.root / 'ws'}:/nowhere")
    found = {finding.name: finding for finding in doctor_robot.packages(machine)}
    assert found["package interbotix_xs_sdk"].status == "ok"
    assert found["package interbotix_xsarm_control"].status == "missing"
    assert found["package joy"].status == "optional"


def test_the_wrong_middleware_is_missing_on_a_robot_only(machine, monkeypatch):
    class Rclpy:
        @staticmethod
        def get_rmw_implementation_identifier() -> str:
            return "rmw_cyclonedds_cpp"

    monkeypatch.setattr(doctor.importlib, "import_module", lambda _: Rclpy)
    assert doctor._middleware(machine).status == "missing"
    assert doctor._middleware(Machine(machine.root)).status == "optional"


def test_a_script_learns_from_the_status_that_the_robot_is_not_ready(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(doctor, "examine", lambda *_: [])
    monkeypatch.setattr(doctor, "Machine", lambda has_robot: Machine(tmp_path, has_robot))
    assert cli.main(["doctor", "--json", "--folder", str(tmp_path)]) == 0
    capsys.readouterr()
    words = ["doctor", "--json", "--robot", "--folder", str(tmp_path), "--calibration", "none"]
    assert cli.main(words) == 1
    results = json.loads(capsys.readouterr().out)["results"]
    missing = {f["name"] for f in results["findings"] if f["status"] == "missing"}
    assert {"arm", "calibration"} <= missing
    assert all(f["fix"] for f in results["findings"] if f["status"] != "ok")
