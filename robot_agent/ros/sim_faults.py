"""Faults that tests plant in the simulated robot; words of PX4's failure injection."""

import threading
from dataclasses import dataclass

import numpy as np

from robot_agent.core.errors import InputError
from robot_agent.core.types import ImageArray

KINDS = {
    "camera": ("ok", "off", "stuck", "garbage", "slow"),
    "joint_states": ("ok", "off", "stuck", "garbage", "wrong"),
    "motor": ("ok", "wrong", "off"),
    "world": ("ok", "slow"),
}
"""Component to the kinds that it knows.

camera: off sends nothing, stuck repeats one picture with fresh stamps, garbage is noise, slow
sends every `argument` seconds. joint_states: off, stuck repeats one reading, garbage is all zeros,
wrong adds `argument` rad to the waist. motor, the gripper's: wrong sets the overload bit, off
leaves it out of the answers of registers. world: slow adds `argument` seconds to every tick.
"""


@dataclass(frozen=True)
class Fault:
    """One planted fault."""

    kind: str
    argument: float
    at_step: int


class Faults:
    """The planted faults; every method may be called from any thread."""

    def __init__(self) -> None:
        """Plant nothing."""
        self._faults: dict[str, Fault] = {}
        self._lock = threading.Lock()
        self._stuck_image: ImageArray | None = None
        self._stuck_joints: list[float] | None = None
        self._rng = np.random.default_rng(0)

    def inject(self, component: str, kind: str, argument: float, at_step: int) -> None:
        """Plant a fault from tick `at_step` on; `ok` removes it.

        Raises:
            InputError: An unknown component or kind; lists the known ones.
        """
        if component not in KINDS or kind not in KINDS[component]:
            known = "; ".join(f"{name}: {', '.join(kinds)}" for name, kinds in KINDS.items())
            raise InputError(f"fault '{component} {kind}' is unknown. Known are: {known}.")
        with self._lock:
            self._faults.pop(component, None)
            self._stuck_image = None if component == "camera" else self._stuck_image
            self._stuck_joints = None if component == "joint_states" else self._stuck_joints
            if kind != "ok":
                self._faults[component] = Fault(kind, argument, at_step)

    def clear(self) -> None:
        """Remove every fault."""
        for component in KINDS:
            self.inject(component, "ok", 0.0, 0)

    def active(self, component: str, step: int) -> Fault:
        """Return the fault of a component at this tick; kind `ok` when there is none."""
        with self._lock:
            fault = self._faults.get(component)
        return fault if fault is not None and step >= fault.at_step else Fault("ok", 0.0, 0)

    def image(self, image_hwc: ImageArray, step: int) -> ImageArray | None:
        """Return what the camera sends instead of a picture; None when it sends nothing."""
        kind = self.active("camera", step).kind
        if kind == "off":
            return None
        if kind == "garbage":
            return self._rng.integers(0, 256, image_hwc.shape, dtype=np.uint8)
        if kind == "stuck":
            if self._stuck_image is None:
                self._stuck_image = image_hwc
            return self._stuck_image
        return image_hwc

    def positions(self, positions: list[float], step: int) -> list[float] | None:
        """Return what the driver reports instead of joint positions; None for silence."""
        fault = self.active("joint_states", step)
        if fault.kind == "off":
            return None
        if fault.kind == "garbage":
            return [0.0] * len(positions)
        if fault.kind == "wrong":
            return [positions[0] + fault.argument, *positions[1:]]
        if fault.kind == "stuck":
            if self._stuck_joints is None:
                self._stuck_joints = positions
            return self._stuck_joints
        return positions
