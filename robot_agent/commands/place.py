"""Where a running agent is asked to act: its name, the scene, simulation or robot."""

import argparse
from typing import TYPE_CHECKING

from robot_agent.commands.options import add_namespace, add_seed

if TYPE_CHECKING:
    from robot_agent.commands.options import Parser


def add_place(parser: "Parser") -> None:
    """Add the options that name it."""
    add_namespace(parser)
    parser.add_argument("--scene", default="", help="simulated scene; empty keeps the present one")
    parser.add_argument("--robot", action="store_true", help="on the real robot: resets nothing")
    add_seed(parser)


def require_known(arguments: argparse.Namespace) -> None:
    """Refuse tasks and scenes that the simulation does not know before any node is asked."""
    if arguments.robot:
        return
    from robot_agent.sim.household import scene_named
    from robot_agent.sim.tasks import task_of

    asked = arguments.instruction
    for instruction in asked if isinstance(asked, list) else [asked]:
        task_of(instruction)
    if arguments.scene:
        scene_named(arguments.scene)
