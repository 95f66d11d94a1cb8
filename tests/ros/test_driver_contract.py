"""Both ways of talking to the driver keep one contract, against the emulated driver."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import rclpy
from rclpy.client import Client
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future

from robot_agent.core import wx250s
from robot_agent.core.errors import ArmFaultError
from robot_agent.guard.contract import MOTOR_IDS, load_contract
from robot_agent.guard.health import judge
from robot_agent.guard.limits import GuardConfig
from robot_agent.ros import arm_setup, environment, interbotix_driver
from robot_agent.ros.interbotix_driver import ModuleDriver
from robot_agent.ros.xs_driver import ArmDriver, ServiceDriver

WAYS = {"services": ServiceDriver, "interbotix_xs_modules": ModuleDriver}


@pytest.fixture(scope="module")
def namespace(ros_domain_id: int) -> Iterator[str]:
    """An emulated driver of its own, and ROS in this process."""
    environment.prepare()
    words = [sys.executable, "-m", "robot_agent.node", "xs_emulator", "--ros-args"]
    variables = dict(os.environ) | {"ROS_DOMAIN_ID": str(ros_domain_id)}
    emulator = subprocess.Popen([*words, "-r", "__ns:=/wx250s"], env=variables)
    rclpy.init(domain_id=ros_domain_id, signal_handler_options=SignalHandlerOptions.NO)
    yield "/wx250s"
    rclpy.try_shutdown()
    emulator.terminate()
    emulator.wait(10.0)


@pytest.fixture(params=list(WAYS), scope="module")
def driver(request: pytest.FixtureRequest, namespace: str) -> Iterator[ArmDriver]:
    problem = interbotix_driver.problem()
    if request.param != "services" and problem is not None:
        pytest.skip(f"{problem}. Build Interbotix's workspace and source it to run this half.")
    made = WAYS[request.param](namespace)
    yield made
    made.close()


def test_it_says_how_it_talks(driver: ArmDriver) -> None:
    assert driver.way in WAYS


def test_information_of_the_arm(driver: ArmDriver) -> None:
    info = driver.info("group", "arm")
    assert tuple(info.joint_names) == wx250s.JOINT_NAMES
    assert tuple(info.joint_ids) == MOTOR_IDS[:6]
    assert info.num_joints == 6
    assert info.joint_sleep_positions == pytest.approx(wx250s.SLEEP_RAD)
    assert driver.info("group", "all").joint_names[-1] == "left_finger"


def test_a_register_is_read_written_and_read_back(driver: ArmDriver) -> None:
    driver.write("single", "waist", "Position_P_Gain", 640)
    assert driver.read("single", "waist", "Position_P_Gain") == (640,)
    driver.write("group", "arm", "Position_P_Gain", 800)
    assert driver.read("group", "arm", "Position_P_Gain") == (800,) * 6


def test_a_question_leaves_nothing_behind_that_slows_down_the_next(namespace: str) -> None:
    driver = ServiceDriver(namespace)
    for _ in range(100):
        driver.read("single", "waist", "Torque_Enable")
    left = len(driver._executor._tasks)
    driver.close()
    assert left <= 4, f"{left} tasks are left of 100 questions"


def test_a_register_that_some_motors_lack_gives_a_short_answer(driver: ArmDriver) -> None:
    assert driver.read("group", "all", "Current_Limit") == (1193,) * 5
    assert driver.read("group", "all", "No_Such_Register") == ()


def test_eeprom_is_locked_while_torque_is_on(driver: ArmDriver) -> None:
    driver.write("single", "waist", "Velocity_Limit", 16)
    assert driver.read("single", "waist", "Velocity_Limit") == (131,)


def test_torque_and_mode(driver: ArmDriver) -> None:
    driver.torque("single", "waist", is_on=False)
    assert driver.read("group", "arm", "Torque_Enable") == (0, 1, 1, 1, 1, 1)
    driver.torque("group", "arm", is_on=True)
    assert driver.read("group", "arm", "Torque_Enable") == (1,) * 6
    driver.set_mode("group", "arm", "position", ("time", 1500, 250))
    assert driver.read("group", "arm", "Profile_Velocity") == (1500,) * 6


def test_a_prepared_arm_keeps_the_contract_and_is_well(driver: ArmDriver) -> None:
    contract = load_contract()
    arm_setup.set_profile(driver, (2000, 300))
    assert any("Profile_Velocity is 2000, wanted 250" in t for t in _inspect(driver))
    arm_setup.prepare(driver, contract)
    assert _inspect(driver) == ()
    health = arm_setup.poll(driver, contract, 1)
    assert len(health.hardware_errors) == 9
    assert judge(GuardConfig(), health, 1) == ((), (), ())


def test_a_reboot_loses_the_profile_and_the_arm_is_set_up_again(driver: ArmDriver) -> None:
    arm_setup.prepare(driver, load_contract())
    driver.reboot("group", "arm", is_smart=False)
    assert driver.read("group", "arm", "Profile_Velocity") == (0,) * 6
    assert driver.read("group", "arm", "Torque_Enable") == (1,) * 6
    arm_setup.reboot(driver, load_contract())
    assert _inspect(driver) == ()


def test_home_and_sleep_are_sent_through_the_given_publisher_alone(driver: ArmDriver) -> None:
    sent: list[list[float]] = []
    driver.move([0.0] * 6, lambda joints: sent.append(list(joints)))
    driver.move(wx250s.SLEEP_RAD.tolist(), lambda joints: sent.append(list(joints)))
    assert sent[0] == [0.0] * 6
    assert sent[1] == pytest.approx(wx250s.SLEEP_RAD)


def _inspect(driver: ArmDriver) -> tuple[str, ...]:
    return arm_setup.inspect(driver, load_contract())


def test_without_a_driver_it_says_so_in_time(namespace: str) -> None:
    with pytest.raises(ArmFaultError, match=r"no such service within 0\.3 s\. Start the driver"):
        ServiceDriver("/nobody", start_s=0.3)


def test_a_reading_whose_answer_was_lost_is_asked_for_again_and_a_write_never_is(
    namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = ServiceDriver(namespace, answer_s=1.5)
    sent = {"get": 0, "set": 0}

    def losing(name: str, client: Client) -> None:
        ask = client.call_async

        def call_async(request: object) -> Future:
            sent[name] += 1
            return Future() if sent[name] == 1 else ask(request)

        monkeypatch.setattr(client, "call_async", call_async)
        monkeypatch.setattr(client, "remove_pending_request", lambda _: None)

    losing("get", driver._get)
    losing("set", driver._set)
    assert len(driver.read("group", "arm", "Velocity_Limit")) >= 6
    with pytest.raises(ArmFaultError, match=r"no answer within 1\.5 s"):
        driver.write("single", "waist", "Profile_Velocity", 250)
    assert sent == {"get": 2, "set": 1}
    driver.close()
