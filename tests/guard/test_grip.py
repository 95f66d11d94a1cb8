"""The gripper: Bridge's loop where nothing resists, eased where something does, loose in a jam."""

import numpy as np
import pytest

from robot_agent.core import wx250s
from robot_agent.guard.grip import EFFORT_PER_LOAD, Grip, drive
from robot_agent.guard.limits import GuardConfig
from robot_agent.guard.state import Measured

CONFIG = GuardConfig()
TICK_NS = 20_000_000


class Fingers:
    """Runs the loop against fingers that stand where they are told, with a load."""

    def __init__(self) -> None:
        self.grip, self.now_ns, self.told, self.pwm = Grip(), 10**12, [], 0.0

    def run(self, seconds: float, finger_m: float, load: float | None, opening: float) -> float:
        for _ in range(round(seconds / 0.02)):
            self.now_ns += TICK_NS
            effort = None
            if load is not None:
                effort = np.array([1.0, 0, 0, 0, 0, 0, load * EFFORT_PER_LOAD])
            measured = Measured(np.zeros(6), finger_m, self.now_ns, None, effort)
            self.pwm, self.grip, causes = drive(CONFIG, self.grip, self.now_ns, measured, opening)
            self.told += causes
        return self.pwm


def test_without_a_load_it_is_bridges_loop_for_ever():
    assert Fingers().run(10.0, 0.03, None, 0.0) == -350.0


def test_a_resisted_grip_is_eased_and_held():
    fingers = Fingers()
    assert fingers.run(0.1, 0.02, -390.0, 0.0) == -350.0
    assert fingers.run(0.5, 0.02, -390.0, 0.0) == -CONFIG.grip_pwm
    assert fingers.run(60.0, 0.02, -226.0, 0.0) == -CONFIG.grip_pwm
    assert fingers.told == []


@pytest.mark.parametrize(("finger_m", "opening"), [(0.02, 0.0), (0.012, 1.0)])
def test_a_load_that_stays_high_for_a_second_lets_loose_and_repeated_stops(finger_m, opening):
    fingers = Fingers()
    assert fingers.run(1.0, finger_m, 400.0, opening) != 0.0
    assert fingers.run(0.4, finger_m, 400.0, opening) == 0.0
    assert set(fingers.told) == {"gripper_overload"}
    assert fingers.run(5.0, finger_m, 0.0, opening) == 0.0, "loose until another target"
    other = abs(opening - 0.5)
    assert fingers.run(0.1, finger_m, 0.0, other) != 0.0
    fingers.run(1.6, finger_m, 400.0, other)
    assert "gripper_jam" in fingers.told


def test_a_second_jam_much_later_is_not_a_repeat():
    fingers = Fingers()
    fingers.run(1.6, 0.02, 400.0, 0.0)
    fingers.run(70.0, 0.02, 0.0, 0.0)
    fingers.run(1.6, 0.02, 400.0, 0.5)
    assert "gripper_jam" not in fingers.told


def test_what_was_held_and_is_gone_is_told_for_half_a_second():
    """Long enough to be among the words of the next step, which is what episodes keep."""
    fingers = Fingers()
    fingers.run(2.0, 0.022, -226.0, 0.0)
    fingers.run(0.46, 0.011, -10.0, 0.0)
    assert set(fingers.told) == {"object_dropped"}
    assert len(fingers.told) == round(0.46 / 0.02)
    fingers.run(0.1, 0.011, -10.0, 0.0)
    fingers.told.clear()
    fingers.run(1.0, 0.011, -10.0, 0.0)
    assert fingers.told == []


def test_opening_the_gripper_drops_nothing():
    fingers = Fingers()
    fingers.run(2.0, 0.022, -226.0, 0.0)
    fingers.run(1.0, 0.035, 10.0, 1.0)
    fingers.run(1.0, 0.011, -10.0, 0.0)
    assert fingers.told == []


def test_the_pwm_never_exceeds_bridges_and_is_zero_where_it_shall_be():
    assert Fingers().run(0.02, 0.0, None, 1.0) == 350.0
    where = wx250s.finger_from_opening(0.5)
    assert Fingers().run(0.02, where, None, 0.5) == pytest.approx(0.0)
