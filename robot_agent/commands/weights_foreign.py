"""`weights import --from ...`: what other programs made, read safely, tensor by tensor."""

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from robot_agent.commands.options import add_config, existing_file, whole
from robot_agent.commands.output import show, table
from robot_agent.core.errors import ConfigError

if TYPE_CHECKING:
    from robot_agent.commands.options import Parser

_SHOWN = 20


def add_foreign(parser: "Parser") -> None:
    """Let `weights import` take what is no release of ours."""
    parser.add_argument(
        "--from",
        dest="family",
        choices=("worldgym", "openvla", "openvla-oft", "pi0", "lerobot", "adapter"),
        help="the program that made the file or folder; adapter: LoRA on what acts now",
    )
    parser.add_argument("--out", type=Path, help="with --from: new folder for the weights")
    parser.add_argument(
        "--rotary",
        choices=("standard", "pixel"),
        default="standard",
        help="with --from: positions in space, which the weights do not tell",
    )
    parser.add_argument(
        "--heads", type=whole(1, 256), default=16, help="with --from: heads of an attention"
    )
    parser.add_argument("--unnorm-key", default="bridge_orig", help="statistics of a policy")
    add_config(parser)


def import_foreign(arguments: argparse.Namespace) -> int:
    """Take in a checkpoint; 1 when a key does not fit, and then nothing is written."""
    if arguments.family != "worldgym":
        from robot_agent.commands.weights_published import import_published

        return import_published(arguments)
    if arguments.out is None:
        raise ConfigError(f"--out is missing: --from {arguments.family} writes a new folder.")
    source = existing_file(arguments.source, "a checkpoint, .pt or .safetensors", "Check it.")
    from robot_agent.models.worldgym.taking_in import import_checkpoint

    found = import_checkpoint(
        source, arguments.out, rotary=arguments.rotary, heads=arguments.heads
    )
    is_whole = not found.misfits
    rows = [
        ("weights", found.kind),
        ("parameters", f"{found.parameters / 1e6:.1f} M"),
        ("depth, width", f"{found.network.depth}, {found.network.embedding}"),
        ("keys that do not fit", len(found.misfits)),
        ("written", str(arguments.out) if is_whole else "nothing"),
    ]
    listed = [*found.misfits[:_SHOWN]]
    if len(found.misfits) > _SHOWN:
        listed.append(f"and {len(found.misfits) - _SHOWN} more: see --json")
    show(
        "weights import",
        {
            "weights": found.kind,
            "parameters": found.parameters,
            "network": dataclasses.asdict(found.network),
            "misfits": list(found.misfits),
            "written": is_whole,
            "folder": arguments.out,
        },
        as_json=arguments.json,
        tables=[table("Published world model", ("what", "value"), rows), *listed],
    )
    return 0 if is_whole else 1
