"""One adaptation: events of the learner in, episodes and promotions out, inside its budgets."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from robot_agent.core.clock import Stopwatch
from robot_agent.core.errors import RobotAgentError
from robot_agent.models.remote_link import REMOTE
from robot_agent.ros import topics
from robot_agent.ros.calls import Calls
from robot_agent.ros.episodes import EpisodeCalls, EpisodeOrder
from robot_agent.ros.learner_process import LearnerError, LearnerProcess

_POLL_S = 0.1
_OVERTIME = 1.1
"""The learner keeps its budget itself; it is cancelled when it takes this much longer."""


@dataclass(frozen=True, kw_only=True)
class AdaptOrder:
    """What to adapt to, within which budget."""

    scene: str
    instructions: tuple[str, ...]
    budget_minutes: float
    max_real_episodes: int
    resume: bool = False
    run_folder: str
    store: str
    releases: str
    captures: str = ""
    """Folder of captured start frames; empty for none."""
    is_simulated: bool
    episode_steps: int

    def command(self) -> list[str]:
        """Return the command line of the learner."""
        words = [sys.executable, "-m", "robot_agent.cli", "adapt", "--source", "pipe"]
        words += ["--run", self.run_folder, "--store", self.store, "--releases", self.releases]
        words += ["--scene", self.scene]
        for instruction in self.instructions:
            words += ["--instruction", instruction]
        words += ["--budget-minutes", f"{self.budget_minutes:g}"]
        words += ["--max-real-episodes", str(self.max_real_episodes)]
        words += ["--captures", self.captures] if self.captures else []
        return [*words, "--resume"] if self.resume else words


@dataclass(frozen=True)
class AdaptOutcome:
    """How it ended."""

    success: bool
    message: str
    version: str = ""
    report_path: str = ""


@dataclass
class AdaptSession:
    """Runs in one thread of its own from start to end."""

    calls: Calls
    order: AdaptOrder
    on_progress: Callable[[dict[str, Any]], None]
    is_cancelled: Callable[[], bool]
    log: Callable[[str], None]
    command: list[str]
    num_episodes: int = 0
    watch: Stopwatch = field(default_factory=Stopwatch)
    _is_pair_open: bool = False
    _said: str = ""

    def run(self) -> AdaptOutcome:
        """Adapt; whatever happens, the learner is ended and the arm holds."""
        status = self.calls.newest(topics.POLICY_STATUS)
        if status is not None and status.backend == REMOTE:
            return AdaptOutcome(
                False,
                f"{status.active_version} acts, which runs on another machine and is no release "
                f"of this robot. Start the policy node without a server to adapt.",
            )
        learner = LearnerProcess(self.command, self.log)
        try:
            while True:
                over = self._why_over()
                if over:
                    return AdaptOutcome(False, over)
                event = learner.next_event(_POLL_S)
                if event is not None:
                    outcome = self._handle(learner, event)
                    if outcome is not None:
                        return outcome
        except RobotAgentError as error:
            return AdaptOutcome(False, self._why_over() or str(error))
        finally:
            learner.end()

    def _why_over(self) -> str:
        if self.is_cancelled():
            return "cancelled; start again with resume to go on"
        minutes = self.watch.seconds() / 60.0
        if minutes > self.order.budget_minutes * _OVERTIME:
            return (
                f"took {minutes:.1f} min, budget {self.order.budget_minutes:.1f} min; start again "
                f"with resume and a larger budget to go on"
            )
        return ""

    def _handle(self, learner: LearnerProcess, event: dict[str, Any]) -> AdaptOutcome | None:
        match event["event"]:
            case "progress":
                self.on_progress(event)
            case "collect":
                learner.answer(episodes=self._collect(learner, event))
            case "promote":
                promoted, message = self._promote(str(event["version"]))
                learner.answer(promoted=promoted, message=message)
            case "done":
                version, report = str(event.get("version", "")), str(event.get("report", ""))
                message = str(event.get("message", ""))
                return AdaptOutcome(bool(version), message, version, report)
            case "failed":
                return AdaptOutcome(False, str(event.get("message", "the learner failed")))
            case other:
                raise LearnerError(f"the learner said event '{other}', which is not agreed.")
        return None

    def _collect(self, learner: LearnerProcess, event: dict[str, Any]) -> list[str]:
        """Run the asked episodes with the asked weights; return the ids of the recorded ones."""
        version = str(event.get("version", ""))
        status = self.calls.newest(topics.POLICY_STATUS)
        if version and (status is None or status.active_version != version):
            promoted, message = self._promote(version)
            if not promoted:
                raise LearnerError(f"collect with {version}: {message}")
        episodes: list[str] = []
        last: EpisodeOrder | None = None
        turns = list(_in_turns(event["plan"]))
        starts = iter(turns)
        for _ in turns:
            if self._why_over():
                break
            if last is not None and self._is_pair_open:  # a pair begins alike, and takes no turn
                last = self._episode(last.instruction, last.seed)
            else:
                last = self._episode(*next(starts))
            episode_id = self._run_episode(learner, last)
            if episode_id:
                episodes.append(episode_id)
        return episodes

    def _episode(self, instruction: str, seed: int) -> EpisodeOrder:
        if self.num_episodes >= self.order.max_real_episodes:
            raise LearnerError(
                f"the learner asked for more than {self.order.max_real_episodes} real episodes. "
                f"Raise max_real_episodes to allow them."
            )
        self.num_episodes += 1
        return EpisodeOrder(
            instruction=instruction,
            seed=seed,
            max_steps=self.order.episode_steps,
            scene=self.order.scene,
            is_simulated=self.order.is_simulated,
        )

    def _run_episode(self, learner: LearnerProcess, order: EpisodeOrder) -> str:
        calls = EpisodeCalls(self.calls)
        report = calls.run(order, lambda: bool(self._why_over()))
        if report.outcome == "abort" and order.is_simulated and calls.revive_simulation():
            self.log(f"the simulated driver was starved and is back: {report.message}")
            report = calls.run(order, lambda: bool(self._why_over()))
        self.log(
            f"episode {self.num_episodes}/{self.order.max_real_episodes}: {report.outcome} "
            f"{report.steps} steps, {report.weights_version} {report.message}"
        )
        if report.outcome == "unknown" and report.episode_id:  # a real arm: nobody has said
            outcome = learner.judge(report.episode_id)
            words = calls.report(report.weights_version, outcome, "held-out judge")
            report = replace(report, outcome=outcome, proving=words)
        if report.proving not in ("", self._said):
            self._said = report.proving
            self.log(report.proving)
        self._is_pair_open = bool(report.proving) and calls.repeats_start()
        if report.outcome == "abort" and not self._why_over():
            raise LearnerError(f"an episode was aborted: {report.message}")
        return report.episode_id

    def _promote(self, version: str) -> tuple[bool, str]:
        answer = self.calls.call(topics.WEIGHTS_PROMOTE, timeout_s=120.0, version=version)
        return bool(answer.success), str(answer.message)


def _in_turns(plan: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, int]]:
    """Yield instruction and seed of every episode, one of each task after the other.

    Weights on probation then meet all tasks from the first pairs on.
    """
    for index in range(max((int(part["count"]) for part in plan), default=0)):
        for part in plan:
            if index < int(part["count"]):
                yield str(part["instruction"]), int(part["seed"]) + index
