"""`world train --family dit` and `world samplers`: the published architecture at small size."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from robot_agent.commands.options import (
    add_command,
    add_json,
    add_seed,
    config_of,
    existing_file,
    existing_folder,
    whole,
)
from robot_agent.commands.output import progress, show, table
from robot_agent.core.config import to_plain
from robot_agent.core.errors import ConfigError

if TYPE_CHECKING:
    from robot_agent.commands.options import Commands, Parser

_TRAIN = "Make one with: robot-agent world train --family dit"


def add_family(parser: "Parser") -> None:
    """Let `world train` choose what is trained."""
    parser.add_argument(
        "--family",
        choices=("compositional", "dit"),
        default="compositional",
        help="the shipped kind, or the published diffusion transformer at small size",
    )


def register_samplers(group: "Commands") -> None:
    """Add `world samplers`."""
    samplers = add_command(group, "samplers", "what faster sampling costs in quality", _samplers)
    samplers.add_argument("--weights", type=Path, required=True, help="folder of a trained model")
    samplers.add_argument("--data", type=Path, required=True, help="recording to measure with")
    samplers.add_argument("--episodes", type=whole(1, 10_000), default=32)
    add_seed(samplers)
    add_json(samplers)


def train_dit(arguments: argparse.Namespace, data: Path) -> int:
    """Train the small network on a recording; --out is a new folder."""
    for name in ("held_out", "init"):
        if getattr(arguments, name) is not None:
            raise ConfigError(
                f"--{name.replace('_', '-')}: is not for --family dit. Measure with: "
                f"robot-agent world samplers"
            )
    from robot_agent.learn.dit_pretraining import DitPretrainingConfig, pretrain_dit

    config = config_of(DitPretrainingConfig, arguments)
    with progress("training the world") as say:
        results = pretrain_dit(
            data,
            arguments.out,
            config,
            arguments.seed,
            report=lambda step, total, metrics: say(step, total, f"loss {metrics['loss']:.4f}"),
        )
    shown = table("Trained world", ("what", "value"), results.items())
    show(
        "world train",
        {**results, "config": to_plain(config)},
        as_json=arguments.json,
        seed=arguments.seed,
        tables=[shown],
    )
    return 0


def _samplers(arguments: argparse.Namespace) -> int:
    folder = existing_folder(arguments.weights, "a folder of weights", _TRAIN)
    data = existing_file(arguments.data, "a recording", "Make one: robot-agent demos collect")
    from robot_agent.learn.dit_pretraining import HORIZONS, compare_samplers

    with progress("world samplers") as say:
        results = compare_samplers(
            folder, data, seed=arguments.seed, episodes=arguments.episodes, on_result=say
        )
    rows = [
        (name, *entry["psnr"].values(), *entry["ssim"].values(), entry["fps"])
        for name, entry in results.items()
    ]
    columns = (
        "sampler",
        *(f"dB at {horizon}" for horizon in HORIZONS),
        *(f"SSIM at {horizon}" for horizon in HORIZONS),
        "frames/s",
    )
    show(
        "world samplers",
        {"samplers": results, "episodes": arguments.episodes},
        as_json=arguments.json,
        seed=arguments.seed,
        tables=[table("Held-out episodes", columns, rows)],
    )
    return 0
