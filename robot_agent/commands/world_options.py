"""What `world train` and `world finetune` have in common: sources, device, autoencoder."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from robot_agent.core.errors import ConfigError

if TYPE_CHECKING:
    from robot_agent.commands.options import Parser
    from robot_agent.learn.sources import Source

_SOURCE = (
    "recording, clips:FOLDER or store:FOLDER, =WEIGHT at its end for its share (1); repeatable"
)


def add_sources(parser: "Parser | argparse._MutuallyExclusiveGroup") -> None:
    """Let the data be a mixture of sources."""
    parser.add_argument("--data", action="append", metavar="SOURCE", help=_SOURCE)


def add_device(parser: "Parser") -> None:
    """Choose where it trains."""
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (default cpu)")


def add_autoencoder(parser: "Parser") -> None:
    """Choose what pictures become before a diffusion model sees them."""
    parser.add_argument(
        "--autoencoder",
        choices=("pixels", "taef2", "taesd3", "sd3"),
        default="pixels",
        help="of a diffusion model",
    )
    parser.add_argument("--autoencoder-folder", type=Path, help="its weights; pixels has none")


def sources_of(arguments: argparse.Namespace) -> "tuple[Source, ...]":
    """Return the sources of --data; ConfigError names one that cannot be read as such."""
    from robot_agent.learn.sources import parse_source

    if not arguments.data:
        raise ConfigError("--data: is missing, must be given at least once. Name a recording.")
    return tuple(parse_source(text) for text in arguments.data)
