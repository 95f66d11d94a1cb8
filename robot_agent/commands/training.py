"""`world train|finetune`, `policy train|export|check`, `judge train`: networks from recordings."""

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_agent.commands.dit import add_family, register_samplers, train_dit
from robot_agent.commands.options import (
    add_command,
    add_config,
    add_group,
    add_json,
    add_releases,
    add_seed,
    config_of,
    existing_file,
    existing_folder,
    new_file,
)
from robot_agent.commands.output import progress, show, table
from robot_agent.core.config import to_plain
from robot_agent.core.errors import ConfigError

if TYPE_CHECKING:
    from robot_agent.commands.options import Commands, Parser
    from robot_agent.models.tiny_policy import TinyPolicy
    from robot_agent.release.bundle import Bundle

_FINETUNED = Path("runs/world-finetune")
_COLLECT = "Make one with: robot-agent demos collect"


def register(commands: "Commands") -> None:
    """Add the groups."""
    world = add_group(commands, "world", "the world model")
    policy = add_group(commands, "policy", "the policy")
    judge = add_group(commands, "judge", "the judge")
    for group, name in ((world, "world"), (policy, "policy"), (judge, "judge")):
        train = add_command(group, "train", f"train a {name} on a recording", _train)
        train.add_argument(
            "--data",
            type=Path,
            required=True,
            action="append",
            help="recording to train on; repeatable for a policy of several cells",
        )
        if name != "policy":
            train.add_argument("--held-out", type=Path, help="recording to measure with")
        if name == "world":
            train.add_argument("--init", type=Path, help="weights to go on from")
            add_family(train)
        train.add_argument("--out", type=Path, required=True, help="weights to write")
        train.set_defaults(network=name, held_out=None, init=None)
        add_seed(train)
        add_config(train)
        add_json(train)
    register_samplers(world)
    finetune = add_command(world, "finetune", "adapt the world model to real clips", _finetune)
    finetune.add_argument("--clips", type=Path, required=True, help="folder of NNN.mp4, NNN.npz")
    finetune.add_argument("--out", type=Path, default=_FINETUNED, help="folder for the weights")
    add_seed(finetune)
    add_config(finetune)
    add_json(finetune)
    export = add_command(policy, "export", "write a policy as ONNX, held against torch", _export)
    export.add_argument("--precision", choices=("fp32", "int8"), default="fp32")
    export.add_argument("--out", type=Path, required=True, help="file to write")
    add_config(export)
    check = add_command(policy, "check", "let a policy act on its golden observations", _check)
    check.add_argument("--onnx", type=Path, help="also hold this export against the weights")
    for parser in (export, check):
        _add_source(parser)
        add_json(parser)


def _add_source(parser: "Parser") -> None:
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--release", default="", help="label; the current one by default")
    source.add_argument("--weights", type=Path, help="file of `policy train` instead")
    add_releases(parser)


def _train(arguments: argparse.Namespace) -> int:
    data = tuple(existing_file(path, "a recording", _COLLECT) for path in arguments.data)
    if len(data) > 1 and arguments.network != "policy":
        raise ConfigError(
            f"--data: {len(data)} recordings, a {arguments.network} takes 1. Train one by one."
        )
    if arguments.held_out is not None:
        existing_file(arguments.held_out, "a recording", _COLLECT)
    if getattr(arguments, "family", "") == "dit":
        return train_dit(arguments, data[0])
    from robot_agent.learn import pretraining

    config = config_of(pretraining.PretrainingConfig, arguments)
    name = arguments.network
    run = {
        "world": pretraining.pretrain_world,
        "policy": pretraining.pretrain_policy,
        "judge": pretraining.pretrain_judge,
    }[name]
    job = pretraining.Job(
        data, new_file(arguments.out), arguments.seed, arguments.held_out, arguments.init
    )
    with progress(f"training the {name}") as say:
        results = run(
            job,
            config,
            lambda step, total, metrics: say(step, total, f"loss {metrics['loss']:.4f}"),
        )
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


def _finetune(arguments: argparse.Namespace) -> int:
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


def _export(arguments: argparse.Namespace) -> int:
    out = new_file(arguments.out)
    from robot_agent.models.onnx_policy import LIMITS, OnnxCheckConfig, export_policy
    from robot_agent.store.durable import replace_file, storage_errors

    config = LIMITS[arguments.precision]
    if arguments.config or arguments.overrides:
        config = config_of(OnnxCheckConfig, arguments)
    network, images, ids, name = _source(arguments)
    model, found = export_policy(
        network, images, ids, precision=arguments.precision, config=config
    )
    with storage_errors("writing an export", out):
        replace_file(out, model)
    results = {
        "file": out,
        "policy": name,
        "precision": arguments.precision,
        "size_mb": len(model) / 1e6,
        "observations": len(images),
        "limits": to_plain(config),
        **dataclasses.asdict(found),
    }
    _show("policy export", results, arguments)
    return 0


def _check(arguments: argparse.Namespace) -> int:
    import numpy as np

    from robot_agent.models.onnx_policy import OnnxLogits, compare_policies
    from robot_agent.models.tiny_team import INSTRUCTIONS
    from robot_agent.models.tiny_vla import TinyVla
    from robot_agent.release.gate import GateConfig

    network, images, ids, name = _source(arguments)
    limit = GateConfig().golden_tolerance
    results: dict[str, Any] = {"policy": name, "observations": len(images)}
    is_right = True
    if arguments.weights is None:
        golden = _bundle(arguments).golden.actions
        acted = TinyVla(network, INSTRUCTIONS, version=name).act_greedy(images, ids)
        results["golden_difference"] = apart = float(np.abs(acted - golden).max())
        results["golden_limit"], is_right = limit, apart <= limit
    if arguments.onnx is not None:
        path = existing_file(
            arguments.onnx, "an export", "Make one with: robot-agent policy export"
        )
        exported = OnnxLogits(path.read_bytes(), name=path.name)
        results["onnx"] = dataclasses.asdict(compare_policies(network, exported, images, ids))
    results["passed"] = is_right
    _show("policy check", results, arguments)
    return 0 if is_right else 1


def _bundle(arguments: argparse.Namespace) -> "Bundle":
    from robot_agent.commands.weights import open_registry

    registry = open_registry(arguments.releases)
    label = arguments.release or registry.current()
    if label not in registry.releases().states:
        raise ConfigError(
            f"release '{label}' is unknown in {arguments.releases}. "
            f"List them with: robot-agent weights list"
        )
    return registry.load(label)


def _source(arguments: argparse.Namespace) -> "tuple[TinyPolicy, Any, list[int], str]":
    """Return the network, pictures (N, 64, 64, 3), instruction ids, and the weights' name."""
    import numpy as np

    from robot_agent.compose import home_starts
    from robot_agent.learn.pretraining import read_policy
    from robot_agent.learn.proof import policy_of

    if arguments.weights is not None:
        remedy = "Make one with: robot-agent policy train"
        path = existing_file(arguments.weights, "a file of weights", remedy)
        starts = home_starts()
        images = np.stack([start.observation.image_hwc for start in starts])
        return read_policy(path), images, [start.instruction_id for start in starts], path.name
    bundle = _bundle(arguments)
    ids = [int(i) for i in bundle.golden.instruction_ids]
    return policy_of(bundle), bundle.golden.images_nhwc, ids, bundle.label


def _show(command: str, results: dict[str, Any], arguments: argparse.Namespace) -> None:
    shown = table(command, ("what", "value"), results.items())
    show(command, results, as_json=arguments.json, tables=[shown])
