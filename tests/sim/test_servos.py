"""The simulated servos and their driver have the quirks that the guard must live with."""

import numpy as np
import pytest

from robot_agent.core import wx250s
from robot_agent.core.errors import InputError
from robot_agent.guard.contract import MOTOR_IDS, SHADOWS, ArmFacts, breaches, load_contract
from robot_agent.sim.driver_faults import FAILED_READ_RAD, DriverFaults
from robot_agent.sim.emulated_arm import EmulatedArm, angle_from_finger, finger_from_angle
from robot_agent.sim.servos import IDS, MOTOR_NAMES, OVERLOAD_BIT, STATE_NAMES, Servos


@pytest.fixture
def servos() -> Servos:
    return Servos((250, 100), watchdog=5)


@pytest.fixture
def arm(servos: Servos) -> EmulatedArm:
    return EmulatedArm(servos)


@pytest.fixture
def faults(servos: Servos, arm: EmulatedArm) -> DriverFaults:
    return DriverFaults(servos, arm)


def _run(arm: EmulatedArm, seconds: float) -> None:
    for _ in range(round(seconds * 100)):
        arm.step()


def test_simulated_servos_keep_the_contract_of_the_real_ones(servos):
    contract = load_contract()
    registers = {
        (rule.motor, rule.name): tuple(
            servos.read((rule.motor,) if rule.motor else MOTOR_NAMES, rule.name)
        )
        for rule in contract.registers
    }
    facts = ArmFacts(
        joint_names=wx250s.JOINT_NAMES,
        joint_ids=tuple(IDS[name] for name in wx250s.JOINT_NAMES),
        lower_rad=tuple(wx250s.JOINT_LOWER_RAD),
        upper_rad=tuple(wx250s.JOINT_UPPER_RAD),
        mode=servos.modes["waist"],
        profile_type="time",
        registers=registers,
    )
    assert breaches(contract, facts) == ()
    assert (MOTOR_IDS, set(SHADOWS) - set(IDS)) == (tuple(IDS[n] for n in MOTOR_NAMES), set())


def test_a_read_stops_at_the_first_motor_that_is_silent(servos):
    servos.missing.add("elbow")
    assert servos.read(MOTOR_NAMES, "ID") == [1, 2]


def test_a_reboot_drops_torque_and_what_is_not_in_eeprom(servos):
    servos.reboot(("waist",), enable=False, is_smart=False)
    assert servos.value("waist", "Profile_Velocity") == 0
    assert servos.value("waist", "Torque_Enable") == 0
    assert servos.value("waist", "Velocity_Limit") == 131


def test_a_smart_reboot_touches_only_motors_in_error(servos):
    servos.fail("elbow", OVERLOAD_BIT)
    servos.reboot(MOTOR_NAMES, enable=True, is_smart=True)
    assert servos.value("elbow", "Hardware_Error_Status") == 0
    assert servos.value("waist", "Profile_Velocity") == 250
    assert servos.value("elbow", "Profile_Velocity") == 0


def test_torque_does_not_come_back_on_a_motor_in_error(servos):
    servos.fail("elbow", OVERLOAD_BIT)
    servos.torque(("elbow",), is_on=True)
    assert not servos.is_driven("elbow")


def test_the_spelling_of_the_drivers_extended_mode_is_kept(servos):
    servos.set_mode(("waist",), "ext_position", "time", (0, 0))
    assert servos.modes["waist"] == "position"


def test_a_profile_of_250_ms_arrives_then_and_peaks_at_one_and_a_half_times_its_mean(arm):
    arm.goal_rad = arm.joints_rad + 0.1
    speeds = []
    for _ in range(40):
        arm.step()
        speeds.append(float(np.abs(arm.velocities_radps).max()))
    assert np.abs(arm.joints_rad - arm.goal_rad).max() < 1e-3
    assert max(speeds) == pytest.approx(1.5 * 0.1 / 0.25, rel=0.1)


def test_a_limp_arm_falls_to_rest(arm, servos):
    arm.goal_rad = arm.joints_rad + np.array([0.0, 0.8, -0.5, 0.0, 0.0, 0.0])
    _run(arm, 1.0)
    servos.torque(wx250s.JOINT_NAMES, is_on=False)
    _run(arm, 4.0)
    assert np.abs(arm.joints_rad - wx250s.SLEEP_RAD).max() < 0.01


def test_the_crank_and_its_inverse():
    for finger_m in np.linspace(0.012, 0.037, 9):
        assert finger_from_angle(angle_from_finger(finger_m)) == pytest.approx(finger_m)
    assert angle_from_finger(0.015) == pytest.approx(-0.378, abs=2e-3)
    assert angle_from_finger(0.037) == pytest.approx(1.268, abs=2e-3)


def test_a_gripper_that_pushes_for_long_shuts_itself_down(arm, servos):
    arm.object_m, arm.pwm = 0.02, -350.0
    _run(arm, 6.0)
    assert servos.value("gripper", "Hardware_Error_Status") == OVERLOAD_BIT
    eased = EmulatedArm(Servos())
    eased.object_m, eased.pwm = 0.02, -200.0
    _run(eased, 60.0)
    assert eased._servos.value("gripper", "Hardware_Error_Status") == 0


@pytest.mark.parametrize(
    ("kind", "argument", "wanted"),
    [
        ("off", 0.0, [FAILED_READ_RAD] * 7 + [0.0, 0.0]),
        ("disconnect", 0.0, [FAILED_READ_RAD] * 7 + [0.0, 0.0]),
        ("garbage", 0.0, [0.0] * len(STATE_NAMES)),
    ],
)
def test_what_joint_states_tell_of_a_broken_bus(faults, arm, kind, argument, wanted):
    faults.inject("bus", kind, argument, 0)
    faults.begin(1)
    assert faults.positions(arm.positions(), 1) == wanted
    faults.inject("bus", "ok", 0.0, 0)
    faults.begin(2)
    assert faults.positions(arm.positions(), 2) == arm.positions()


def test_a_stuck_bus_repeats_and_a_delayed_one_lags(faults, arm):
    first = arm.positions()
    faults.inject("bus", "stuck", 0.0, 0)
    faults.begin(1)
    assert faults.positions(first, 1) == first
    arm.goal_rad = arm.joints_rad + 0.1
    _run(arm, 0.5)
    assert faults.positions(arm.positions(), 2) == first
    faults.inject("bus", "delayed", 0.01, 0)
    faults.begin(3)
    assert faults.positions(first, 3) == arm.positions()


def test_a_fault_waits_for_its_tick(faults, servos):
    faults.inject("elbow", "overload", 0.0, 50)
    faults.begin(49)
    assert servos.value("elbow", "Hardware_Error_Status") == 0
    faults.begin(50)
    assert servos.value("elbow", "Hardware_Error_Status") == OVERLOAD_BIT


@pytest.mark.parametrize(
    ("component", "kind"), [("bus", "melts"), ("thumb", "off"), ("elbow.ID", "off")]
)
def test_an_unknown_fault_lists_the_known_ones(faults, component, kind):
    with pytest.raises(InputError, match="Known are: bus: ok, off"):
        faults.inject(component, kind, 0.0, 0)
