"""What the arm must be is compared motor by motor, and every breach says how to mend it."""

import dataclasses
import itertools

import numpy as np
import pytest

from robot_agent.core import wx250s
from robot_agent.core.config import build
from robot_agent.core.errors import ConfigError
from robot_agent.guard.contract import (
    MOTORS,
    ArmContract,
    ArmFacts,
    breaches,
    is_at_rest,
    load_contract,
)

CONTRACT = load_contract()


def _facts(**changes: object) -> ArmFacts:
    registers = {(rule.motor, rule.name): rule.values for rule in CONTRACT.registers}
    good = ArmFacts(
        joint_names=wx250s.JOINT_NAMES,
        joint_ids=(1, 2, 4, 6, 7, 8),
        lower_rad=tuple(wx250s.JOINT_LOWER_RAD),
        upper_rad=tuple(wx250s.JOINT_UPPER_RAD),
        mode="position",
        profile_type="time",
        registers=registers,
    )
    return dataclasses.replace(good, **changes)


def test_at_least_twelve_registers_are_compared():
    assert len({rule.name for rule in CONTRACT.registers}) >= 12


def test_an_arm_that_is_as_wanted_breaks_nothing():
    assert breaches(CONTRACT, _facts()) == ()


@pytest.mark.parametrize("rule", CONTRACT.registers, ids=lambda rule: f"{rule.name}{rule.motor}")
def test_every_register_of_every_motor_is_looked_at(rule):
    for k in range(len(rule.values)):
        wrong = -1 if rule.must == "at least" else 1
        values = list(rule.values)
        values[k] += wrong
        registers = dict(_facts().registers) | {(rule.motor, rule.name): tuple(values)}
        (line,) = breaches(CONTRACT, _facts(registers=registers))
        assert f"{rule.name} is {values[k]}, wanted" in line
        assert line.startswith(rule.motor or MOTORS[k])


@pytest.mark.parametrize("rule", CONTRACT.registers, ids=lambda rule: f"{rule.name}{rule.motor}")
def test_a_short_answer_names_the_motor_that_is_silent(rule):
    for k in range(len(rule.values)):
        registers = dict(_facts().registers) | {(rule.motor, rule.name): rule.values[:k]}
        (line,) = breaches(CONTRACT, _facts(registers=registers))
        assert line.startswith(f"{rule.motor or MOTORS[k]}: no answer")
        assert "cable" in line


def test_what_may_be_stricter_is_no_breach():
    registers = dict(_facts().registers)
    registers["", "Velocity_Limit"] = (16,) * 7
    registers["", "Firmware_Version"] = (45,) * 7
    assert breaches(CONTRACT, _facts(registers=registers)) == ()


def test_another_arm_is_named_before_its_registers():
    (line,) = breaches(CONTRACT, _facts(joint_names=wx250s.JOINT_NAMES[:5], registers={}))
    assert "robot_model:=wx250s" in line


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"joint_ids": (1, 2, 3, 6, 7, 8)}, "IDs"),
        ({"mode": "velocity"}, "velocity"),
        ({"profile_type": "velocity"}, "profile"),
        ({"upper_rad": (3.0, *wx250s.JOINT_UPPER_RAD[1:])}, "waist"),
    ],
)
def test_ids_mode_and_limits_are_compared(changes, word):
    (line,) = breaches(CONTRACT, _facts(**changes))
    assert word in line


def test_rest_ignores_rolling_and_the_waist():
    pose = wx250s.SLEEP_RAD.copy()
    assert is_at_rest(CONTRACT, pose + np.array([1.0, 0.1, 0.1, 1.0, 0.1, 1.0]))
    for joint, sign in itertools.product((1, 2, 4), (-1, 1)):
        lifted = pose.copy()
        lifted[joint] += sign * 0.3
        assert not is_at_rest(CONTRACT, lifted)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"profile_velocity_ms": 50}, "profile_velocity_ms=50"),
        ({"profile_acceleration_ms": 200}, "profile_acceleration_ms=200"),
        ({"bus_watchdog_20ms": 128}, "bus_watchdog_20ms=128"),
        ({"registers": [{"name": "ID", "values": [1], "must": "be"}]}, "'be' is not one of"),
        ({"registres": []}, "registers"),
    ],
)
def test_a_contract_file_that_cannot_be_is_refused(values, word):
    with pytest.raises(ConfigError, match=word):
        build(ArmContract, values, "wx250s.yaml")
