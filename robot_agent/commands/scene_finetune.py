"""`world finetune --data`: the world model on a few episodes of a scene."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robot_agent.commands.options import config_of, existing_file
from robot_agent.commands.output import progress, show, table

_COLLECT = "Make one with: robot-agent demos collect --kind play"


def finetune_scene(arguments: argparse.Namespace) -> int:
    """Adapt the shipped world model to the first episodes of a recording."""
    from robot_agent.compose import ensure_replay
    from robot_agent.learn.pretraining import read_recording
    from robot_agent.learn.scene_finetune import SceneFinetuneConfig, finetune_on_episodes

    config = config_of(SceneFinetuneConfig, arguments)
    scene = read_recording(existing_file(arguments.data, "a recording", _COLLECT))
    replay_path: Path = arguments.replay or ensure_replay(
        arguments.out.with_name("replay.safetensors")
    )
    replay = read_recording(existing_file(replay_path, "a recording", _COLLECT))
    home = replay
    if arguments.home is not None:
        home = read_recording(existing_file(arguments.home, "a recording", _COLLECT))
    with progress("finetuning the world model") as say:
        results = finetune_on_episodes(
            scene,
            replay,
            home,
            out=arguments.out,
            config=config,
            seed=arguments.seed,
            report=lambda step, total, metrics: say(step, total, f"loss {metrics['loss']:.4f}"),
        )
    results["home_is_replayed"] = arguments.home is None
    show(
        "world finetune",
        results,
        as_json=arguments.json,
        seed=arguments.seed,
        tables=_tables(results, arguments.out),
    )
    return 0


def _tables(results: Mapping[str, Any], out: Path) -> list[Any]:
    words = (
        f"ten-step error lowered by {results['error_lowered']:.0%}, at home raised by "
        f"{results['home_error_raised']:.0%}; {results['seconds']:.0f} s; {out}"
    )
    shown = [
        table(title, ("steps", *found["1"]), [(s, *each.values()) for s, each in found.items()])
        for title, found in (
            ("PSNR [dB] on held-out episodes of the scene", results["held_out"]),
            ("PSNR [dB] at home", results["home"]),
        )
    ]
    return [*shown, words]
