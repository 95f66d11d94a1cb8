"""`teleop`: correct the arm by hand, from a terminal or another device."""

import argparse
from typing import TYPE_CHECKING

from robot_agent.commands.options import add_command, add_namespace, number
from robot_agent.teleop import DEVICES

if TYPE_CHECKING:
    from robot_agent.commands.options import Commands


def register(commands: "Commands") -> None:
    """Add the command."""
    parser = add_command(commands, "teleop", "move the arm by hand; hold to take over", _teleop)
    parser.add_argument("--device", choices=DEVICES, default="keyboard")
    parser.add_argument(
        "--speed", type=number(0.005, 0.25, "m/s"), default=0.1, help="tool speed (default 0.1)"
    )
    parser.add_argument(
        "--frame", choices=("base", "tool"), default="base", help="axes of motion (default base)"
    )
    parser.add_argument(
        "--parameter",
        action="append",
        default=[],
        metavar="NAME:=VALUE",
        help="another parameter of the node, such as layout:=game_controller; repeatable",
    )
    add_namespace(parser)


def _teleop(arguments: argparse.Namespace) -> int:
    from robot_agent import node
    from robot_agent.ros import params

    words = ["--ros-args", "-r", f"__ns:=/{arguments.namespace}", "--log-level", "warn"]
    words += params.arguments(
        {
            "device": arguments.device,
            "speed_mps": arguments.speed,
            "frame": arguments.frame,
        }
    )
    for parameter in arguments.parameter:
        words += ["-p", parameter]
    return node.run("teleop", words)
