"""The keys of a terminal as they are pressed, without waiting for a line."""

import os
import select
import sys
import termios
import tty
from collections.abc import Callable

from robot_agent.core.errors import InputError
from robot_agent.teleop.keyboard import HELP, Keyboard

_MOST = 256
"""Characters per reading; a pasted text or a flood cannot keep us from the next tick."""


class Terminal:
    """Hands the keys of a terminal to a keyboard. Ctrl-C still ends the program."""

    def __init__(self, keyboard: Keyboard, fd: int | None = None) -> None:
        """Take over the terminal `fd`, by default that of this program's input.

        Raises:
            InputError: It is no terminal.
        """
        self._keyboard = keyboard
        self._fd = sys.stdin.fileno() if fd is None else fd
        if not os.isatty(self._fd):
            raise InputError(
                "keyboard: the input is no terminal. Start it by hand in one, also over ssh: "
                "robot-agent teleop --device keyboard"
            )
        self._before = termios.tcgetattr(self._fd)
        tty.setcbreak(self._fd)
        sys.stderr.write(HELP)

    def look(self, now_ns: int) -> None:
        """Hand over the keys pressed since the last look.

        Raises:
            InputError: The terminal is gone.
        """
        text = ""
        while len(text) < _MOST and select.select([self._fd], [], [], 0.0)[0]:
            try:
                more = os.read(self._fd, _MOST)
            except OSError as error:
                raise InputError(f"keyboard: the terminal is gone: {error}") from error
            if not more:
                raise InputError("keyboard: the terminal was closed. Start it again in another.")
            text += more.decode("utf-8", "replace")
        self._keyboard.alive(now_ns)
        if text:
            self._keyboard.press(text, now_ns)

    def close(self) -> None:
        """Give the terminal back as it was; one that is gone needs nothing."""
        reset: Callable[..., None] = termios.tcsetattr
        try:
            reset(self._fd, termios.TCSADRAIN, self._before)
        except termios.error:
            return
