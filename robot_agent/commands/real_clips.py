"""`world real`: real clips to a finetuned model, a trust report and clips side by side."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_agent.commands.options import (
    add_command,
    add_config,
    add_json,
    add_seed,
    config_of,
    existing_folder,
)
from robot_agent.commands.output import progress, show, table
from robot_agent.commands.world_options import add_device

if TYPE_CHECKING:
    from robot_agent.commands.options import Commands

_OUT = Path("runs/world-real")
_STEPS = ("1", "2", "3", "5", "10")


def register(group: "Commands") -> None:
    """Add the command."""
    real = add_command(group, "real", "finetune on real clips, and say what it is good for", _real)
    real.add_argument("--clips", type=Path, required=True, help="folder of NNN.mp4, NNN.npz")
    real.add_argument(
        "--autoencoder-folder", type=Path, required=True, help="folder of TAEF2's weights"
    )
    real.add_argument("--weights", type=Path, help="with --set family=dit: folder to go on from")
    real.add_argument("--out", type=Path, default=_OUT, help="folder for all of it")
    add_device(real)
    add_seed(real)
    add_config(real)
    add_json(real)


def _real(arguments: argparse.Namespace) -> int:
    existing_folder(arguments.clips, "a folder of clips", "Check the path.")
    from robot_agent.learn.dit_pretraining import DitJob
    from robot_agent.learn.real_clips import RealClipsConfig, learn_real_clips
    from robot_agent.learn.sources import Source

    config = config_of(RealClipsConfig, arguments)
    job = DitJob(
        sources=(Source("clips", arguments.clips),),
        out=arguments.out,
        seed=arguments.seed,
        init=arguments.weights,
        autoencoder="taef2",
        autoencoder_folder=arguments.autoencoder_folder,
        device=arguments.device,
    )
    with progress("finetuning on real clips") as say:
        results = learn_real_clips(
            job,
            config,
            lambda step, total, metrics: say(step, total, f"loss {metrics['loss']:.4f}"),
        )
    trust = results["trust"]
    words = [
        f"{trust['verdict']}; safe horizon {trust['safe_horizon']} steps",
        *(f"- {reason}" for reason in trust["reasons"]),
    ]
    seconds = ", ".join(f"{name} {value:.0f} s" for name, value in results["seconds"].items())
    show(
        "world real",
        results,
        as_json=arguments.json,
        seed=arguments.seed,
        tables=[_errors(trust["errors"]), "\n".join(words), f"{seconds}; {arguments.out}"],
    )
    return 0


def _errors(errors: Any) -> Any:
    methods = ("ours", "repeat_last", "shuffled")
    rows = [
        (step, *(found["psnr"][name] for name in methods))
        for step, found in errors.items()
        if step in _STEPS
    ]
    return table("PSNR [dB] on the rest of each clip", ("step", *methods), rows)
