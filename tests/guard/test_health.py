"""What the motors tell of themselves becomes a note, a hold or a stop, each at its edge."""

import dataclasses

import pytest

from robot_agent.guard.health import Health, judge
from robot_agent.guard.limits import SLOW_SHARE, GuardConfig, slowed
from tests.guard.paper_arm import START_NS, PaperArm, make_action

WELL = Health(
    stamp_ns=START_NS,
    missing=(),
    hardware_errors=(0,) * 9,
    temperatures_c=(40,) * 9,
    temperature_limits_c=(80, 80, 80, 80, 80, 72, 72, 80, 80),
    voltages_v=(12.0,) * 7,
    torques=(1,) * 7,
    watchdogs=(5,) * 7,
    watchdog=5,
)


def _with(name: str, index: int, value: float) -> Health:
    values = list(getattr(WELL, name))
    values[index] = value
    return dataclasses.replace(WELL, **{name: tuple(values)})


def test_nobody_polls_and_all_is_well():
    assert judge(GuardConfig(), None, START_NS) == ((), (), ())
    assert judge(GuardConfig(), WELL, START_NS) == ((), (), ())


@pytest.mark.parametrize(
    ("name", "index", "value", "verdict"),
    [
        ("hardware_errors", 0, 32, (("motor_error",), (), ())),
        ("hardware_errors", 8, 4, (("motor_error",), (), ())),
        ("temperatures_c", 0, 64, ((), (), ())),
        ("temperatures_c", 0, 65, ((), (), ("motor_warm",))),
        ("temperatures_c", 6, 57, ((), (), ("motor_warm",))),
        ("temperatures_c", 0, 74, ((), (), ("motor_warm",))),
        ("temperatures_c", 0, 75, (("overheated",), (), ("motor_warm",))),
        ("voltages_v", 3, 10.5, ((), (), ())),
        ("voltages_v", 3, 10.4, ((), ("low_voltage",), ())),
        ("voltages_v", 3, 9.9, (("brown_out",), ("low_voltage",), ())),
        ("torques", 2, 0, (("torque_lost",), (), ())),
        ("watchdogs", 1, -1, (("bus_watchdog",), (), ())),
        ("watchdogs", 1, 0, (("bus_watchdog",), (), ())),
    ],
)
def test_each_register_at_its_edge(name, index, value, verdict):
    assert judge(GuardConfig(), _with(name, index, value), START_NS) == verdict


def test_a_motor_that_does_not_answer_stops():
    health = dataclasses.replace(WELL, missing=("elbow",))
    assert judge(GuardConfig(), health, START_NS).stops == ("motor_missing",)


def test_silence_holds_after_its_time():
    config = GuardConfig()
    assert judge(config, WELL, START_NS + 3_000_000_000).holds == ()
    assert judge(config, WELL, START_NS + 3_000_000_001).holds == ("health_silent",)


def test_a_stop_stays_latched_until_the_motor_is_well_and_a_person_resets():
    arm = PaperArm()
    ill = _with("hardware_errors", 1, 32)
    arm.tick(health=ill)
    assert arm.state.latched == ("motor_error",)
    assert arm.reset("motor_error", health=ill).latched == ("motor_error",)
    assert arm.tick(health=WELL).latched == ("motor_error",)
    assert arm.reset("motor_error", health=WELL).latched == ()


def test_low_voltage_holds_policy_and_operator_and_clears_by_itself():
    arm = PaperArm()
    low = _with("voltages_v", 0, 10.2)
    arm.run(make_action(0.02))
    arm.tick(arm.propose(make_action(0.02)), health=low)
    assert (arm.state.mode, arm.state.hold_causes) == ("hold", ("low_voltage",))
    arm.tick(operator=arm.operate(0.02), health=low)
    assert not arm.state.accepted_this_tick
    arm.ticks(60, health=WELL)
    assert arm.state.hold_causes == ()
    arm.tick(arm.propose(make_action(0.02)), health=WELL)
    assert arm.state.accepted_this_tick


def test_a_warm_motor_halves_the_speed_and_is_told():
    warm = _with("temperatures_c", 0, 66)
    lengths = []
    for health in (WELL, warm):
        arm = PaperArm()
        arm.tick(arm.propose(make_action(0.05)), health=health)
        lengths.append(arm.state.sent[0])
    assert lengths[0] == pytest.approx(0.05)
    assert lengths[1] == pytest.approx(0.025)
    assert arm.state.notes == ("motor_warm",)
    assert slowed(GuardConfig(), SLOW_SHARE).max_tool_speed_mps == 0.125
