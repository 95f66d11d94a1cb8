"""`world trust | sweep`: what a world model can be trusted with, before anything trains in it."""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_agent.commands.options import (
    add_command,
    add_config,
    add_json,
    add_seed,
    config_of,
    existing_folder,
    whole,
)
from robot_agent.commands.output import show, table
from robot_agent.core.errors import ConfigError

if TYPE_CHECKING:
    from robot_agent.commands.options import Commands, Parser
    from robot_agent.core.protocols import WorldModel
    from robot_agent.learn.real_windows import RealEpisode

_OUT = Path("runs/world-trust")


def register(group: "Commands") -> None:
    """Add the commands."""
    trust = add_command(group, "trust", "what the world model can be trusted with", _trust)
    _add_world(trust)
    trust.add_argument("--other", type=Path, help="second member, for disagreement")
    trust.add_argument("--policy", action="store_true", help="closed loop of the shipped policy")
    trust.add_argument("--lpips", type=Path, help="safetensors of lpips.LPIPS(net='alex')")
    trust.add_argument("--out", type=Path, default=_OUT, help="folder for trust.html, trust.json")
    sweep = add_command(group, "sweep", "sweeps of the action's axes alone", _sweep)
    _add_world(sweep)


def _add_world(parser: "Parser") -> None:
    parser.add_argument(
        "--weights",
        type=Path,
        help="file of a tiny world model, folder of a diffusion one (default: shipped), or of a "
        "Cosmos 3 checkpoint",
    )
    parser.add_argument(
        "--autoencoder", choices=("pixels", "taef2", "taesd3", "sd3"), default="pixels"
    )
    parser.add_argument("--autoencoder-folder", type=Path, help="its weights; pixels has none")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--store", type=Path, help="episode store: its newest episodes")
    source.add_argument("--data", type=Path, help="recording of `demos collect`")
    source.add_argument("--clips", type=Path, help="folder of clips: the last part of each")
    parser.add_argument("--episodes", type=whole(1, 10_000), default=8, help="at most so many")
    parser.add_argument("--scene", default="", help="of the store: only episodes of this scene")
    add_seed(parser)
    add_config(parser)
    add_json(parser)


def _trust(arguments: argparse.Namespace) -> int:
    from robot_agent.learn.trust import TrustConfig, trust_report
    from robot_agent.learn.trust_page import write_report

    config = config_of(TrustConfig, arguments)
    episodes = _episodes(arguments)
    world = _world(arguments, arguments.weights)
    other = _world(arguments, arguments.other) if arguments.other else None
    report = trust_report(
        world, episodes, config, arguments.seed, other=other, lpips=_lpips(arguments.lpips)
    )
    outcomes, notes, faults = _outcomes(arguments, world, episodes)
    results: dict[str, Any] = {**report.plain(), **outcomes}
    results["notes"] = [*report.notes, *notes]
    if faults:
        kept = report.reasons if report.verdict == "refuse" else []
        results |= {"verdict": "refuse", "safe_horizon": 0, "reasons": [*kept, *faults]}
    results["source"] = f"{arguments.weights or 'shipped'} on {_source(arguments)}"
    page = write_report(arguments.out, results, report.clips)
    shown = [
        f"{results['verdict']}; safe horizon {results['safe_horizon']} steps",
        *(f"- {reason}" for reason in results["reasons"]),
        _axes_table(results["axes"]),
        _errors_table(results["errors"]),
        f"{page}",
    ]
    results["page"] = str(page)
    show("world trust", results, as_json=arguments.json, seed=arguments.seed, tables=shown)
    return 0


def _sweep(arguments: argparse.Namespace) -> int:
    import numpy as np

    from robot_agent.learn.axis_sweep import fit_flow, sweep_axes
    from robot_agent.learn.real_windows import cut_windows
    from robot_agent.learn.trust import TrustConfig

    config = config_of(TrustConfig, arguments)
    rng = np.random.default_rng(arguments.seed)
    windows = cut_windows(_episodes(arguments), config.edit_steps, config.windows, rng)
    flow = fit_flow(windows)
    axes, at_rest = sweep_axes(
        _world(arguments, arguments.weights),
        windows.starts[: config.sweep_starts],
        flow,
        steps=config.edit_steps,
        probe=np.array([config.probe_m] * 3 + [config.probe_rad] * 3),
    )
    results = {
        "axes": {name: dataclasses.asdict(axis) for name, axis in axes.items()},
        "at_rest": at_rest,
        "flow_explained": flow.explained,
    }
    names = ("gain", "gain_half", "picture_gain", "picture_change")
    rows = [(name, *(_cell(getattr(axis, key)) for key in names)) for name, axis in axes.items()]
    columns = ("axis", "by state", "half", "by pictures", "grey levels")
    tables = [table("Motion over command", columns, rows), f"null action: {at_rest}"]
    show("world sweep", results, as_json=arguments.json, seed=arguments.seed, tables=tables)
    return 0


def _source(arguments: argparse.Namespace) -> str:
    return str(arguments.store or arguments.data or arguments.clips)


def _episodes(arguments: argparse.Namespace) -> "list[RealEpisode]":
    from robot_agent.learn.clips import ClipFinetuneConfig
    from robot_agent.learn.real_windows import of_clips, of_recording, of_store

    if arguments.clips:
        existing_folder(arguments.clips, "a folder of clips", "Check the path.")
        return of_clips(arguments.clips, ClipFinetuneConfig().train_share)[: arguments.episodes]
    if arguments.data:
        return of_recording(arguments.data, arguments.episodes)
    from robot_agent.store.episode_store import EpisodeStore

    existing_folder(arguments.store, "an episode store", "Record some: robot-agent run")
    store = EpisodeStore(arguments.store)
    newest = (store.load(episode_id) for episode_id in reversed(store.list()))
    wanted = [e for e in newest if arguments.scene in ("", e.scene)][: arguments.episodes]
    if not wanted:
        raise ConfigError(
            f"{arguments.store}: holds no episode of scene '{arguments.scene}', must hold at "
            f"least 1. Record some: robot-agent run"
        )
    return of_store(wanted)


def _world(arguments: argparse.Namespace, weights: Path | None) -> "WorldModel":
    if weights is not None and (weights / "model_index.json").is_file():
        from robot_agent.models.cosmos import load_cosmos

        return load_cosmos(weights, seed=arguments.seed)
    if weights is not None and weights.is_dir():
        from robot_agent.models.worldgym.loading import load_imagination

        return load_imagination(
            weights, arguments.autoencoder, arguments.autoencoder_folder, seed=arguments.seed
        )
    from robot_agent.models.tiny_imagination import TinyImagination

    if weights is None:
        from robot_agent.compose import load_team

        return TinyImagination(load_team().worlds[0])
    from robot_agent.learn.latent_world import LATENT_PICTURE_PX
    from robot_agent.learn.pretraining import read_world

    world = read_world(weights)
    if not world.config.is_latent:
        return TinyImagination(world)
    from robot_agent.models.worldgym.loading import load_autoencoder

    autoencoder = load_autoencoder(arguments.autoencoder, arguments.autoencoder_folder)
    return TinyImagination(world, autoencoder, LATENT_PICTURE_PX)


def _lpips(path: Path | None) -> Any:
    if path is None:
        return None
    from robot_agent.models.lpips import load_lpips

    return load_lpips(path)


def _outcomes(
    arguments: argparse.Namespace, world: "WorldModel", episodes: "Sequence[RealEpisode]"
) -> tuple[dict[str, Any], list[str], list[str]]:
    """Return replay and closed loop, what could not be measured, and what refuses."""
    from robot_agent.compose import load_team
    from robot_agent.learn.improve import ImproveConfig
    from robot_agent.learn.trust_outcomes import closed_loop, plain, replay_agreement
    from robot_agent.models.classifier_judge import ClassifierJudge
    from robot_agent.models.tiny_imagination import TinyImagination
    from robot_agent.models.tiny_team import INSTRUCTIONS

    limits = ImproveConfig()
    team = load_team()
    strict = ClassifierJudge([team.held_out_judge], INSTRUCTIONS)
    known = [episode for episode in episodes if episode.instruction in INSTRUCTIONS]
    if not known:
        return plain(None, {}), ["task success: no episode has a task that the judge knows"], []
    agreement = replay_agreement(world, known, strict, limits.real_threshold)
    if not arguments.policy or not isinstance(world, TinyImagination):
        return plain(agreement, {}), ["closed loop: not measured, see --policy"], []

    def succeeded(episode: "RealEpisode") -> bool:
        if episode.outcome in ("success", "failure"):
            return episode.outcome == "success"
        one = replay_agreement(world, [episode], strict, limits.real_threshold)
        return one.both + one.real_only > 0

    judge = ClassifierJudge(team.judges, INSTRUCTIONS)
    loops = closed_loop(world, team.policy, judge, known, succeeded, seed=arguments.seed)
    faults = [
        f"closed loop, {task}: imagined {loop.imagined:.2f}, real {loop.real:.2f} of "
        f"{loop.episodes}: imagination promises what reality does not keep"
        for task, loop in loops.items()
        if loop.exceeds(limits.gap_limit)
    ]
    return plain(agreement, loops), [], faults


def _axes_table(axes: Mapping[str, Mapping[str, Any]]) -> Any:
    names = ("gain", "gain_half", "picture_gain", "mirrored_worse_db")
    rows = [
        (name, *(_cell(axis[key]) for key in names), axis["fault"] or "-")
        for name, axis in axes.items()
    ]
    columns = ("axis", "by state", "half", "by pictures", "mirrored worse dB", "fault")
    return table("Motion over command", columns, rows)


def _errors_table(errors: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Any:
    shown = {step: found for step, found in errors.items() if step in ("1", "5", "10", "20", "30")}
    methods = ("ours", "repeat_last", "shuffled")
    rows = [
        (step, *(found[m][name] for m in ("psnr", "ssim") for name in methods))
        for step, found in shown.items()
    ]
    columns = ("step", *(f"{m} {name}" for m in ("dB", "SSIM") for name in methods))
    return table("Against held-out real pictures", columns, rows)


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
