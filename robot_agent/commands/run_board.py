"""What an operator sees of a run and asks of it; the one thing that screen and lines look at."""

import dataclasses
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from robot_agent.act.agent_view import AgentView

JUDGEMENTS = {"s": "success", "f": "failure", "x": "discard", "t": "re_record"}
"""Key: what it says of the running episode."""


@dataclass(frozen=True)
class Question:
    """Something that only a person can say."""

    text: str
    answers: Mapping[str, str]
    """Key: what it means."""


@dataclass(frozen=True, kw_only=True)
class RunState:
    """One moment of a run."""

    instruction: str
    max_steps: int
    namespace: str = ""
    phase: str = "starting"
    """starting, running, asking, ending or over."""
    step: int = 0
    agent: AgentView = field(default_factory=AgentView)
    stop: str = ""
    """Empty, asked, or confirmed by the guard."""
    stop_age_s: float = 0.0
    """Seconds since stop was pressed."""
    verdict: str = ""
    """How the last episode ended and who said so."""
    question: Question | None = None
    note: str = ""
    """The newest event, in words."""


class RunBoard:
    """Observable state of a run. Any thread may change, press and ask; only `ask` waits."""

    def __init__(self, instruction: str, max_steps: int, namespace: str = "wx250s") -> None:
        """Begin with an agent that nobody has heard yet."""
        self._lock = threading.Lock()
        self._state = RunState(instruction=instruction, max_steps=max_steps, namespace=namespace)
        self._listeners: list[Callable[[RunState], None]] = []
        self._answered = threading.Condition(self._lock)
        self._answers: deque[str] = deque(maxlen=1)
        self._judgements: deque[str] = deque()
        self.stop_asked = threading.Event()
        """Set by a press; whoever talks to the guard repeats it until it is confirmed."""
        self.end_asked = threading.Event()
        """Set when the operator wants the episode to end early; the arm then holds."""

    @property
    def state(self) -> RunState:
        """The present moment."""
        with self._lock:
            return self._state

    def listen(self, listener: Callable[[RunState], None]) -> None:
        """Call `listener` with every new state, in the thread that changed it."""
        self._listeners.append(listener)

    def change(self, **fields: Any) -> None:
        """Replace fields of the state and tell the listeners when something differs."""
        with self._lock:
            before, self._state = self._state, dataclasses.replace(self._state, **fields)
            now = self._state
        if now != before:
            for listener in list(self._listeners):
                listener(now)

    def press_stop(self) -> None:
        """Stop the arm, whatever else goes on."""
        if not self.stop_asked.is_set():
            self.stop_asked.set()
            self.change(stop="asked", note="STOP pressed")

    def confirm_stop(self) -> None:
        """Say that the guard has stopped; a later press asks anew."""
        self.stop_asked.clear()
        self.change(stop="confirmed", note="the guard has stopped the arm")

    def press_end(self) -> bool:
        """End the episode early; return whether that was asked before, so leave at once."""
        was_asked = self.end_asked.is_set()
        self.end_asked.set()
        with self._lock:
            self._answered.notify_all()
        self.change(note="ending the episode; press again to leave at once")
        return was_asked

    def judge(self, key: str) -> None:
        """Say success, failure, discard or re-record of the running episode."""
        if self.state.phase == "running" and key in JUDGEMENTS:
            self._judgements.append(JUDGEMENTS[key])
            self.change(note=f"said: {JUDGEMENTS[key]}")

    def take_judgement(self) -> str:
        """Return a judgement that was pressed since the last call, or an empty text."""
        return self._judgements.popleft() if self._judgements else ""

    def ask(self, question: Question) -> str:
        """Wait for a person's answer; empty when they end the run instead."""
        before = self.state.phase
        with self._lock:
            self._answers.clear()
        self.change(question=question, phase="asking")
        with self._lock:
            self._answered.wait_for(lambda: bool(self._answers) or self.end_asked.is_set())
            answer = self._answers.popleft() if self._answers else ""
        self.change(question=None, phase=before)
        return answer

    def answer(self, key: str) -> bool:
        """Answer the open question by its key; return whether that was an answer."""
        with self._lock:
            question = self._state.question
            if question is None or key not in question.answers:
                return False
            self._answers.append(question.answers[key])
            self._answered.notify_all()
        return True
