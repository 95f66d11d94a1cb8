"""`run`: one episode of a task on the running agent, with a person who watches and can stop it."""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from robot_agent.commands.options import add_command, add_json, whole
from robot_agent.commands.output import show, table
from robot_agent.commands.place import add_place, require_known
from robot_agent.commands.run_board import RunBoard
from robot_agent.core.errors import ConfigError

if TYPE_CHECKING:
    from robot_agent.commands.options import Commands
    from robot_agent.commands.run_session import RunSession

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""SIGHUP: the ssh session is gone, and with it whoever watched."""
_LEAVE_S = 20.0


def register(commands: "Commands") -> None:
    """Add the command."""
    run = add_command(commands, "run", "run one episode of a task on the running agent", _run)
    run.add_argument("--instruction", required=True, help='for example "open the drawer"')
    run.add_argument("--max-steps", type=whole(1, 1000), default=30, help="steps at 5 Hz")
    run.add_argument("--no-record", action="store_true", help="keep no episode of it")
    run.add_argument("--plain", action="store_true", help="lines instead of the screen")
    add_place(run)
    add_json(run)


def _run(arguments: argparse.Namespace) -> int:
    require_known(arguments)
    from robot_agent.commands.run_session import RunSession
    from robot_agent.ros.episodes import EpisodeOrder

    order = EpisodeOrder(
        instruction=arguments.instruction,
        seed=arguments.seed,
        max_steps=arguments.max_steps,
        scene=arguments.scene,
        is_simulated=not arguments.robot,
        is_recorded=not arguments.no_record,
    )
    board = RunBoard(arguments.instruction, arguments.max_steps, arguments.namespace)
    session = RunSession(board, order, arguments.namespace, has_person=sys.stdin.isatty())
    with _ending_on_signals(board, session):
        _watch(board, session, is_plain=arguments.plain or arguments.json)
        report = session.result()
    results = {"instruction": arguments.instruction, **vars(report)}
    show(
        "run",
        results,
        as_json=arguments.json,
        seed=arguments.seed,
        tables=[table("Episode", ("what", "value"), results.items())],
    )
    if board.end_asked.is_set():
        raise KeyboardInterrupt
    return 0 if report.outcome != "abort" else 1


def _watch(board: RunBoard, session: "RunSession", *, is_plain: bool) -> None:
    """Show the run until it is over, on a screen where there is one."""
    if is_plain or not all(s.isatty() for s in (sys.stdin, sys.stdout, sys.stderr)):
        from robot_agent.commands.run_lines import RunLines

        RunLines(board).run(session.start)
        return
    try:
        from robot_agent.commands.run_screen import RunScreen
    except ImportError as error:
        raise ConfigError(
            f"the operator's screen needs textual, which is not installed ({error}). "
            f"Install it with: pip install textual, or add --plain"
        ) from error
    try:
        RunScreen(board, session.start).run(mouse=False)
    finally:
        if board.state.phase != "over":
            board.end_asked.set()  # a terminal that went away leaves no episode running


@contextmanager
def _ending_on_signals(board: RunBoard, session: "RunSession") -> Iterator[None]:
    def end(number: int, _frame: object) -> None:
        if number == signal.SIGHUP:
            threading.Thread(target=_leave, args=(session,), name="leave", daemon=True).start()
        if board.press_end() and number != signal.SIGHUP:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(session: "RunSession") -> None:
    """End the process once its episode has ended: a screen without a terminal never closes."""
    session.wait(_LEAVE_S)
    os._exit(128 + signal.SIGHUP)
