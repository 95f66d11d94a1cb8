"""A terminal's keys: hold one to move. Works over ssh, where no key release is ever reported."""

from dataclasses import dataclass, replace

import numpy as np

from robot_agent.core.config import require_range
from robot_agent.core.types import FloatArray
from robot_agent.teleop.buttons import EventQueue
from robot_agent.teleop.gripper import GripperToggle
from robot_agent.teleop.mapping import MappingConfig, delta_from_deflection
from robot_agent.teleop.sample import OperatorSample, ToolView

MOVES = {
    "w": (0, 1), "s": (0, -1), "a": (1, 1), "d": (1, -1), "r": (2, 1), "f": (2, -1),
    "u": (3, -1), "o": (3, 1), "i": (4, 1), "k": (4, -1), "j": (5, 1), "l": (5, -1),
}  # fmt: skip
"""Key: axis of the deflection and its sign."""
EVENT_KEYS = {
    "\r": "success", "\n": "success", "\x7f": "failure", "\b": "failure",
    "x": "discard", "t": "re_record", "q": "stop", "\x1b": "stop",
}  # fmt: skip
HELP = """hold to move   w s  forward, back     a d  left, right     r f  up, down
hold to turn   u o  roll              i k  pitch           j l  yaw
h holds still  space opens or closes the gripper           + -  faster, slower
enter success  backspace failure      x discard            t re-record
q or Esc       STOP (a person resets it)                   Ctrl-C leaves
"""


@dataclass(frozen=True, kw_only=True)
class KeyboardConfig:
    """Times of a terminal's key repeat."""

    motion_s: float = 0.2
    """How long one character moves the arm; a held key repeats well within it."""
    hold_s: float = 0.75
    """How long one character holds the deadman, at rest after `motion_s`: terminals begin to
    repeat a held key only after 0.25 to 0.66 s, and the policy must not take over in that gap."""

    def __post_init__(self) -> None:
        """Refuse times that would move the arm for long after the last key."""
        require_range("motion_s", self.motion_s, 0.05, 0.3, "s")
        require_range("hold_s", self.hold_s, self.motion_s, 1.5, "s")


class Keyboard:
    """Characters in, samples out."""

    def __init__(self, mapping: MappingConfig, config: KeyboardConfig | None = None) -> None:
        """Start with nothing held."""
        self._mapping = replace(mapping, dead_zone=0.0)  # a key is never half pressed
        self._config = config or KeyboardConfig()
        self._deflection: FloatArray = np.zeros(6)
        self._pressed_ns = -(10**18)
        self._alive_ns: int | None = None
        self._speed = 0.5
        self._is_space = False
        self._seen_ns: dict[str, int] = {}
        self._gripper, self._events = GripperToggle(), EventQueue()

    def alive(self, now_ns: int) -> None:
        """Say that the terminal is there, also when no key came."""
        self._alive_ns = now_ns

    def press(self, text: str, now_ns: int) -> None:
        """Take the characters of one reading; an escape sequence (arrow keys) is no stop."""
        self.alive(now_ns)
        if len(text) > 1 and text[0] == "\x1b":
            return
        for key in text:
            is_new = self._is_new(key, now_ns)
            if key in EVENT_KEYS and is_new:
                self._events.put(EVENT_KEYS[key])
            elif key in "+-":
                self._speed = min(max(self._speed * (1.25 if key == "+" else 0.8), 0.1), 1.0)
            elif key in MOVES or key in " h":
                self._hold(key, now_ns)
                self._is_space = self._is_space or (key == " " and is_new)

    def _is_new(self, key: str, now_ns: int) -> bool:
        """Return whether a key was pressed, not held until the terminal repeated it."""
        before_ns = self._seen_ns.get(key, -(10**18))
        self._seen_ns[key] = now_ns
        return (now_ns - before_ns) * 1e-9 > self._config.hold_s

    def _hold(self, key: str, now_ns: int) -> None:
        self._pressed_ns, self._deflection = now_ns, np.zeros(6)
        if key in MOVES:
            axis, sign = MOVES[key]
            self._deflection[axis] = sign * self._speed

    def poll(self, now_ns: int, tool: ToolView | None) -> OperatorSample | None:
        """Return what the keys of the last moments mean."""
        if self._alive_ns is None:
            return None
        age_s = (self._alive_ns - self._pressed_ns) * 1e-9
        is_held = age_s < self._config.hold_s
        is_moving = (now_ns - self._pressed_ns) * 1e-9 < self._config.motion_s
        deflection = self._deflection if is_moving else np.zeros(6)
        is_space, self._is_space = self._is_space, False
        self._gripper.look(False, tool, is_held=is_held)  # a key has no release: press anew
        return OperatorSample(
            stamp_ns=self._alive_ns,
            delta=delta_from_deflection(deflection, self._mapping, tool),
            gripper=self._gripper.look(is_space, tool, is_held=is_held),
            deadman=is_held,
            event=self._events.take(),
        )
