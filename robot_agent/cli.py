"""`robot-agent ...`: finds the command, runs it, and turns our errors into words and a status."""

import os
import sys
from collections.abc import Sequence

from robot_agent import __version__
from robot_agent.commands import (
    agent,
    bench,
    calibrate,
    camera,
    capture,
    demo,
    demos,
    doctor,
    episodes,
    evaluate,
    ledger,
    run,
    scenes,
    teleop,
    training,
    weights,
)
from robot_agent.commands.options import Parser
from robot_agent.core.errors import ConfigError, InputError, RobotAgentError

_USAGE, _FAILED, _INTERRUPTED = 2, 1, 130


def parser() -> Parser:
    """Return the parser of every command."""
    made = Parser(
        prog="robot-agent",
        description="A policy on a WidowX 250s arm that improves in the scene it stands in.",
    )
    made.add_argument("--version", action="version", version=f"robot-agent {__version__}")
    commands = made.add_subparsers(title="commands", metavar="command", required=True)
    for group in (
        demo,
        agent,
        run,
        capture,
        teleop,
        doctor,
        episodes,
        weights,
        scenes,
        demos,
        training,
        evaluate,
        ledger,
        camera,
        bench,
        calibrate,
    ):
        group.register(commands)
    return made


def main(words: Sequence[str] | None = None) -> int:
    """Run one command; return 0, 1 when it failed, 2 for wrong input, 130 after Ctrl-C."""
    try:
        arguments = parser().parse_args(words)
        return int(arguments.run(arguments))
    except (ConfigError, InputError) as error:
        return _complain(error, _USAGE)
    except RobotAgentError as error:
        return _complain(error, _FAILED)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return _INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nobody reads: nothing to flush at exit
        return _FAILED


def _complain(error: RobotAgentError, status: int) -> int:
    sys.stderr.write(f"robot-agent: {error}\n")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
