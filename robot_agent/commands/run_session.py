"""Carries out a run beside whoever shows it: one thread for the episode, one that never waits."""

import dataclasses
import threading
from typing import TYPE_CHECKING

from robot_agent.commands.run_board import Question, RunBoard
from robot_agent.core.clock import Stopwatch
from robot_agent.core.errors import ArmFaultError, RobotAgentError

if TYPE_CHECKING:
    from robot_agent.ros.client import AgentClient
    from robot_agent.ros.episodes import EpisodeOrder, EpisodeReport
    from robot_agent.ros.operator_link import OperatorLink

_READY_S = 30.0
_LOOK_S = 0.1
_LAST_LOOK_S = 2.0
_STOP_S = 0.15
"""Stop is said twice at least, also to a guard that is stopped already."""
_OUTCOME = Question("Did the robot do it?", {"y": "success", "n": "failure", "u": "unknown"})
_ANEW = Question(
    "Put the scene back and step away from the arm. Record anew?", {"enter": "yes", "n": "no"}
)
_SECOND = Question(
    "The second of a pair: put everything back as it was the last time, step away.",
    {"enter": "done"},
)


class RunSession:
    """Episodes of one order on a running agent."""

    def __init__(
        self, board: RunBoard, order: "EpisodeOrder", namespace: str, *, has_person: bool
    ) -> None:
        """Prepare; with `has_person` somebody answers questions, otherwise nobody is asked."""
        self._board, self._namespace, self._has_person = board, namespace, has_person
        judge = self._judge if has_person and not order.is_simulated else None
        self._order = dataclasses.replace(order, judge=judge)
        self._report: EpisodeReport | None = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._body, name="run", daemon=True)
        self._is_over = threading.Event()

    def start(self) -> None:
        """Begin; the board says how it goes."""
        self._thread.start()

    def wait(self, patience_s: float) -> None:
        """Return when the run is over and the agent is left, or after `patience_s`."""
        self._thread.join(patience_s)

    def result(self, patience_s: float = 15.0) -> "EpisodeReport":
        """Return the report of the last episode.

        Raises:
            RobotAgentError: What went wrong.
            KeyboardInterrupt: The operator left before there was one.
        """
        self.wait(patience_s)
        if self._error is not None:
            raise self._error
        if self._report is None:
            raise KeyboardInterrupt
        return self._report

    def _body(self) -> None:
        try:
            self._run()
        except RobotAgentError as error:
            self._error = error
        except Exception as error:  # noqa: BLE001 - handed to `result`, which raises it
            self._error = error
        finally:
            self._board.change(phase="over")

    def _run(self) -> None:
        from robot_agent.ros.client import AgentClient
        from robot_agent.ros.operator_link import OperatorLink

        with AgentClient(self._namespace) as client:
            link = OperatorLink(client)
            looker = threading.Thread(target=self._look, args=(link,), name="look", daemon=True)
            looker.start()
            try:
                self._wait_ready(client)
                while self._run_once(client):
                    pass
            finally:
                self._is_over.set()
                looker.join(2 * _LAST_LOOK_S)

    def _wait_ready(self, client: "AgentClient") -> None:
        """Wait in short pieces, so that the operator can leave."""
        watch = Stopwatch()
        while not self._board.end_asked.is_set():
            try:
                client.wait_ready(1.0)
                return
            except ArmFaultError:
                if watch.seconds() > _READY_S:
                    raise

    def _run_once(self, client: "AgentClient") -> bool:
        """Run one episode; return whether it shall be recorded anew."""
        board, order = self._board, self._order
        if board.end_asked.is_set():
            return False
        if client.episodes.repeats_start() and self._has_person and not order.is_simulated:
            board.ask(_SECOND)
        board.change(phase="running", step=0, note=f"episode begins: {order.instruction}")
        report = client.episodes.run(order, board.end_asked.is_set, self._on_step)
        self._report = report
        name = f" of {report.episode_id}" if report.episode_id else ""
        judged = f", said the {report.judged_by}" if report.judged_by else ""
        board.change(
            phase="ending",
            verdict=f"{report.outcome}{name}{judged}",
            note=f"episode ended: {report.outcome}. {report.message} {report.proving}".strip(),
        )
        return report.is_to_repeat and not board.end_asked.is_set() and self._is_put_back()

    def _on_step(self, feedback: object) -> None:
        self._board.change(step=int(getattr(feedback, "step", 0)))

    def _judge(self) -> str:
        return self._board.ask(_OUTCOME) or "unknown"

    def _is_put_back(self) -> bool:
        """Return whether to record anew: somebody's hands may be in a real scene."""
        if self._order.is_simulated:
            return True
        return self._has_person and self._board.ask(_ANEW) == "yes"

    def _look(self, link: "OperatorLink") -> None:
        """Look ten times a second; never waits for the agent, so that stop is always sent."""
        look_again(self._board, link, self._is_over)


def look_again(board: RunBoard, link: "OperatorLink", is_over: threading.Event) -> None:
    """Show what the agent says and hand over stop and judgements, until the run is over.

    Stop is repeated until the guard says that it is latched; at the end of a run for 2 s more.
    """
    pressed: Stopwatch | None = None
    left: Stopwatch | None = None
    pause = threading.Event()
    while True:
        view = link.look()
        if board.stop_asked.is_set():
            pressed = pressed or Stopwatch()
            link.press_stop()
        board.change(agent=view, stop_age_s=round(pressed.seconds(), 1) if pressed else 0.0)
        is_stopped = view.is_latched and not view.is_guard_silent
        if pressed is not None and is_stopped and pressed.seconds() > _STOP_S:
            pressed = None
            board.confirm_stop()
        if event := board.take_judgement():
            link.judge(event)
        if is_over.is_set():
            left = left or Stopwatch()
            if pressed is None or left.seconds() > _LAST_LOOK_S:
                return
        pause.wait(_LOOK_S)
