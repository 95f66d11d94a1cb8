"""Where real episodes come from, seen by the learner: a robot at the other end of a pipe."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, Any, Protocol

from robot_agent.core.errors import RobotAgentError


@dataclass(frozen=True)
class CollectPlan:
    """How many real episodes of one instruction, from which seed on (simulation only)."""

    instruction: str
    count: int
    seed: int


def plan_episodes(instructions: Sequence[str], count: int, seed: int) -> list[CollectPlan]:
    """Return `count` episodes shared among the instructions, each with seeds of its own."""
    num = len(instructions)
    shares = [count // num + (i < count % num) for i in range(num)]
    return [
        CollectPlan(task, share, seed + 1000 * i)
        for i, (task, share) in enumerate(zip(instructions, shares, strict=True))
        if share
    ]


class EpisodeSource(Protocol):
    """Runs real episodes and changes the active weights; implemented by the pipe and by tests."""

    def collect(self, version: str, plan: Sequence[CollectPlan]) -> list[str]:
        """Run the episodes with weights `version`; return their ids in the store."""

    def promote(self, version: str) -> tuple[bool, str]:
        """Make a released version act; return whether it does, and why not."""

    def progress(
        self, stage: str, round_index: int, share: float, seconds_left: float, message: str
    ) -> None:
        """Tell how far the learner is."""


class PipeSource:
    """Asks the `adaptation` node by JSON lines on stdout and reads its answers on stdin."""

    def __init__(self, answers: IO[str], events: IO[str]) -> None:
        """Use these two streams."""
        self._answers, self._events = answers, events
        self.judge: Callable[[str], str] = lambda _: "unknown"
        """Says how a stored episode ended, when the robot cannot: success, failure or unknown."""

    def say(self, event: str, **fields: Any) -> None:
        """Write one event."""
        self._events.write(json.dumps({"event": event, **fields}) + "\n")
        self._events.flush()

    def _ask(self, event: str, **fields: Any) -> dict[str, Any]:
        self.say(event, **fields)
        while "judge" in (answer := self._hear(event)):
            self.say("outcome", outcome=self.judge(str(answer["judge"])))
        return answer

    def _hear(self, event: str) -> dict[str, Any]:
        line = self._answers.readline()
        try:
            answer = json.loads(line)
        except ValueError as error:
            raise RobotAgentError(
                f"the robot answered {line[:80]!r} to '{event}', must be JSON. Is the adaptation "
                f"node running?"
            ) from error
        return dict(answer)

    def collect(self, version: str, plan: Sequence[CollectPlan]) -> list[str]:
        """Ask for episodes."""
        answer = self._ask("collect", version=version, plan=[part.__dict__ for part in plan])
        return [str(episode) for episode in answer.get("episodes", [])]

    def promote(self, version: str) -> tuple[bool, str]:
        """Ask for a promotion."""
        answer = self._ask("promote", version=version)
        return bool(answer.get("promoted")), str(answer.get("message", ""))

    def progress(
        self, stage: str, round_index: int, share: float, seconds_left: float, message: str
    ) -> None:
        """Report."""
        self.say(
            "progress",
            stage=stage,
            round=round_index,
            progress=share,
            seconds_left=seconds_left,
            message=message,
        )
