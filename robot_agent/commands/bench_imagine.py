"""`bench imagine`: frames per second of a world model, ours beside the published sampler."""

import argparse
from typing import TYPE_CHECKING, Any

from robot_agent.commands.options import add_command, add_json, add_seed, number, whole, wholes
from robot_agent.commands.output import show, table
from robot_agent.core.errors import ConfigError

if TYPE_CHECKING:
    from robot_agent.commands.options import Commands, Parser

_BATCHES = {"shipped": (1, 8, 32, 64), "tiny": (1, 2, 4, 8), "full": (1, 2)}


def register(group: "Commands") -> None:
    """Add the command."""
    imagine = add_command(group, "imagine", "frames per second of a world model", _imagine)
    imagine.add_argument(
        "--model",
        choices=("shipped", "tiny", "full"),
        default="tiny",
        help="the shipped network, or the published architecture small or at 607.9 M parameters",
    )
    imagine.add_argument(
        "--sampler",
        choices=("published", "ours", "both"),
        default="both",
        help="of tiny and full; both give the ratio",
    )
    imagine.add_argument("--batch", type=wholes(1, 4096), metavar="N,N", help="rollouts at once")
    imagine.add_argument(
        "--steps", type=wholes(1, 1000), default=(5, 30), metavar="N,N", help="of shipped: frames"
    )
    _add_dit(imagine)
    imagine.add_argument("--threads", type=whole(1, 256), default=1)
    add_seed(imagine)
    add_json(imagine)


def _add_dit(imagine: "Parser") -> None:
    """Add what only the published architecture has."""
    imagine.add_argument("--context", type=whole(2, 19), default=10, help="past frames seen")
    imagine.add_argument(
        "--frames", type=whole(1, 18), default=5, help="frames drawn by each sampler"
    )
    imagine.add_argument(
        "--contexts", type=wholes(2, 19), default=(6, 10, 19), metavar="N,N", help="for growth"
    )
    imagine.add_argument(
        "--denoise", type=wholes(1, 1000), default=(1, 2, 4), metavar="N,N", help="for growth"
    )
    imagine.add_argument(
        "--guidance", type=number(0, 20), default=1.0, help="of ours; 1 is none, one row"
    )
    imagine.add_argument(
        "--precision", choices=("bfloat16", "float32"), default="bfloat16", help="of ours"
    )
    imagine.add_argument(
        "--published-precision",
        choices=("bfloat16", "float32"),
        default="float32",
        help="its own half precision is for CUDA only; alike leaves precision out of the ratio",
    )


def _imagine(arguments: argparse.Namespace) -> int:
    batches = arguments.batch or _BATCHES[arguments.model]
    return (_shipped if arguments.model == "shipped" else _dit)(arguments, batches)


def _shipped(arguments: argparse.Namespace, batches: tuple[int, ...]) -> int:
    from robot_agent.commands.bench import steps
    from robot_agent.compose import load_team
    from robot_agent.models.bench import bench_imagination

    if arguments.sampler == "published":
        raise ConfigError(
            "--sampler published: the shipped world model draws nothing, so it has no sampler. "
            "Choose --model tiny or --model full."
        )
    with steps("bench imagine", len(batches)) as on_result:
        results = bench_imagination(
            load_team().worlds[0],
            seed=arguments.seed,
            batches=batches,
            steps=arguments.steps,
            threads=arguments.threads,
            on_result=on_result,
        )
    note = "ours beside the published sampler: --model tiny, or --model full"
    results |= {"model": "shipped", "notes": [note]}
    columns = ("batch", *(f"frames/s at {n} steps" for n in sorted(arguments.steps)))
    rows = [(batch, *entry["by_steps"].values()) for batch, entry in results["by_batch"].items()]
    shown = [table("Shipped world model", columns, rows), f"note: {note}"]
    show("bench imagine", results, as_json=arguments.json, seed=arguments.seed, tables=shown)
    return 0


def _dit(arguments: argparse.Namespace, batches: tuple[int, ...]) -> int:
    from robot_agent.commands.bench import steps
    from robot_agent.models.worldgym.bench import DitBenchConfig, bench_dit
    from robot_agent.models.worldgym.sampler import SamplerConfig

    both = ("published", "ours")
    config = DitBenchConfig(
        size=arguments.model,
        samplers=both if arguments.sampler == "both" else (arguments.sampler,),
        precision=arguments.precision,
        published_precision=arguments.published_precision,
        ours=SamplerConfig(guidance=arguments.guidance),
        context=arguments.context,
        frames=arguments.frames,
        batches=batches,
        contexts=arguments.contexts,
        steps=arguments.denoise,
        threads=arguments.threads,
    )
    with steps("bench imagine", config.measurements) as on_result:
        results = bench_dit(config, seed=arguments.seed, on_result=on_result)
    show(
        "bench imagine",
        results,
        as_json=arguments.json,
        seed=arguments.seed,
        tables=_tables(results, config.samplers),
    )
    return 0


def _tables(results: dict[str, Any], samplers: tuple[str, ...]) -> list[Any]:
    rows = [
        (name, stage, *(taken[k] for k in ("ms_per_frame", "cpu_ms_per_frame", "peak_memory_mb")))
        for name in samplers
        for stage, taken in results[name]["stages"].items()
    ]
    title = f"Published architecture, {results['model']}, random weights"
    shown: list[Any] = [
        table(title, ("sampler", "stage", "ms/frame", "CPU ms/frame", "peak MB"), rows)
    ]
    shown += [
        f"{name}: {results[name]['fps']:.3g} frames/s in {results[name]['precision']}"
        for name in samplers
    ]
    if results["ratio"] is not None:
        shown.append(
            f"ours is {results['ratio']:.1f} times as fast as the published sampler, "
            f"{results['ratio_cpu']:.1f} times by processor time"
        )
    for key, what in (("by_batch", "batch"), ("by_context", "context"), ("by_steps", "steps")):
        grown = [(size, entry["fps"]) for size, entry in results.get(key, {}).items()]
        if grown:
            shown.append(table(f"Ours by {what}", (what, "frames/s"), grown))
    return shown
