"""Who says whether a trial succeeded: the simulator's state, a learned judge, or a person."""

import math
from collections.abc import Callable
from typing import Protocol

from robot_agent.core.types import Episode
from robot_agent.evaluate.judging import ClipJudge, seen_by_judge
from robot_agent.evaluate.trial_runner import Job, Outcome

Ask = Callable[[str], str]
"""Shows a question to the operator and returns the line typed: `input`."""
_KEYS: dict[str, Outcome] = {"y": "success", "n": "failure", "a": "abort"}


class SuccessSource(Protocol):
    """Decides on a trial that ran to its end."""

    def decide(self, job: Job, episode_id: str, reported: Outcome) -> tuple[Outcome, float | None]:
        """Return the outcome and, when a judge was asked, its score.

        Args:
            job: The trial.
            episode_id: The recorded episode; empty when none was recorded.
            reported: What the agent says; in simulation the truth.
        """


class SimulatorTruth:
    """The agent's report, which is the simulator's state; a judge is only scored against it."""

    def __init__(
        self, judge: ClipJudge | None = None, load: Callable[[str], Episode] | None = None
    ) -> None:
        """Score episodes, loaded by id, with `judge` when there is one."""
        self._judge = JudgeDecision(judge, load) if judge and load else None

    def decide(self, job: Job, episode_id: str, reported: Outcome) -> tuple[Outcome, float | None]:
        """Return what the simulator says."""
        score = self._judge.decide(job, episode_id, reported)[1] if self._judge else None
        return reported, score


class JudgeDecision:
    """A learned judge looks at the recorded episode and decides."""

    def __init__(self, judge: ClipJudge, load: Callable[[str], Episode]) -> None:
        """Ask `judge` about episodes that `load` reads by id."""
        self._judge, self._load = judge, load

    def decide(self, job: Job, episode_id: str, reported: Outcome) -> tuple[Outcome, float | None]:
        """Return success when the score is above the threshold; an abort when nobody can say.

        That is without an episode, and when the judge's score is NaN, unknown.
        """
        del reported
        if not episode_id:
            return "abort", None
        images = self._load(episode_id).images
        score = self._judge.score(seen_by_judge(images), job.instruction)
        if math.isnan(score):
            return "abort", None
        return ("success" if score > self._judge.threshold else "failure"), score


class OperatorKeys:
    """A person decides by a key, blind: a letter that changes its policy with every start."""

    def __init__(self, ask: Ask = input) -> None:
        """Ask by `ask`, a line at a time."""
        self._ask = ask

    def prepare(self, job: Job) -> None:
        """Return when the person has put the scene to the start of a trial."""
        self._ask(
            f"Start {job.seed}, scene {job.scene.name}: put everything where this start has it. "
            f"Next: trial {job.letter}, '{job.instruction}'. Press Enter to run it. "
        )

    def decide(self, job: Job, episode_id: str, reported: Outcome) -> tuple[Outcome, float | None]:
        """Return what the person typed and kept; nothing is written before."""
        del episode_id, reported
        while True:
            key = self._ask(
                f"Start {job.seed}, trial {job.letter}, '{job.instruction}': did it succeed? "
                f"y, n, or a to abort: "
            ).strip()
            if key not in _KEYS:
                continue
            if self._ask(f"'{_KEYS[key]}'. Enter keeps it, u undoes it: ").strip() != "u":
                return _KEYS[key], None
