"""`robot-agent run` at a terminal, with a real agent over DDS: what is seen, and stop stops."""

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from robot_agent.core.clock import Stopwatch
from robot_agent.ros.client import AgentClient
from tests.ros.running import until

_ESCAPES = re.compile(r"\x1b(\[[0-9;?<>=]*[a-zA-Z]|[()].|[=>]|\][^\x07]*\x07|P[^\x1b]*\x1b\\)")


class Terminal:
    """A person's terminal: types keys and remembers everything that was shown."""

    def __init__(self, words: list[str]) -> None:
        self.fd, theirs = pty.openpty()
        os.set_blocking(self.fd, False)
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "90", "LINES": "30"}
        command = [sys.executable, "-m", "robot_agent.cli", "run", *words]
        self.child = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment,
            start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self._shown = ""

    def type(self, keys: str) -> None:
        os.write(self.fd, keys.encode())

    def shows(self, words: str) -> bool:
        try:
            while more := os.read(self.fd, 1 << 16):
                self._shown += more.decode(errors="replace")
        except OSError:
            pass
        return words in _ESCAPES.sub("", self._shown)

    def wait(self, words: str, timeout_s: float = 30.0) -> None:
        watch, pause = Stopwatch(), threading.Event()
        while not self.shows(words):
            if watch.seconds() > timeout_s:
                pytest.fail(
                    f"'{words}' is not on the screen:\n{_ESCAPES.sub('', self._shown)[-3000:]}"
                )
            pause.wait(0.02)


@contextmanager
def at_terminal(*words: str) -> Iterator[Terminal]:
    terminal = Terminal(list(words))
    try:
        yield terminal
    finally:
        if terminal.child.poll() is None:
            terminal.child.kill()
        terminal.child.wait(10.0)
        with contextlib.suppress(OSError):  # a test may have closed it
            os.close(terminal.fd)


DRAWER = ("--instruction", "open the drawer", "--max-steps", "300", "--no-record")


def test_stop_at_the_terminal_stops_the_arm_and_the_screen_says_so(client: AgentClient):
    with at_terminal(*DRAWER) as terminal:
        until(lambda: client.guard_state.mode == "active", 40.0, "the arm moves")
        terminal.wait("ACTIVE")
        terminal.wait("pictures/s")
        terminal.type("q")
        until(lambda: client.guard_state.latched, 2.0, "the guard stops")
        terminal.wait("STOPPED")
        assert terminal.child.wait(20.0) == 1
    assert "operator_stop" in client.guard_state.causes


def test_a_terminal_that_goes_away_ends_the_episode(client: AgentClient):
    with at_terminal(*DRAWER) as terminal:
        until(lambda: client.policy_status.state == "running", 40.0, "the policy works")
        os.close(terminal.fd)
        os.killpg(terminal.child.pid, signal.SIGHUP)
        until(lambda: client.policy_status.state == "idle", 10.0, "the episode ends")
        assert terminal.child.wait(20.0) == 128 + signal.SIGHUP


def test_a_judgement_at_the_terminal_ends_the_episode_with_it(client: AgentClient):
    with at_terminal(*DRAWER[:-1]) as terminal:
        until(lambda: client.guard_state.mode == "active", 40.0, "the arm moves")
        until(lambda: client.guard_state.accepted > 2, 10.0, "some steps")
        terminal.type("s")
        terminal.wait("said the operator")
        assert terminal.child.wait(20.0) == 0


def test_without_an_agent_stop_is_said_not_to_be_confirmed(
    ros_domain_id: int, monkeypatch: pytest.MonkeyPatch
):
    words = (*DRAWER, "--namespace", "nobody")
    with at_terminal(*words) as terminal:
        terminal.wait("WAITING")
        terminal.type("\x1b")
        terminal.wait("STOP NOT CONFIRMED")
        terminal.type("\x03")
        terminal.wait("press again to leave at once")
        terminal.type("\x03")
        assert terminal.child.wait(20.0) == 130


def test_lines_instead_of_a_screen_where_nobody_watches(client: AgentClient):
    command = [sys.executable, "-m", "robot_agent.cli", "run", *DRAWER[:3], "8", "--no-record"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stderr + done.stdout
    assert "active, control policy, weights v1" in done.stderr
    assert "Episode" in done.stdout
