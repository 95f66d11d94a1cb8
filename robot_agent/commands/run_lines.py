"""The run as plain lines, for a log, a pipe or a person who wants no screen."""

import sys
import threading
from collections.abc import Callable

from robot_agent.commands.run_board import RunBoard, RunState
from robot_agent.commands.run_words import headline, line
from robot_agent.core.clock import Stopwatch


class RunLines:
    """Writes a line to stderr when something changes; a terminal may type answers and `q`."""

    def __init__(self, board: RunBoard) -> None:
        """Look at `board`."""
        self._board, self._watch, self._said = board, Stopwatch(), ""
        self._asked: object = None
        self._over = threading.Event()

    def run(self, start: Callable[[], None]) -> None:
        """Begin the run and return when it is over."""
        self._board.listen(self._on_state)
        if sys.stdin is not None and sys.stdin.isatty():
            threading.Thread(target=self._read, name="operator", daemon=True).start()
        start()
        while not self._over.wait(0.1):  # short: Python handles signals between the waits
            pass

    def _on_state(self, state: RunState) -> None:
        words = line(state)
        if words != self._said:
            self._said = words
            alarm = "!! " if headline(state)[0] == "alarm" else ""
            sys.stderr.write(f"[{self._watch.seconds():6.1f} s] {alarm}{words}\n")
        if state.question is not None and state.question is not self._asked:
            answers = ", ".join(f"{k} {v}" for k, v in state.question.answers.items())
            sys.stderr.write(f"{state.question.text} Type and press Enter: {answers}\n")
        self._asked = state.question
        if state.phase == "over":
            self._over.set()

    def _read(self) -> None:
        """Hand over what is typed; an empty line is the key Enter."""
        for typed in sys.stdin:
            word = typed.strip().lower() or "enter"
            if word in ("q", "stop"):
                self._board.press_stop()
            elif not self._board.answer(word):
                self._board.judge(word)
