"""`bench swap`: what a swap of weights does to a running loop; one row, or the published table."""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robot_agent.commands.bench import LATENESS, lateness, steps
from robot_agent.commands.options import add_command, add_json, number, whole
from robot_agent.commands.output import show, table

if TYPE_CHECKING:
    from robot_agent.commands.options import Commands
    from robot_agent.ros.bench_swap import SwapOptions


def register(group: "Commands") -> None:
    """Add the command."""
    swap = add_command(group, "swap", "what a swap of weights does to a running loop", _swap)
    swap.add_argument("--swaps", type=whole(1, 1_000_000), default=1000)
    swap.add_argument("--size-mb", type=number(0.1, 1e5, "MB"), default=34.0)
    swap.add_argument("--rate-hz", type=number(1, 1000, "Hz"), default=50.0)
    swap.add_argument("--ticks-per-swap", type=whole(1, 100_000), default=10)
    swap.add_argument("--table", action="store_true", help="the four rows of doc/benchmarks.md")
    swap.add_argument("--fifo", action="store_true", help="real-time scheduling of the loop")
    swap.add_argument(
        "--pairs", type=whole(1, 1000), default=2, help="runs with and without, in turn"
    )
    swap.add_argument(
        "--lerobot-swaps",
        type=whole(0, 1_000_000),
        default=20,
        help="streamed, for comparison",
    )
    swap.add_argument(
        "--kept", type=Path, metavar="DIR", help="keep finished runs, and go on from them"
    )
    add_json(swap)


def _swap(arguments: argparse.Namespace) -> int:
    from robot_agent.ros.bench_swap import TABLE, bench_swap

    one = (arguments.swaps, arguments.size_mb, arguments.rate_hz, arguments.ticks_per_swap)
    rows = TABLE if arguments.table else (one,)
    runs = len(rows) * (2 * arguments.pairs + bool(arguments.lerobot_swaps))
    with steps("bench swap", runs) as on_run:
        found = [
            bench_swap(swaps, size_mb, rate_hz, options=_options(arguments, ticks), on_run=on_run)
            for swaps, size_mb, rate_hz, ticks in rows
        ]
    tables = [shown for results in found for shown in _shown(results)]
    results = {"rows": found} if arguments.table else found[0]
    show("bench swap", results, as_json=arguments.json, tables=tables)
    return 0


def _options(arguments: argparse.Namespace, ticks_per_swap: int) -> "SwapOptions":
    from robot_agent.ros.bench_swap import SwapOptions

    return SwapOptions(
        ticks_per_swap=ticks_per_swap,
        pairs=arguments.pairs,
        lerobot_swaps=arguments.lerobot_swaps,
        fifo=arguments.fifo,
        kept=arguments.kept,
    )


def _shown(results: Mapping[str, Any]) -> Iterator[Any]:
    runs = {"with swaps": results, "without": results["control"]}
    if "lerobot_style" in results:
        runs["streamed, loaded in place"] = results["lerobot_style"]
    rows = [[*lateness(name, run), run["torn"], *_waits(run)] for name, run in runs.items()]
    yield table(
        f"{results['swaps']} swaps of {results['size_mb']:g} MB at {results['rate_hz']:g} Hz",
        ("run", *LATENESS, "torn", "work p50 ms", "seen to action p50 ms", "stolen ms"),
        rows,
    )
    compared, scheduling = results["comparison"], results["scheduling"]
    bound = compared["missed_bound"]
    yield (
        f"swaps cost ticks: p = {compared['fisher_p']:.3g} (Fisher, one-sided); p99.9 lateness "
        f"{compared['p999_difference_ms']:+.2f} ms"
        + (f"; missed ticks under {bound:.2g} (3/N)" if bound else "")
    )
    if "ratio" in results:
        yield (
            f"from file seen to first action {results['ratio']:.2f} of the streamed road's time, "
            f"without the wait for the tick {results['work_ratio']:.2f}"
        )
    back_ms = results["roll_back_ms"]
    yield (
        f"from the order to roll back to the first action of the previous weights: p50 "
        f"{back_ms['p50']:.1f} ms, p99 {back_ms['p99']:.1f} ms; the period is "
        f"{1e3 / results['rate_hz']:.0f} ms"
    )
    granted = "granted" if scheduling["nice"] == scheduling["wanted_nice"] else "refused"
    fifo = ", SCHED_FIFO" if scheduling["fifo"] else ""
    yield (
        f"priority of the loop {scheduling['wanted_nice']}: {granted}{fifo}; load of the machine "
        f"{scheduling['load_average'][0]:.1f}"
    )


def _waits(run: Mapping[str, Any]) -> list[float]:
    return [*(run[key]["p50"] for key in ("work_ms", "seen_to_active_ms")), run["stolen_ms"]]
