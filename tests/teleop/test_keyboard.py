"""A held key moves, a tap moves once, silence releases; over a virtual terminal too."""

import os
import pty

import numpy as np
import pytest

from robot_agent.core.errors import InputError
from robot_agent.teleop.buttons import REPEATS
from robot_agent.teleop.keyboard import EVENT_KEYS, Keyboard
from robot_agent.teleop.mapping import MappingConfig
from robot_agent.teleop.sample import EVENTS, ToolView
from robot_agent.teleop.terminal import Terminal
from tests.teleop.playback import MS, TOOL


def typed(keys: "dict[int, str]", until_ms: int) -> "list[tuple[int, object]]":
    """Return (time [ms], sample) every 20 ms of a person who types `keys` at their times."""
    keyboard, said = Keyboard(MappingConfig()), []
    for now_ms in range(0, until_ms, 20):
        keyboard.alive(now_ms * MS)
        if now_ms in keys:
            keyboard.press(keys[now_ms], now_ms * MS)
        said.append((now_ms, keyboard.poll(now_ms * MS, TOOL)))
    return said


def test_a_tap_moves_for_a_step_and_releases_within_a_second():
    said = typed({100: "w"}, 1200)
    moving = [ms for ms, sample in said if sample.delta.any()]
    held = [ms for ms, sample in said if sample.deadman]
    assert (moving[0], moving[-1]) == (100, 280)
    assert (held[0], held[-1]) == (100, 840)
    assert said[5][1].delta[0] == pytest.approx(0.01)  # half of 0.1 m/s for 0.2 s


def test_a_held_key_keeps_control_through_the_gap_before_the_terminal_repeats_it():
    keys = {100: "a", **dict.fromkeys(range(760, 1560, 40), "a")}  # 660 ms delay, 25 Hz
    said = typed(keys, 2600)
    held = [ms for ms, sample in said if sample.deadman]
    assert held == list(range(100, 2270, 20))
    after = [sample.delta[1] for ms, sample in said if 760 <= ms < 1540]
    assert min(after) > 0


def test_a_dead_connection_stops_the_motion_and_grows_old():
    keyboard = Keyboard(MappingConfig())
    keyboard.press("w", 0)
    later = keyboard.poll(300 * MS, TOOL)
    assert later.deadman
    assert later.stamp_ns == 0  # the guard sees an old stamp with a held deadman: it holds
    assert not later.delta.any()


def test_space_toggles_once_however_long_it_is_held():
    keys = dict.fromkeys(range(100, 1100, 40), " ")
    wishes = [sample.gripper for _, sample in typed(keys, 1500) if sample.deadman]
    assert set(wishes) == {0.0}  # the gripper was open
    assert typed(keys, 3000)[-1][1].gripper is None


def test_space_opens_a_closed_gripper():
    keyboard = Keyboard(MappingConfig())
    keyboard.press(" ", 0)
    assert keyboard.poll(0, ToolView(TOOL.T_base_tool, 0.1, True)).gripper == 1.0


@pytest.mark.parametrize("key", EVENT_KEYS)
def test_every_event_has_a_key_and_is_said_a_few_times(key):
    events = [sample.event for _, sample in typed({100: key, 140: key}, 800)]
    assert [e for e in events if e] == [EVENT_KEYS[key]] * REPEATS
    assert set(EVENT_KEYS.values()) == set(EVENTS)


def test_an_arrow_key_is_no_stop():
    assert not any(sample.event for _, sample in typed({100: "\x1b[A"}, 400))


def test_stop_goes_before_what_waits():
    keyboard = Keyboard(MappingConfig())
    keyboard.press("\rxq", 0)
    assert keyboard.poll(0, None).event == "stop"


def test_plus_and_minus_change_the_speed_within_the_limit():
    keyboard = Keyboard(MappingConfig())
    for k in range(40):
        keyboard.press("+", k * MS)
    keyboard.press("w", 50 * MS)
    assert keyboard.poll(50 * MS, TOOL).delta[0] == pytest.approx(0.02)


def test_a_virtual_terminal_is_read_key_by_key_and_given_back():
    ours, theirs = pty.openpty()
    try:
        keyboard = Keyboard(MappingConfig())
        terminal = Terminal(keyboard, theirs)
        terminal.look(0)
        assert not keyboard.poll(0, TOOL).deadman
        os.write(ours, b"r")
        terminal.look(20 * MS)
        sample = keyboard.poll(20 * MS, TOOL)
        assert sample.deadman
        assert np.flatnonzero(sample.delta).tolist() == [2]
        os.write(ours, b"d" * 3000)  # a pasted text, or a cat on the keyboard
        terminal.look(40 * MS)
        assert np.flatnonzero(keyboard.poll(40 * MS, TOOL).delta).tolist() == [1]
        os.close(ours)
        ours = -1
        with pytest.raises(InputError, match="keyboard: the terminal"):
            for k in range(20):
                terminal.look((60 + k) * MS)
        terminal.close()
    finally:
        if ours >= 0:
            os.close(ours)
        os.close(theirs)


def test_a_pipe_is_no_terminal():
    read, write = os.pipe()
    try:
        with pytest.raises(InputError, match="is no terminal"):
            Terminal(Keyboard(MappingConfig()), read)
    finally:
        os.close(read)
        os.close(write)
