"""`capture`: keep the present view of a novel scene as a start frame to practise from."""

import argparse
from typing import TYPE_CHECKING

from robot_agent.commands.options import add_command, add_json, add_namespace
from robot_agent.commands.output import show, table

if TYPE_CHECKING:
    from robot_agent.commands.options import Commands

_READY_S = 30.0


def register(commands: "Commands") -> None:
    """Add `capture`."""
    parser = add_command(
        commands, "capture", "keep the present view as a start frame of a scene", _capture
    )
    parser.add_argument("--scene", required=True, help="name of the scene, for example kitchen")
    parser.add_argument(
        "--instruction", action="append", required=True, help="task from this view; repeatable"
    )
    add_namespace(parser)
    add_json(parser)


def _capture(arguments: argparse.Namespace) -> int:
    from robot_agent.core.errors import ArmFaultError
    from robot_agent.ros import topics
    from robot_agent.ros.client import AgentClient

    frames = []
    with AgentClient(arguments.namespace) as client:
        client.wait_ready(_READY_S)
        for instruction in arguments.instruction:
            answer = client.calls.call(
                topics.CAPTURE_SCENE, scene=arguments.scene, instruction=instruction
            )
            if not answer.success:
                raise ArmFaultError(str(answer.message))
            frames.append({"instruction": instruction, "path": str(answer.path)})
    rows = [(frame["instruction"], frame["path"]) for frame in frames]
    show(
        "capture",
        {"scene": arguments.scene, "frames": frames},
        as_json=arguments.json,
        tables=[table("Start frames", ("instruction", "folder"), rows)],
    )
    return 0
