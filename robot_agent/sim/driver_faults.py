"""Faults that tests plant in the emulated driver and its arm; words of PX4's failure injection."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from robot_agent.core import wx250s
from robot_agent.core.errors import InputError
from robot_agent.sim.emulated_arm import EmulatedArm
from robot_agent.sim.servos import (
    ENCODER_BIT,
    IDS,
    MOTOR_NAMES,
    OVERHEAT_BIT,
    OVERLOAD_BIT,
    SHOCK_BIT,
    STATE_NAMES,
    VOLTAGE_BIT,
    Servos,
)

_ERROR_BITS: Final = {
    "overload": OVERLOAD_BIT,
    "shock": SHOCK_BIT,
    "encoder": ENCODER_BIT,
    "overheat": OVERHEAT_BIT,
    "brownout": VOLTAGE_BIT,
}
KINDS: Final = {
    "bus": (
        "ok", "off", "stuck", "garbage", "wrong", "slow", "delayed", "intermittent", "disconnect",
    ),
    "driver": ("ok", "off", "slow", "wrong"),
    "commands": ("ok", "off", "delayed"),
    "supply": ("ok", "wrong"),
    "object": ("ok", "wrong"),
}  # fmt: skip
"""Component to kinds, beside the motors and their registers.

bus, what joint_states tell: off and disconnect are a failed read (every motor at raw 0, which the
driver turns into -pi), with disconnect no register answers either; stuck repeats one reading with
fresh stamps; garbage is all zeros; wrong is numbers at random; slow sends every `argument`
seconds; delayed sends what was `argument` seconds ago; intermittent fails every `argument`-th
read. driver: off sends nothing, slow answers services `argument` seconds late, wrong claims
another arm. commands: off ignores them, delayed obeys `argument` seconds later. supply: wrong is
`argument` volts. object: wrong is something that stops the finger at `argument` metres.
"""
MOTOR_KINDS: Final = ("ok", "off", "stuck", "wrong", "wall", "heat", "limp", *_ERROR_BITS)
"""A motor, by its name: off does not answer, stuck does not move, wrong reads `argument` rad too
much, wall leaves it `argument` rad, heat is `argument` degrees, limp lost its torque, the others
are bits of its hardware error. `motor.Register` `wrong` sets the register to `argument`."""
FAILED_READ_RAD: Final = -3.14159265
"""Radians of raw position 0; Source: dynamixel-workbench, convertValue2Radian."""


@dataclass(frozen=True)
class Planted:
    """One planted fault."""

    kind: str = "ok"
    argument: float = 0.0
    from_tick: int = 0


class DriverFaults:
    """The planted faults; the caller serialises access."""

    def __init__(self, servos: Servos, arm: EmulatedArm) -> None:
        """Plant nothing."""
        self._servos, self._arm = servos, arm
        self._planted: dict[str, Planted] = {}
        self._waiting: list[tuple[str, Planted]] = []
        self._history: list[list[float]] = []
        self._stuck: list[float] | None = None
        self._stuck_efforts: list[float] | None = None
        self._rng = np.random.default_rng(0)

    def inject(self, component: str, kind: str, argument: float, from_tick: int) -> None:
        """Plant a fault from tick `from_tick` on, 0 for now; `ok` removes it.

        Raises:
            InputError: An unknown component or kind; lists the known ones.
        """
        motor, _, register = component.partition(".")
        known = KINDS.get(component, MOTOR_KINDS if motor in IDS else ())
        known = ("ok", "wrong") if register and motor in IDS else known
        if kind not in known:
            told = "; ".join(f"{name}: {', '.join(kinds)}" for name, kinds in KINDS.items())
            raise InputError(
                f"fault '{component} {kind}' is unknown. Known are: {told}; a motor "
                f"({', '.join(IDS)}): {', '.join(MOTOR_KINDS)}; motor.Register: ok, wrong."
            )
        self._waiting.append((component, Planted(kind, argument, from_tick)))

    def begin(self, tick: int) -> None:
        """Let the faults come true whose tick it is; call once per tick."""
        due = [item for item in self._waiting if item[1].from_tick <= tick]
        self._waiting = [item for item in self._waiting if item[1].from_tick > tick]
        for component, fault in due:
            self._stuck, self._stuck_efforts = None, None
            self._planted[component] = fault
            self._apply(component, fault)

    def of(self, component: str) -> Planted:
        """Return the fault of a component; kind `ok` when there is none."""
        return self._planted.get(component, Planted())

    def positions(self, positions: list[float], tick: int) -> list[float] | None:
        """Return what the driver reports instead of positions; None for silence in this tick."""
        fault = self.of("bus")
        self._history = [*self._history[-200:], positions]
        argument = fault.argument
        if self.of("driver").kind == "off":
            return None
        if fault.kind == "slow":
            return positions if tick % max(round(argument * 100), 1) == 0 else None
        if fault.kind == "delayed":
            return self._history[max(-1 - round(argument * 100), -len(self._history))]
        is_failed = fault.kind == "intermittent" and tick % max(round(argument), 1) == 0
        if is_failed or fault.kind in ("off", "disconnect"):
            return [FAILED_READ_RAD] * len(MOTOR_NAMES) + [0.0, 0.0]
        if fault.kind == "garbage":
            return [0.0] * len(STATE_NAMES)
        if fault.kind == "wrong":
            return [float(value) for value in self._rng.uniform(-9.0, 9.0, len(STATE_NAMES))]
        if fault.kind == "stuck":
            self._stuck = positions if self._stuck is None else self._stuck
            return self._stuck
        return positions

    def efforts(self, efforts: list[float], reported: list[float]) -> list[float]:
        """Return what the driver reports instead of efforts, beside the `reported` positions."""
        if self.of("bus").kind == "stuck":
            self._stuck_efforts = self._stuck_efforts or efforts
            return self._stuck_efforts
        is_read = any(reported) and reported[0] != FAILED_READ_RAD
        return efforts if is_read else [0.0] * len(efforts)

    def _apply(self, component: str, fault: Planted) -> None:
        motor, _, register = component.partition(".")
        if component == "bus":
            self._servos.is_bus_lost = fault.kind == "disconnect"
        elif component == "supply":
            volts = fault.argument if fault.kind == "wrong" else 12.0
            for name in IDS:
                self._servos.present(name, {"Present_Input_Voltage": round(volts * 10.0)})
        elif component == "object":
            self._arm.object_m = fault.argument if fault.kind == "wrong" else None
        elif register and fault.kind == "wrong":
            self._servos.force(motor, register, round(fault.argument))
        elif motor in IDS:
            self._apply_to(motor, fault)

    def _apply_to(self, motor: str, fault: Planted) -> None:
        arm, servos, kind = self._arm, self._servos, fault.kind
        if kind == "ok":
            servos.missing.discard(motor)
            arm.jammed.discard(motor)
            arm.walls.pop(motor, None)
            arm.encoder_rad.pop(motor, None)
            servos.present(motor, {"Present_Temperature": 35})
            servos.force(motor, "Hardware_Error_Status", 0)
            servos.force(motor, "Torque_Enable", 1)
        elif kind == "off":
            servos.missing.add(motor)
        elif kind == "stuck":
            arm.jammed.add(motor)
        elif kind == "wrong":
            arm.encoder_rad[motor] = fault.argument
        elif kind == "wall":
            now = float(arm.joints_rad[wx250s.JOINT_NAMES.index(motor)])
            arm.walls[motor] = (now - fault.argument, now + fault.argument)
        elif kind == "heat":
            servos.present(motor, {"Present_Temperature": round(fault.argument)})
        elif kind == "limp":
            servos.torque((motor,), is_on=False)
        else:
            servos.fail(motor, _ERROR_BITS[kind])
