"""The learner as a child process: JSON lines in, JSON lines out, ended within seconds."""

import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import Any

from robot_agent.core.errors import RobotAgentError

_GRACE_S = 5.0
"""How long a learner may take to end after SIGINT before it is killed."""


class LearnerError(RobotAgentError):
    """The learner ended or spoke in a way that was not agreed."""


class LearnerProcess:
    """Starts the learner and talks to it over its pipes; one thread calls the methods."""

    def __init__(self, arguments: Sequence[str], log: Callable[[str], None]) -> None:
        """Start the process; what it says on stderr goes to `log` line by line."""
        self._process = subprocess.Popen(
            list(arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
            start_new_session=True,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._threads = [
            threading.Thread(target=self._read_events, daemon=True, name="learner_out"),
            threading.Thread(target=self._read_log, args=(log,), daemon=True, name="learner_err"),
        ]
        for thread in self._threads:
            thread.start()

    def _read_events(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _read_log(self, log: Callable[[str], None]) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            log(line.rstrip())

    def next_event(self, timeout_s: float) -> dict[str, Any] | None:
        """Return the learner's next event, or None when none came in time.

        Raises:
            LearnerError: It ended, or said something that is not a JSON object with an event.
        """
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if line is None:
            status = self._process.wait(_GRACE_S)
            raise LearnerError(
                f"the learner ended with status {status} before it was done. Read its log; "
                f"start again with resume to go on from the last finished stage."
            )
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if not isinstance(event, dict) or not isinstance(event.get("event"), str):
            raise LearnerError(
                f"the learner said {line[:120]!r}, must be a JSON object with an event."
            )
        return event

    def answer(self, **fields: Any) -> None:
        """Send one JSON object to the learner; LearnerError when it no longer listens."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(fields) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise LearnerError("the learner no longer listens. Read its log.") from error

    def judge(self, episode_id: str, timeout_s: float = 30.0) -> str:
        """Ask how a stored episode ended while the learner waits for an answer of ours.

        Raises:
            LearnerError: It said something else, or nothing within `timeout_s`.
        """
        self.answer(judge=episode_id)
        event = self.next_event(timeout_s)
        if event is None or event["event"] != "outcome":
            raise LearnerError(
                f"the learner was asked how {episode_id} ended and said {event}, must be an "
                f"outcome within {timeout_s:.0f} s. Read its log."
            )
        return str(event.get("outcome", "unknown"))

    def end(self) -> int:
        """End the learner: SIGINT, and SIGKILL when it does not follow; return its status."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)  # and its workers
        status = self._process.wait()
        for thread in self._threads:
            thread.join(1.0)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue
        return status
