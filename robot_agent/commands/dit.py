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
from robot_agent.commands.world_options import add_autoencoder
from robot_agent.core.config import to_plain

if TYPE_CHECKING:
    from robot_agent.commands.options import Commands, Parser
    from robot_agent.learn.sources import Source

_TRAIN = "Make one with: robot-agent world train --family dit"


def add_family(parser: "Parser") -> None:
    """Let `world train` choose what is trained."""
    parser.add_argument(
        "--family",
        choices=("compositional", "dit"),
        default="compositional",
        help="the shipped kind, or the published diffusion transformer at small size",
    )
    add_autoencoder(parser)


def register_samplers(group: "Commands") -> None:
    """Add `world samplers`."""
    samplers = add_command(group, "samplers", "what faster sampling costs in quality", _samplers)
    samplers.add_argument("--weights", type=Path, required=True, help="folder of a trained model")
    samplers.add_argument("--data", type=Path, required=True, help="recording to measure with")
    samplers.add_argument("--episodes", type=whole(1, 10_000), default=32)
    add_seed(samplers)
    add_json(samplers)


def train_dit(
    arguments: argparse.Namespace, sources: "tuple[Source, ...]", init: Path | None, command: str
) -> int:
    """Train the network, from weights to go on from or fresh ones; --out is a new folder."""
    from robot_agent.learn.dit_pretraining import DitJob, DitPretrainingConfig, pretrain_dit
    from robot_agent.learn.processes import training_processes

    config = config_of(DitPretrainingConfig, arguments)
    with training_processes() as rank, progress("training the world") as say:
        job = DitJob(
            sources=sources,
            out=arguments.out,
            seed=arguments.seed,
            init=init,
            autoencoder=arguments.autoencoder,
            autoencoder_folder=arguments.autoencoder_folder,
            rank=rank,
            device=arguments.device,
        )
        results = pretrain_dit(
            job,
            config,
            report=lambda step, total, metrics: say(step, total, f"loss {metrics['loss']:.4f}"),
        )
    if rank:
        return 0
    shown = [(name, value) for name, value in results.items() if name != "held_out"]
    held_out = results["held_out"]
    rows = [(step, *scores.values()) for step, scores in held_out.items()]
    tables = [table("Trained world", ("what", "value"), shown)]
    if rows:
        columns = ("steps", "ours", "repeat last")
        tables.append(table("PSNR [dB] of decoded latents, held out", columns, rows))
    show(
        command,
        {**results, "config": to_plain(config)},
        as_json=arguments.json,
        seed=arguments.seed,
        tables=tables,
    )
    return 0


def _samplers(arguments: argparse.Namespace) -> int:
    folder = existing_folder(arguments.weights, "a folder of weights", _TRAIN)
    data = existing_file(arguments.data, "a recording", "Make one: robot-agent demos collect")
    from robot_agent.learn.dit_pretraining import HORIZONS
    from robot_agent.learn.sampler_quality import compare_samplers

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
