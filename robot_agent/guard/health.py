"""What the slow poll of the motors says about them, and which causes follow; pure."""

from dataclasses import dataclass
from typing import NamedTuple

from robot_agent.guard.limits import GuardConfig, to_ns


@dataclass(frozen=True)
class Health:
    """Registers of all motors, polled at 1 Hz or faster, in the order of the contract."""

    stamp_ns: int
    """Monotonic time of the poll."""
    missing: tuple[str, ...]
    """Motors that did not answer."""
    hardware_errors: tuple[int, ...]
    """Bits of Hardware_Error_Status."""
    temperatures_c: tuple[int, ...]
    temperature_limits_c: tuple[int, ...]
    voltages_v: tuple[float, ...]
    torques: tuple[int, ...]
    """Torque_Enable: 0 is a limp motor."""
    watchdogs: tuple[int, ...]
    """Bus_Watchdog; -1 or 255 after it tripped, 0 after a restart of the motor."""
    watchdog: int = 0
    """What it was set to."""


class Verdict(NamedTuple):
    """Causes by strength."""

    stops: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


ALL_IS_WELL = Verdict()


def judge(config: GuardConfig, health: Health | None, now_ns: int) -> Verdict:
    """Return the causes present in the newest poll; none before the first.

    Source: `Present_Input_Voltage` in 0.1 V, temperatures in degrees (Robotis e-manual).
    """
    if health is None:
        return ALL_IS_WELL
    is_old = now_ns - health.stamp_ns > to_ns(config.max_health_age_s)
    stops = {
        "motor_error": any(health.hardware_errors),
        "motor_missing": bool(health.missing),
        "overheated": _is_within(health, config.hot_margin_c),
        "brown_out": any(volts < config.brown_out_v for volts in health.voltages_v),
        "torque_lost": 0 in health.torques,
        "bus_watchdog": any(value != health.watchdog for value in health.watchdogs),
    }
    holds = {
        "health_silent": is_old,
        "low_voltage": any(volts < config.low_voltage_v for volts in health.voltages_v),
    }
    notes = {"motor_warm": _is_within(health, config.warm_margin_c)}
    return Verdict(
        *(tuple(name for name, is_so in kind.items() if is_so) for kind in (stops, holds, notes))
    )


def _is_within(health: Health, margin_c: float) -> bool:
    pairs = zip(health.temperatures_c, health.temperature_limits_c, strict=False)
    return any(found >= limit - margin_c for found, limit in pairs)
