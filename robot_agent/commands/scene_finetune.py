"""`world finetune --data`: the world model on a few episodes of a scene."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_agent.commands.options import config_of, existing_file
from robot_agent.commands.output import progress, show, table

if TYPE_CHECKING:
    from robot_agent.learn.sources import Source

_COLLECT = "Make one with: robot-agent demos collect --kind play"


def finetune_scene(arguments: argparse.Namespace, sources: "Sequence[Source]") -> int:
    """Adapt the shipped world model to the first episodes of each source."""
    from robot_agent.compose import ensure_replay
    from robot_agent.learn.scene_finetune import SceneFinetuneConfig, finetune_on_episodes
    from robot_agent.learn.sources import read_recording, read_source

    config = config_of(SceneFinetuneConfig, arguments)
    scenes = [(read_source(source, 1.0), source.weight) for source in sources]
    replay_path: Path = arguments.replay or ensure_replay(
        arguments.out.with_name("replay.safetensors")
    )
    replay = read_recording(existing_file(replay_path, "a recording", _COLLECT))
    home = replay
    if arguments.home is not None:
        home = read_recording(existing_file(arguments.home, "a recording", _COLLECT))
    with progress("finetuning the world model") as say:
        results = finetune_on_episodes(
            scenes,
            replay,
            home,
            out=arguments.out,
            config=config,
            seed=arguments.seed,
            device=arguments.device,
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
