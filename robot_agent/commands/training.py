"""`world train|finetune`, `policy train`, `judge train`: networks from recordings."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from robot_agent.commands.dit import add_family, register_samplers, train_dit
from robot_agent.commands.judge import register as register_judge
from robot_agent.commands.options import (
    add_command,
    add_config,
    add_group,
    add_json,
    add_seed,
    config_of,
    existing_file,
    existing_folder,
    new_file,
)
from robot_agent.commands.output import Say, progress, show, table
from robot_agent.commands.policy import register as register_policy
from robot_agent.commands.real_clips import register as register_real
from robot_agent.commands.scene_finetune import finetune_scene
from robot_agent.commands.trust import register as register_trust
from robot_agent.commands.world_options import (
    add_autoencoder,
    add_device,
    add_sources,
    sources_of,
)
from robot_agent.core.config import to_plain
from robot_agent.core.errors import ConfigError

if TYPE_CHECKING:
    from robot_agent.commands.options import Commands
    from robot_agent.learn.sources import Source

_FINETUNED = Path("runs/world-finetune")
_COLLECT = "Make one with: robot-agent demos collect"
_TRAIN = "Make one with: robot-agent world train --family dit"


def register(commands: "Commands") -> None:
    """Add the groups."""
    world = add_group(commands, "world", "the world model")
    policy = add_group(commands, "policy", "the policy")
    judge = add_group(commands, "judge", "the judge")
    for group, name in ((world, "world"), (policy, "policy"), (judge, "judge")):
        train = add_command(group, "train", f"train a {name} on a recording", _train)
        if name == "world":
            add_sources(train)
            add_device(train)
        else:
            train.add_argument(
                "--data",
                type=Path,
                required=True,
                action="append",
                help="recording to train on; repeatable for a policy of several cells",
            )
        if name != "policy":
            train.add_argument("--held-out", type=Path, help="recording to measure with")
        if name != "policy":
            train.add_argument("--init", type=Path, help="weights to go on from")
        if name == "world":
            add_family(train)
        train.add_argument("--out", type=Path, required=True, help="weights to write")
        train.set_defaults(network=name, held_out=None, init=None, device="cpu")
        add_seed(train)
        add_config(train)
        add_json(train)
    _register_finetune(world)
    register_samplers(world)
    register_trust(world)
    register_real(world)
    register_policy(policy)
    register_judge(judge)


def _register_finetune(world: "Commands") -> None:
    finetune = add_command(world, "finetune", "adapt the world model to a scene", _finetune)
    source = finetune.add_mutually_exclusive_group(required=True)
    source.add_argument("--clips", type=Path, help="folder of NNN.mp4, NNN.npz")
    add_sources(source)
    finetune.add_argument(
        "--weights", type=Path, help="folder of a diffusion model to go on from (default: shipped)"
    )
    add_autoencoder(finetune)
    add_device(finetune)
    finetune.add_argument("--replay", type=Path, help="old episodes, with --data (default: made)")
    finetune.add_argument("--home", type=Path, help="unseen episodes at home, with --data")
    finetune.add_argument("--out", type=Path, default=_FINETUNED, help="folder for the weights")
    add_seed(finetune)
    add_config(finetune)
    add_json(finetune)


def _train(arguments: argparse.Namespace) -> int:
    if arguments.held_out is not None:
        existing_file(arguments.held_out, "a recording", _COLLECT)
    if arguments.network == "world":
        return _train_world(arguments)
    data = tuple(existing_file(path, "a recording", _COLLECT) for path in arguments.data)
    if len(data) > 1 and arguments.network != "policy":
        raise ConfigError(
            f"--data: {len(data)} recordings, a {arguments.network} takes 1. Train one by one."
        )
    return _pretrain(arguments, data, ())


def _train_world(arguments: argparse.Namespace) -> int:
    sources = sources_of(arguments)
    if arguments.family == "compositional":
        return _pretrain(arguments, (), sources)
    if arguments.held_out is not None:
        raise ConfigError(
            "--held-out: is not for --family dit. Set held_out.episodes, or measure with: "
            "robot-agent world samplers"
        )
    return train_dit(arguments, sources, arguments.init, "world train")


def _pretrain(
    arguments: argparse.Namespace, data: tuple[Path, ...], sources: "tuple[Source, ...]"
) -> int:
    from robot_agent.learn import pretraining
    from robot_agent.learn.processes import training_processes

    config = config_of(pretraining.PretrainingConfig, arguments)
    name = arguments.network
    run = {
        "world": pretraining.pretrain_world,
        "policy": pretraining.pretrain_policy,
        "judge": pretraining.pretrain_judge,
    }[name]
    out = new_file(arguments.out)
    with training_processes() as rank, progress(f"training the {name}") as say:
        job = pretraining.Job(
            data,
            out,
            arguments.seed,
            sources,
            arguments.held_out,
            arguments.init,
            rank=rank,
            device=arguments.device,
        )
        results = run(job, config, lambda step, *rest: _say_loss(say, step, *rest))
    if rank:
        return 0
    results["config"] = {name: to_plain(config)[name], "threads": config.threads}
    shown = {key: value for key, value in results.items() if key != "config"}
    show(
        f"{name} train",
        results,
        as_json=arguments.json,
        seed=arguments.seed,
        tables=[table(f"Trained {name}", ("what", "value"), shown.items())],
    )
    return 0


def _say_loss(say: Say, step: int, total: int, metrics: Mapping[str, float]) -> None:
    say(step, total, f"loss {metrics['loss']:.4f}")


def _finetune(arguments: argparse.Namespace) -> int:
    if arguments.weights is not None:
        existing_folder(arguments.weights, "a folder of weights", _TRAIN)
        clips = arguments.clips
        arguments.data = arguments.data or [f"clips:{clips}"]
        return train_dit(arguments, sources_of(arguments), arguments.weights, "world finetune")
    if arguments.data is not None:
        return finetune_scene(arguments, sources_of(arguments))
    existing_folder(arguments.clips, "a folder of clips", "Check the path.")
    from robot_agent.learn.clips import ClipFinetuneConfig, finetune_on_clips

    config = config_of(ClipFinetuneConfig, arguments)
    with progress("finetuning the world model") as say:
        results = finetune_on_clips(
            arguments.clips,
            arguments.out,
            config,
            arguments.seed,
            report=lambda step, total, metrics: say(step, total, f"loss {metrics['loss']:.4f}"),
        )
    held_out = results["held_out"]
    names = list(next(iter(held_out.values()), {}))
    rows = [(steps, *(scores[name] for name in names)) for steps, scores in held_out.items()]
    show(
        "world finetune",
        results,
        as_json=arguments.json,
        seed=arguments.seed,
        tables=[
            table("PSNR [dB] on the rest of each clip", ("steps", *names), rows),
            "\n".join(results["in_words"]),
            f"{results['seconds']:.0f} s; weights in {arguments.out}",
        ],
    )
    return 0
